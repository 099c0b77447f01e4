"""Gives trials to the dashboard with attributes that its pages have room for; nothing in the database changes.

A page of optuna-dashboard is as wide as its longest attribute: it breaks no line, and shows a table as JSON on one line. So each
entry of an attribute that is a table becomes an attribute of its own, with which the dashboard can also sort and draw, and a long
text is cut. The note of a trial has the whole text.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any

from optuna.storages import BaseStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from storage.database import Database
from storage.text import one_line

MOST_CHARS = 80  # of one attribute and its name: about 700 pixels
_OURS = ("origin", "status", "reason", "summary", "ending", "condemned")


def dashboard_storage(database: Database) -> BaseStorage:
    """Return the storage that the dashboard reads trials from."""
    assert isinstance(database.storage, _CachedStorage)
    return DashboardStorage(database.storage)


class DashboardStorage(_CachedStorage):
    """Optuna's storage as the dashboard reads it."""

    def __init__(self, storage: _CachedStorage) -> None:
        super().__init__(storage._backend)
        # By id, what was read and what was made of it; an id may come again when a study was deleted.
        self._shown: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study by number."""
        return [self._readable(trial) for trial in super().get_all_trials(study_id, deepcopy, states)]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the trial with the best value. Raises ValueError if none is complete."""
        return self._readable(super().get_best_trial(study_id))

    def _readable(self, trial: FrozenTrial) -> FrozenTrial:
        read, shown = self._shown.get(trial._trial_id, (None, trial))
        if read is trial:
            return shown
        shown = copy.copy(trial)
        shown.user_attrs = readable_attrs(trial.user_attrs)
        self._shown[trial._trial_id] = (trial, shown)
        return shown


def readable_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a trial: those that have names of ours as short ones, all others as they are."""
    shown: dict[str, Any] = {}
    for key, value in attrs.items():
        if key not in _OURS:
            shown[key] = value
        elif isinstance(value, Mapping):
            shown |= {f"{key} {name}": _short(f"{key} {name}", inner) for name, inner in value.items()}
        elif value != "":
            shown[key] = _short(key, value)
    return shown


def _short(key: str, value: Any) -> Any:
    return one_line(value, max(MOST_CHARS - len(key), 20)) if isinstance(value, str) else value
