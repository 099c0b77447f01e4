"""Asks the database about whole studies, without loading their trials; reads and fills trials of Optuna's
`enqueue_trial`.

What a status means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from optuna.trial import TrialState

from storage import sql
from storage.database import Database
from storage.driver_errors import stored_json
from storage.records import TrialRecord, record_of, time_record
from storage.sql import DIRECTIONS, STUDY_SYSTEM_ATTRS, TRIAL_ATTRS, TRIAL_SYSTEM_ATTRS, TRIALS, VALUES, Stored
from storage.text import one_line

_PAGE = 64


@dataclass(frozen=True, slots=True)
class SystemAttr:
    """An attribute that Optuna, or a program beside it, keeps of a trial or of a study."""

    of: str  # "trial" or "study"
    owner_id: int
    key: str
    value: Any


def count_statuses(database: Database, study_id: int) -> dict[str, int]:
    """Return how many finished trials ended with each of our statuses, the most frequent first.

    Trials of other programs have no status.
    """
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


def count_done(database: Database, study_id: int, kind: str = "") -> int:
    """Return how many trials are COMPLETE or PRUNED, of one kind if it is given; those copied from another study aside."""
    copied = _origin_has('%"taken_from"%')
    done = (TRIALS.c.study_id == study_id) & TRIALS.c.state.in_([TrialState.COMPLETE, TrialState.PRUNED])
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(TRIALS).where(done & ~copied.exists())
    if kind:
        query = query.where(_origin_has(f'%"kind": "{kind}"%').exists())
    return int(database.rows(query)[0][0])


def _origin_has(pattern: str) -> sqlalchemy.Select[Any]:
    return sqlalchemy.select(TRIAL_ATTRS.c.trial_id).where(
        (TRIAL_ATTRS.c.trial_id == TRIALS.c.trial_id)
        & (TRIAL_ATTRS.c.key == "origin")
        & TRIAL_ATTRS.c.value_json.like(pattern)
    )


def count_objectives(database: Database, study_id: int) -> int:
    """Return how many objectives a study has: one, where it is ours."""
    query = sqlalchemy.select(DIRECTIONS.c.direction).where(DIRECTIONS.c.study_id == study_id)
    return len(database.rows(query))


def newest_trials(database: Database) -> dict[str, int]:
    """Return the id of each study's newest trial by its name, 0 where it has none: a larger one was made later."""
    newest = sqlalchemy.func.max(TRIALS.c.trial_id)
    pairs = sql.STUDIES.outerjoin(TRIALS, TRIALS.c.study_id == sql.STUDIES.c.study_id)
    query = sqlalchemy.select(sql.STUDIES.c.study_name, newest).select_from(pairs).group_by(sql.STUDIES.c.study_name)
    return {name: number or 0 for name, number in database.rows(query)}


def library_version(database: Database) -> str:
    """Return the version of Optuna that made the database; "" if it does not say."""
    found = database.rows(sqlalchemy.text("SELECT library_version FROM version_info"))
    return one_line(str(found[0][0]), 20) if found else ""


def first_baseline(database: Database, study_id: int) -> TrialRecord | None:
    """Return the first complete trial of the script with the profile's constants; None if there is none yet."""
    query = sqlalchemy.select(TRIALS.c.number).join(TRIAL_ATTRS, TRIALS.c.trial_id == TRIAL_ATTRS.c.trial_id)
    complete = (TRIALS.c.study_id == study_id) & (TRIALS.c.state == TrialState.COMPLETE)
    named = (TRIAL_ATTRS.c.key == "origin") & TRIAL_ATTRS.c.value_json.like('%"baseline"%')
    for (number,) in database.rows(query.where(complete & named).order_by(TRIALS.c.number)):
        trial = database.find_trial(study_id, number)
        record = record_of(trial) if trial else None
        if record is not None and record.kind == "baseline" and record.value is not None:
            return record
    return None


def read_times(database: Database, study_id: int) -> list[TrialRecord]:
    """Return every finished trial with what it took, where it ran and where it is from; all else is not read."""
    ending, origin = TRIAL_ATTRS.alias(), TRIAL_ATTRS.alias()
    columns = (TRIALS.c.number, TRIALS.c.trial_id, TRIALS.c.state, TRIALS.c.datetime_start, TRIALS.c.datetime_complete)
    query = sqlalchemy.select(*columns, ending.c.value_json, origin.c.value_json).select_from(TRIALS)
    for attrs, key in ((ending, "ending"), (origin, "origin")):
        query = query.outerjoin(attrs, (attrs.c.trial_id == TRIALS.c.trial_id) & (attrs.c.key == key))
    finished = TRIALS.c.state.in_([state for state in TrialState if state.is_finished()])
    rows = database.rows(query.where((TRIALS.c.study_id == study_id) & finished).order_by(TRIALS.c.number))
    return [time_record(*row[:5], *(text and stored_json(text, database.where) for text in row[5:])) for row in rows]


def read_values(database: Database, study_id: int) -> list[float | None]:
    """Return the value of each complete trial by number, and None for each pruned one; all else is not read."""
    joined = sqlalchemy.select(TRIALS.c.state, VALUES.c.value).select_from(TRIALS)
    joined = joined.outerjoin(VALUES, (VALUES.c.trial_id == TRIALS.c.trial_id) & (VALUES.c.objective == 0))
    says = TRIALS.c.state.in_([TrialState.COMPLETE, TrialState.PRUNED])
    rows = database.rows(joined.where((TRIALS.c.study_id == study_id) & says).order_by(TRIALS.c.number))
    return [value if state is TrialState.COMPLETE else None for state, value in rows]


def ranked_records(database: Database, study_id: int) -> Iterator[TrialRecord]:
    """Yield the complete trials, the best value first and the earliest of equals; no more are read than are asked for."""
    read, page = 0, 1
    while trials := database.best_trials(study_id, page, skip=read):
        yield from map(record_of, trials)
        read, page = read + len(trials), min(2 * page, _PAGE)


def enqueued_params(database: Database, trial_id: int) -> dict[str, Any] | None:
    """Return what `enqueue_trial` was given; None if the trial was not made by it."""
    found = database.system_attrs(trial_id).get("fixed_params")
    return found if isinstance(found, dict) else None


def fill_waiting(
    database: Database,
    trial_id: int,
    params: Mapping[str, Stored],
    choices: Mapping[str, Sequence[Stored]],
    attrs: Mapping[str, Any],
) -> bool:
    """Write parameters and attributes of a trial that waits, all at once; False if it does not wait any more."""
    rows = [{"trial_id": trial_id, **sql.param_row(name, value, choices[name])} for name, value in params.items()]

    def fill(connection: sqlalchemy.Connection) -> bool:
        if sql.state_of(connection, trial_id) is not TrialState.WAITING:
            return False
        connection.execute(sql.PARAMS.delete().where(sql.PARAMS.c.trial_id == trial_id))
        connection.execute(sql.PARAMS.insert(), rows)
        sql.put_attrs(connection, sql.TRIAL_ATTRS, trial_id, attrs)
        return True

    return database.write(fill)


def numbers_of(
    database: Database, study_id: int, params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]]
) -> list[int]:
    """Return the numbers of the trials that have just these parameters, the first one first; no trial is loaded."""
    rows = [sql.param_row(name, value, choices[name]) for name, value in params.items()]
    table = sql.PARAMS.c
    same = [(table.param_name == row["param_name"]) & (table.param_value == row["param_value"]) for row in rows]
    mine = sql.PARAMS.join(TRIALS, TRIALS.c.trial_id == table.trial_id)
    query = sqlalchemy.select(TRIALS.c.number).select_from(mine)
    query = query.where((TRIALS.c.study_id == study_id) & sqlalchemy.or_(*same)).group_by(TRIALS.c.number)
    found = database.rows(query.having(sqlalchemy.func.count() == len(rows)).order_by(TRIALS.c.number))
    return [number for (number,) in found]


def states_from(database: Database, study_id: int, first: int) -> dict[int, str]:
    """Return the state of each trial from number `first` on, by number; no trial is loaded."""
    table = TRIALS.c
    query = sqlalchemy.select(table.number, table.state).where((table.study_id == study_id) & (table.number >= first))
    return {number: state.name for number, state in database.rows(query.order_by(table.number))}


def list_system_attrs(database: Database, prefix: str, study_id: int | None = None) -> list[SystemAttr]:
    """Return the attributes whose key begins with `prefix`: those of trials, then those of studies, in the order of writing.

    With a `study_id` only those of this study and its trials.
    """
    of_trials, of_studies = TRIAL_SYSTEM_ATTRS, STUDY_SYSTEM_ATTRS
    from_trials = sqlalchemy.select(of_trials.c.trial_id, of_trials.c.key, of_trials.c.value_json)
    from_studies = sqlalchemy.select(of_studies.c.study_id, of_studies.c.key, of_studies.c.value_json)
    if study_id is not None:
        mine = sqlalchemy.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
        from_trials = from_trials.where(of_trials.c.trial_id.in_(mine))
        from_studies = from_studies.where(of_studies.c.study_id == study_id)
    found = []
    for of, table, query in (("trial", of_trials, from_trials), ("study", of_studies, from_studies)):
        wanted = query.where(table.c.key.startswith(prefix, autoescape=True)).order_by(*table.primary_key)
        rows = database.rows(wanted)
        found += [SystemAttr(of, owner_id, key, stored_json(text, database.where)) for owner_id, key, text in rows]
    return found


def delete_system_attrs(database: Database, attrs: Sequence[SystemAttr]) -> None:
    """Delete these attributes, of finished trials too."""
    by_table = (("trial", TRIAL_SYSTEM_ATTRS, "trial_id"), ("study", STUDY_SYSTEM_ATTRS, "study_id"))

    def delete(connection: sqlalchemy.Connection) -> None:
        for of, table, owner in by_table:
            wanted = (table.c[owner] == sqlalchemy.bindparam("of")) & (table.c.key == sqlalchemy.bindparam("named"))
            if rows := [{"of": each.owner_id, "named": each.key} for each in attrs if each.of == of]:
                connection.execute(table.delete().where(wanted), rows)

    if attrs:
        database.write(delete)
