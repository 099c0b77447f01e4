"""Whole trials as values: read from a study with everything that the database keeps of them, and added to another.

For what ran elsewhere. All are added or none. What they mean, and whether they belong there, is not decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from storage import tables
from storage.artifacts import PREFIX
from storage.copying import Rows, insert_trials
from storage.database import Database, Json
from storage.errors import StorageError
from storage.tables import Created, OtherChoicesError, Stored
from storage.trials import read_trials

_CHUNK = 1_000  # trials whose rows are in memory at a time


@dataclass(frozen=True, slots=True)
class WholeTrial:
    """One trial; times are naive UTC, as the tables have them. `rows` are its parameters as they are stored."""

    state: str
    params: Mapping[str, Stored]
    rows: Sequence[Mapping[str, Any]]
    attrs: Json = field(default_factory=dict)
    system_attrs: Json = field(default_factory=dict)  # artifacts' metadata, and what other programs noted
    values: Sequence[float] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None
    number: int | None = None  # in the study that it was read from

    def moved(self, params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]], attrs: Json) -> WholeTrial:
        """The same trial in another search space. It keeps its artifacts; notes that other programs made of it stay."""
        kept = {key: value for key, value in self.system_attrs.items() if key.startswith(PREFIX)}
        return replace(self, params=params, rows=_rows(params, choices), attrs=attrs, system_attrs=kept)


def waiting_trial(
    params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]], attrs: Json | None = None
) -> WholeTrial:
    """A trial that is still to be run."""
    return WholeTrial("WAITING", params, _rows(params, choices), attrs or {})


def read_whole_trials(database: Database, study_id: int) -> list[WholeTrial]:
    """Every trial by number. Within `database.transaction()` the study cannot be deleted, nor its artifacts, before the end."""

    def read(connection: sqlalchemy.Connection) -> list[WholeTrial]:
        tables.lock_study(connection, study_id)
        wanted = tables.TRIALS.c.study_id == study_id
        rows, times = _stored_params(connection, wanted), _times(connection, wanted)
        return [
            _whole(trial, rows.get(trial._trial_id, []), *times[trial._trial_id])
            for trial in read_trials(connection, wanted)
        ]

    return database.write(read, kind="read")


def add_trials(database: Database, study_id: int, trials: Sequence[WholeTrial]) -> list[Created]:
    """All of them in this order, or none; their numbers go on from those that the study has."""
    try:
        return database.write(
            lambda connection: _insert(connection, study_id, trials),
            stands=lambda connection, made: not made or tables.has_trial(connection, study_id, made[-1]),
        )
    except OtherChoicesError as error:
        raise StorageError(f"{database.where}: {error}: the study has other choices. Choose another study") from None


def _insert(connection: sqlalchemy.Connection, study_id: int, trials: Sequence[WholeTrial]) -> list[Created]:
    tables.lock_study(connection, study_id)
    newest = tables.newest_trial(connection, study_id)
    tables.refuse_other_choices(connection, newest, (row for trial in trials for row in trial.rows))
    first = newest.number + 1 if newest else 0
    created: list[Created] = []
    for start in range(0, len(trials), _CHUNK):
        some = dict(enumerate(trials[start : start + _CHUNK], first + start))
        ids = insert_trials(connection, study_id, _rows_of(some))
        created += [Created(ids[number], number) for number in some]
    return created


def _rows_of(trials: Mapping[int, WholeTrial]) -> Rows:
    """Of trials by their new numbers, which stand for the ids that they do not have yet."""
    times = {n: {"datetime_start": each.started, "datetime_complete": each.finished} for n, each in trials.items()}
    both = trials.items()
    return {
        tables.TRIALS: [{"trial_id": n, "number": n, "state": TrialState[t.state], **times[n]} for n, t in both],
        tables.PARAMS: [{"trial_id": n, **row} for n, t in both for row in t.rows],
        tables.VALUES: [tables.value_row(n, i, value) for n, t in both for i, value in enumerate(t.values)],
        tables.CURVES: [tables.curve_row(n, step, value) for n, t in both for step, value in t.curve.items()],
        tables.TRIAL_ATTRS: [_attribute(n, *item) for n, t in both for item in t.attrs.items()],
        tables.TRIAL_SYSTEM_ATTRS: [_attribute(n, *item) for n, t in both for item in t.system_attrs.items()],
    }


def _attribute(trial_id: int, key: str, value: object) -> dict[str, Any]:
    return {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}  # NaN too, if it was there before


def _rows(params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]]) -> list[dict[str, Any]]:
    return [tables.param_row(name, value, choices[name]) for name, value in params.items()]


def _stored_params(
    connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool]
) -> dict[int, list[dict[str, Any]]]:
    names = ("param_name", "param_value", "distribution_json")
    columns = [tables.PARAMS.c[name] for name in ("trial_id", *names)]
    query = sqlalchemy.select(*columns).join(tables.TRIALS, tables.TRIALS.c.trial_id == tables.PARAMS.c.trial_id)
    found: dict[int, list[dict[str, Any]]] = {}
    for trial_id, *values in connection.execute(query.where(wanted).order_by(tables.PARAMS.c.param_id)):
        found.setdefault(trial_id, []).append(dict(zip(names, values, strict=True)))
    return found


def _times(
    connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool]
) -> dict[int, tuple[datetime | None, datetime | None]]:
    # Not the trials' own: those are local, and one hour of the year is ambiguous.
    t = tables.TRIALS.c
    query = sqlalchemy.select(t.trial_id, t.datetime_start, t.datetime_complete).where(wanted)
    return {trial_id: (started, finished) for trial_id, started, finished in connection.execute(query)}


def _whole(
    trial: FrozenTrial, rows: Sequence[Mapping[str, Any]], started: datetime | None, finished: datetime | None
) -> WholeTrial:
    return WholeTrial(
        state=trial.state.name,
        params=trial.params,
        rows=rows,
        attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        values=tuple(trial.values or ()),
        curve=trial.intermediate_values,
        started=started,
        finished=finished,
        number=trial.number,
    )
