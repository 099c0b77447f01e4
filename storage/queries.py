"""Answers about a whole study that the database counts, without a trial being loaded.

What a status means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy
from optuna.trial import TrialState

from storage import sql
from storage.database import Database
from storage.driver_errors import stored_json
from storage.records import TrialRecord, record_of
from storage.sql import TRIAL_ATTRS, TRIALS, Stored
from storage.text import one_line

_PAGE = 64


def count_statuses(database: Database, study_id: int) -> dict[str, int]:
    """How many finished trials ended in each of our words, the most frequent first; those of other programs have none."""
    text, number = TRIAL_ATTRS.c.value_json, sqlalchemy.func.count()
    query = sqlalchemy.select(text, number).join(TRIALS, TRIALS.c.trial_id == TRIAL_ATTRS.c.trial_id)
    wanted = (TRIALS.c.study_id == study_id) & (TRIAL_ATTRS.c.key == "status")
    found: dict[str, int] = {}
    for value, count in database.rows(query.where(wanted).group_by(text)):
        status = stored_json(value, database.where)
        if isinstance(status, str) and status:
            name = one_line(status, 60)
            found[name] = found.get(name, 0) + count
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def first_baseline(database: Database, study_id: int) -> TrialRecord | None:
    """The first complete trial of the script as it is."""
    query = sqlalchemy.select(TRIALS.c.number).join(TRIAL_ATTRS, TRIALS.c.trial_id == TRIAL_ATTRS.c.trial_id)
    complete = (TRIALS.c.study_id == study_id) & (TRIALS.c.state == TrialState.COMPLETE)
    named = (TRIAL_ATTRS.c.key == "origin") & TRIAL_ATTRS.c.value_json.like('%"baseline"%')
    for (number,) in database.rows(query.where(complete & named).order_by(TRIALS.c.number)):
        trial = database.find_trial(study_id, number)
        record = record_of(trial) if trial else None
        if record is not None and record.kind == "baseline" and record.value is not None:
            return record
    return None


def ranked_records(database: Database, study_id: int) -> Iterator[TrialRecord]:
    """The complete trials, the best value first and the earliest of equals; no more are read than are asked for."""
    read, page = 0, 1
    while trials := database.best_trials(study_id, page, skip=read):
        yield from map(record_of, trials)
        read, page = read + len(trials), min(2 * page, _PAGE)


def enqueued_params(database: Database, trial_id: int) -> dict[str, Any] | None:
    """What `enqueue_trial` was given; None if the trial did not come by it."""
    found = database.system_attrs(trial_id).get("fixed_params")
    return found if isinstance(found, dict) else None


def fill_waiting(
    database: Database, trial_id: int, params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]],
    attrs: Mapping[str, Any],
) -> bool:  # fmt: skip
    """Parameters and attributes of a trial that waits, all at once; False if it does not wait any more."""
    rows = [{"trial_id": trial_id, **sql.param_row(name, value, choices[name])} for name, value in params.items()]

    def fill(connection: sqlalchemy.Connection) -> bool:
        if sql.state_of(connection, trial_id) is not TrialState.WAITING:
            return False
        connection.execute(sql.PARAMS.delete().where(sql.PARAMS.c.trial_id == trial_id))
        connection.execute(sql.PARAMS.insert(), rows)
        sql.put_attrs(connection, sql.TRIAL_ATTRS, trial_id, attrs)
        return True

    return database.write(fill)
