"""What a study is driven with: the Python, its packages and the system, for whoever wants to do it again.

Asked of the installed packages' own records: nothing is imported, so torch costs nothing.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("optimize-train", "optuna", "torch", "numpy")


def machine() -> dict[str, str]:
    """A name and a version each; what is not installed is left out."""
    found = {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count() or 1)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
