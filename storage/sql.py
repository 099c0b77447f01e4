"""Writes rows into Optuna's own tables (`optuna.storages._rdb.models`) of revision v3.2.0.a, and names our two tables.

Optuna's own calls cost some 20 ms a trial in its object mapper, and commit after each; these rows go in by a few
statements of one transaction. Tests compare them with what Optuna writes. Nothing here creates a table, and
`reader.py` reads them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy
from optuna.distributions import (
    CategoricalDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Column, Float, Integer, MetaData, String, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from storage.driver_errors import GONE

REVISION = "v3.2.0.a"  # of the tables, as Alembic stamps them
TESTED = "5.0.0"  # the Optuna that makes tables of this revision and that all of this is tested with

Stored = bool | int | float | str | None
"""What Optuna can keep as a choice. Tuples travel as text; who decodes them is not storage."""


def _table(model: type[models.BaseModel]) -> Table:
    return cast(Table, model.__table__)


STUDIES = _table(models.StudyModel)
DIRECTIONS = _table(models.StudyDirectionModel)
STUDY_ATTRS = _table(models.StudyUserAttributeModel)
STUDY_SYSTEM_ATTRS = _table(models.StudySystemAttributeModel)
TRIALS = _table(models.TrialModel)  # times are naive UTC, as in all of Optuna's tables
PARAMS = _table(models.TrialParamModel)  # of a choice the value is its index
VALUES = _table(models.TrialValueModel)
CURVES = _table(models.TrialIntermediateValueModel)
TRIAL_ATTRS = _table(models.TrialUserAttributeModel)
TRIAL_SYSTEM_ATTRS = _table(models.TrialSystemAttributeModel)
HEARTBEATS = _table(models.TrialHeartbeatModel)  # other programs' signs of life

# The names of all of them; `version_info` and `alembic_version` only note versions.
OPTUNAS = tuple(
    table.name
    for table in (
        STUDIES, DIRECTIONS, STUDY_ATTRS, STUDY_SYSTEM_ATTRS, TRIALS, PARAMS, VALUES, CURVES, TRIAL_ATTRS,
        TRIAL_SYSTEM_ATTRS, HEARTBEATS,
    )
)  # fmt: skip

LEASES = Table(
    "optimize_leases",  # one of our two own tables, for `lease.py`
    MetaData(),
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("token", String(32), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("start", String(64), nullable=False),
    Column("place", String(255), nullable=False),
    Column("since", Float, nullable=False),
    Column("renewed_at", Float, nullable=False),
)
LEASE_ATTR = "lease_token"  # of a study that is driven. SQLite gives the id of a deleted study to the next one
BACKUPS = Table(
    "optimize_backups",  # and the other, for `backups.py`
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("line", String(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Created:
    """A new trial: the database's id, which is unique over all studies, and the study's own number."""

    trial_id: int
    number: int


def insert_study(connection: sqlalchemy.Connection, name: str, direction: str) -> int:
    """Add a study with one objective; returns its id."""
    key = connection.execute(STUDIES.insert().values(study_name=name)).inserted_primary_key
    assert key is not None
    aim = StudyDirection[direction.upper()]
    connection.execute(DIRECTIONS.insert().values(study_id=key[0], objective=0, direction=aim))
    return int(key[0])


def insert_trial(
    connection: sqlalchemy.Connection,
    study_id: int,
    state: TrialState,
    params: Mapping[str, Stored],
    choices: Mapping[str, Sequence[Stored]],
) -> Created:
    """Add a trial with its parameters. Raises OtherChoicesError, and KeyError if the study is gone."""
    lock_study(connection, study_id)
    rows = [param_row(name, value, choices[name]) for name, value in params.items()]
    newest = newest_trial(connection, study_id)
    refuse_other_choices(connection, newest, rows)
    number = newest.number + 1 if newest else 0
    start = utc_now() if state is TrialState.RUNNING else None
    insert = TRIALS.insert().values(study_id=study_id, number=number, state=state, datetime_start=start)
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    if rows:
        connection.execute(PARAMS.insert(), [{"trial_id": key[0], **row} for row in rows])
    return Created(int(key[0]), number)


def lock_study(connection: sqlalchemy.Connection, study_id: int) -> None:
    """Keep others from adding to the study or deleting it until the end of the transaction. Raises KeyError if it is
    gone.
    """
    # Two drivers would count alike; SQLite's transaction is the lock already, a server locks the study's row.
    study = sqlalchemy.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id).with_for_update()
    if connection.execute(study).one_or_none() is None:
        raise KeyError(GONE)


def newest_trial(connection: sqlalchemy.Connection, study_id: int) -> Created | None:
    """Return the trial that was added last, whose number is the greatest: counting takes longer with each trial."""
    query = sqlalchemy.select(TRIALS.c.trial_id, TRIALS.c.number).where(TRIALS.c.study_id == study_id)
    row = connection.execute(query.order_by(TRIALS.c.trial_id.desc()).limit(1)).one_or_none()
    return None if row is None else Created(*row)


def has_study(connection: sqlalchemy.Connection, study_id: int, name: str) -> bool:
    """Return whether the study of this id has this name."""
    study = sqlalchemy.select(STUDIES.c.study_name).where(STUDIES.c.study_id == study_id)
    return bool(connection.execute(study).scalar() == name)


def study_attrs(connection: sqlalchemy.Connection, study_id: int) -> dict[str, Any]:
    """Return our attributes of a study. Raises KeyError if it is gone.

    A driver reads them once a second, and Optuna's own reader takes twice as long.
    """
    rest = STUDY_ATTRS.c.study_id == STUDIES.c.study_id
    both = sqlalchemy.select(STUDY_ATTRS.c.key, STUDY_ATTRS.c.value_json).select_from(
        STUDIES.outerjoin(STUDY_ATTRS, rest)
    )
    rows = connection.execute(both.where(STUDIES.c.study_id == study_id).order_by(*STUDY_ATTRS.primary_key)).all()
    if not rows:
        raise KeyError(GONE)
    return {key: json.loads(text) for key, text in rows if key is not None}


def has_trial(connection: sqlalchemy.Connection, study_id: int, created: Created) -> bool:
    """Return whether the trial is in the study, after whoever is just adding one: an insert that seemed lost may be on
    its way.
    """
    connection.execute(sqlalchemy.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id).with_for_update())
    mine = (TRIALS.c.trial_id == created.trial_id) & (TRIALS.c.number == created.number)
    found = sqlalchemy.select(TRIALS.c.trial_id).where(mine & (TRIALS.c.study_id == study_id))
    return connection.execute(found).first() is not None


def delete_study(connection: sqlalchemy.Connection, study_id: int) -> None:
    """Delete a study with all rows that belong to it."""
    trials = sqlalchemy.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id).scalar_subquery()
    for table in (PARAMS, VALUES, CURVES, TRIAL_ATTRS, TRIAL_SYSTEM_ATTRS, HEARTBEATS):
        connection.execute(table.delete().where(table.c.trial_id.in_(trials)))
    own = [LEASES] if sqlalchemy.inspect(connection).has_table(LEASES.name) else []
    for table in (TRIALS, DIRECTIONS, STUDY_ATTRS, STUDY_SYSTEM_ATTRS, *own, STUDIES):
        connection.execute(table.delete().where(table.c.study_id == study_id))


def delete_leases(connection: sqlalchemy.Connection) -> None:
    """Forget who drives the studies: nobody drives those of a database that was just restored."""
    if sqlalchemy.inspect(connection).has_table(LEASES.name):
        connection.execute(LEASES.delete())


def backup_lines(connection: sqlalchemy.Connection) -> list[str]:
    """Return the words of the database's line of backups, the oldest first; [] if it has none yet."""
    if not sqlalchemy.inspect(connection).has_table(BACKUPS.name):
        return []
    return list(connection.execute(sqlalchemy.select(BACKUPS.c.line).order_by(BACKUPS.c.number)).scalars())


def add_backup_line(connection: sqlalchemy.Connection, line: str, further: bool) -> None:
    """Add a word to the line of backups; if there is one already, only where a `further` one is wanted."""
    connection.execute(CreateTable(BACKUPS, if_not_exists=True))
    if further or not backup_lines(connection):
        connection.execute(BACKUPS.insert().values(line=line))


def put_attrs(connection: sqlalchemy.Connection, table: Table, owner: int, attrs: Mapping[str, Any]) -> None:
    """Write or overwrite attributes. Raises ValueError for NaN, which other readers of JSON do not know."""
    owner_id = table.columns.keys()[1]
    rows = [{owner_id: owner, "key": key, "value_json": _json(value)} for key, value in attrs.items()]
    if rows:
        _put(connection, table, rows, [owner_id, "key"])


def put_curve_point(connection: sqlalchemy.Connection, trial_id: int, step: int, value: float) -> None:
    """Write or overwrite a point of the learning curve."""
    _put(connection, CURVES, [curve_row(trial_id, step, value)], ["trial_id", "step"])


def put_value(connection: sqlalchemy.Connection, trial_id: int, value: float) -> None:
    """Write or overwrite the value of a trial."""
    _put(connection, VALUES, [value_row(trial_id, 0, value)], ["trial_id", "objective"])


def curve_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    """Return the row of a point of a learning curve."""
    kind = _kind(value)
    number = value if kind == "FINITE" else None
    return {"trial_id": trial_id, "step": step, "intermediate_value": number, "intermediate_value_type": kind}


def value_row(trial_id: int, objective: int, value: float) -> dict[str, Any]:
    """Return the row of a value."""
    kind = _kind(value)
    number = value if kind == "FINITE" else None
    return {"trial_id": trial_id, "objective": objective, "value": number, "value_type": kind}


def change_state(
    connection: sqlalchemy.Connection, trial_id: int, before: Sequence[TrialState], after: TrialState
) -> bool:
    """Change a trial's state, but only from one of the states `before`: of two programs that try, one is told False."""
    times = {"datetime_complete" if after.is_finished() else "datetime_start": utc_now()}
    wanted = (TRIALS.c.trial_id == trial_id) & TRIALS.c.state.in_(before)
    return connection.execute(TRIALS.update().where(wanted).values(state=after, **times)).rowcount == 1


def among_latest(study_id: int, count: int) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition that a trial is among the newest `count` of a study."""
    newest = sqlalchemy.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    return TRIALS.c.trial_id.in_(newest.order_by(TRIALS.c.trial_id.desc()).limit(count))


def count_states(study_id: int) -> sqlalchemy.Select[tuple[TrialState, int]]:
    """Return the query for the states of a study's trials, each with how many are in it."""
    query = sqlalchemy.select(TRIALS.c.state, sqlalchemy.func.count()).where(TRIALS.c.study_id == study_id)
    return query.group_by(TRIALS.c.state)


def system_attrs_of(trial_id: int) -> sqlalchemy.Select[tuple[str, str]]:
    """Return the query for the system attributes of a trial, in the order of writing."""
    table = TRIAL_SYSTEM_ATTRS
    query = sqlalchemy.select(table.c.key, table.c.value_json).where(table.c.trial_id == trial_id)
    return query.order_by(*table.primary_key)


def best_first(study_id: int, direction: str) -> sqlalchemy.Select[tuple[int]]:
    """Return the query for the ids of a study's COMPLETE trials, the best value first and the earliest of equals."""
    trials, values = TRIALS.c, VALUES.c
    query = sqlalchemy.select(trials.trial_id).join(VALUES, values.trial_id == trials.trial_id)
    complete = (trials.state == TrialState.COMPLETE) & (values.value_type == "FINITE")
    order = values.value if direction == "minimize" else values.value.desc()
    return query.where(trials.study_id == study_id, complete).order_by(order, trials.number)


def state_of(connection: sqlalchemy.Connection, trial_id: int) -> TrialState | None:
    """Return a trial's state, and lock its row until the end of the transaction; None if it is gone."""
    query = sqlalchemy.select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id).with_for_update()
    state: TrialState | None = connection.execute(query).scalar()
    return state


def utc_now() -> datetime:
    """Return the time as Optuna's tables have it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def param_row(name: str, value: Stored, choices: Sequence[Stored]) -> dict[str, Any]:
    """Return the row of a parameter without its trial. Raises ValueError if `value` is not among the choices."""
    indexes = [i for i, choice in enumerate(choices) if type(choice) is type(value) and choice == value]
    if not indexes:
        raise ValueError(f"{name} = {value!r} is not one of its choices {list(choices)}")
    return {
        "param_name": name,
        "param_value": float(indexes[0]),
        "distribution_json": distribution_to_json(CategoricalDistribution(tuple(choices))),
    }


def refuse_other_choices(
    connection: sqlalchemy.Connection, newest: Created | None, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Raise OtherChoicesError for a parameter whose choices are not those of the study's newest trial.

    Optuna's readers need the same choices in the same order in every trial of a study. Ranges of numbers, which other
    programs have, may differ.
    """
    query = sqlalchemy.select(PARAMS).where(PARAMS.c.trial_id == (newest.trial_id if newest else None))
    known = {row.param_name: _canonical(row.distribution_json) for row in connection.execute(query)}
    for row in rows:
        name, choices = row["param_name"], _canonical(row["distribution_json"])
        before = known.setdefault(name, choices)
        if before != choices and not _go_together(before, choices):
            raise OtherChoicesError(name)


class OtherChoicesError(ValueError):
    """A parameter of the study has other choices than its trials; the argument is its name."""


def _go_together(one: str, other: str) -> bool:
    """Return whether two distributions are of numbers of the same kind, so that one study may have both."""
    try:
        both = json_to_distribution(one), json_to_distribution(other)
        check_distribution_compatibility(*both)
    except ValueError:
        return False
    return not isinstance(both[0], CategoricalDistribution)


def _put(connection: sqlalchemy.Connection, table: Table, rows: list[dict[str, Any]], key: list[str]) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    rest = {name: insert.excluded[name] for name in rows[0] if name not in key}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=rest), rows)


@functools.lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)  # as text, because 3 and 3.0 are different choices


def _kind(value: float) -> str:
    """Return how Optuna's tables name a number that SQL does not have."""
    return "FINITE" if math.isfinite(value) else "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
