"""Trials that another program put into a study's queue by Optuna's `enqueue_trial`: their parameters stand in an attribute.

It reads those, and writes such a trial as ours are written; what may be tried is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy
from optuna.trial import TrialState

from storage import tables
from storage.database import Database
from storage.tables import Stored


def enqueued_params(database: Database, trial_id: int) -> dict[str, Any] | None:
    """What `enqueue_trial` was given; None if the trial did not come by it."""
    found = database.system_attrs(trial_id).get("fixed_params")
    return found if isinstance(found, dict) else None


def fill_waiting(
    database: Database, trial_id: int, params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]],
    attrs: Mapping[str, Any],
) -> bool:  # fmt: skip
    """Parameters and attributes of a trial that waits, all at once; False if it does not wait any more."""
    rows = [{"trial_id": trial_id, **tables.param_row(name, value, choices[name])} for name, value in params.items()]

    def fill(connection: sqlalchemy.Connection) -> bool:
        if tables.state_of(connection, trial_id) is not TrialState.WAITING:
            return False
        connection.execute(tables.PARAMS.delete().where(tables.PARAMS.c.trial_id == trial_id))
        connection.execute(tables.PARAMS.insert(), rows)
        tables.put_attrs(connection, tables.TRIAL_ATTRS, trial_id, attrs)
        return True

    return database.write(fill)
