"""Trials that ran elsewhere, brought in as a study to look at: from a table, JSON lines, or another Optuna database.

Nothing that a file says is believed to be sane: it is bounded and cleaned here, and written in one transaction or not at all.
"""

from optimize.importing.import_study import Reading, Request, bring_in, read

__all__ = ["Reading", "Request", "bring_in", "read"]
