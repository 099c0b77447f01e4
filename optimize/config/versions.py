"""Which Python, packages and system a study is driven with, so that somebody can reproduce it.

Versions come from the packages' metadata: nothing is imported, so torch costs no time.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("optimize-train", "optuna", "torch", "numpy")


def machine() -> dict[str, str]:
    """Return names and versions; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count() or 1)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
