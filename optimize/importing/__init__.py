"""Imports trials that ran elsewhere as a study to look at: from a table, JSON lines, or another Optuna database.

No content of a file is trusted: it is bounded and cleaned here, and written in one transaction or not at all.
"""

from optimize.importing.import_study import Reading, Request, bring_in, read

__all__ = ["Reading", "Request", "bring_in", "read"]
