"""What is remembered: studies and trials in a database, artifacts and views as files.

Built on Optuna's storage, SQLAlchemy and pandas; knows neither the service (`optimize`) nor the search spaces.
Outsiders import from here; the files below are for those who change it. `front.py` lists the names. It is imported when
a first of them is asked for, so that a shell that completes a study's name does not wait a second for Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from storage.completion import complete_studies as complete_studies
from storage.completion import complete_trials as complete_trials
from storage.paths import RunsPaths as RunsPaths
from storage.paths import parent_of as parent_of

if TYPE_CHECKING:
    from storage.front import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """Return a name of `front.py`."""
        if name.startswith("__"):
            raise AttributeError(name)
        value: object = getattr(importlib.import_module("storage.front"), name)
        globals()[name] = value
        return value
