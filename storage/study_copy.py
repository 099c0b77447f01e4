"""Copies a study from one database into another row by row, and reads and adds whole trials as values: all or none.

Rows keep everything but their ids: numbers, order, times to the microsecond. Leases and heartbeats are not copied, as
they belong to a process. The files of artifacts are copied before the rows that name them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from storage import sql
from storage.artifacts import PREFIX, Artifacts
from storage.dashboard_notes import rows_of_notes, rows_of_study
from storage.database import Database, Json, open_database
from storage.errors import StorageError
from storage.files import beside, os_errors_at, sync_file, sync_folder
from storage.local_times import OURS, keeps_local_times, utc_of
from storage.reader import read_trials
from storage.sql import TRIALS, Created, OtherChoicesError, Stored

OF_STUDY = (sql.DIRECTIONS, sql.STUDY_ATTRS, sql.STUDY_SYSTEM_ATTRS)
OF_TRIAL = (sql.PARAMS, sql.VALUES, sql.CURVES, sql.TRIAL_ATTRS, sql.TRIAL_SYSTEM_ATTRS)
_FILES_AT_ONCE = 8  # each waits for the disk
_AT_A_TIME = 500  # trials; few enough for any memory, many enough for a distant server

Row = dict[str, Any]
Rows = Mapping[sqlalchemy.Table, Sequence[Row]]
"""Rows of several tables, in the order of writing, without ids of their own; who they belong to is in them."""


@dataclass(frozen=True, slots=True)
class Files:
    """The copies that were made, and how many artifacts have no file any more."""

    new: Sequence[Path]
    missing: int


def copy_study(source: Database, target: Database, name: str, on_batch: Callable[[], None] = lambda: None) -> int:
    """Copy a study; returns how many trials it has. `on_batch` is called about once a second, such as to renew a lease.

    Nobody may drive the study meanwhile. Raises StorageError, and copies nothing, if the target has a study of this
    name.
    """
    study_id = source.find_study(name)
    if study_id is None:
        raise StorageError(f"{source.where}: there is no study {name!r}. `optimize status` lists those there are")

    def copy(connection: sqlalchemy.Connection) -> tuple[int, int]:
        rows = source.write(lambda each: read_study(each, study_id), kind="read")
        new_id, ids = insert_study(connection, name, rows), dict[int, int]()
        count, after = 0, -1
        while batch := _read_batch(source, study_id, after):
            ids |= insert_trials(connection, new_id, batch)
            count, after = count + len(batch[TRIALS]), batch[TRIALS][-1]["trial_id"]
            on_batch()
        if source.find_study(name) != study_id or sum(source.counts(study_id).values()) != count:
            raise StorageError(f"{source.where}: study {name!r} was changed meanwhile. Nothing was copied: try again")
        insert_notes(connection, new_id, rows, ids)
        return new_id, count

    try:
        return target.write(copy, stands=lambda connection, made: sql.has_study(connection, made[0], name))[1]
    except StorageError as error:
        if isinstance(error.__cause__, sqlalchemy.exc.IntegrityError):
            raise StorageError(f"{target.where}: study {name!r} exists there. Nothing was copied") from None
        raise


def snapshot(source: Database, names: Sequence[str], to: Path) -> None:
    """Copy these studies, as they are at one moment, into a new SQLite file; also while they run, and from a server."""
    with closing(open_database(to, retry_s=0.0)) as target:  # nobody else knows the file

        def copy_all(_: sqlalchemy.Connection) -> None:
            for left in target.study_names():  # by an attempt that lost its server
                target.delete_study(left)
            for name in names:
                copy_study(source, target, name)

        source.write(copy_all, kind="snapshot")


def copy_files(
    source: Artifacts, target: Artifacts, study: str, on_file: Callable[[], None], ids: Sequence[str] | None = None
) -> Files:
    """Copy what the trials of a study left, or the artifacts `ids`, into the folder of another database.

    Nothing is copied if the two share a folder.
    """
    target.note_user()
    if target.folder.resolve() == source.folder.resolve():
        source.note_user()  # from now on neither of two that share a folder may remove a file from it
        return Files((), 0)
    new: list[Path] = []
    missing = 0
    try:
        with os_errors_at(target.folder), ThreadPoolExecutor(_FILES_AT_ONCE) as together:
            wanted = source.ids_of_study(study) if ids is None else ids
            ways = [(source.path_of(each), target.path_of(each)) for each in wanted]
            for done in together.map(lambda way: _copy_file(way[0], way[1], new), ways):
                missing += not done
                on_file()
            sync_folder(target.folder)
    except BaseException:
        remove_files(new)
        raise
    return Files(tuple(new), missing)


def remove_files(paths: Iterable[Path]) -> None:
    """Remove what an attempt that failed had copied."""
    for path in paths:
        path.unlink(missing_ok=True)


def read_study(connection: sqlalchemy.Connection, study_id: int) -> Rows:
    """Return the rows that belong to the study itself."""
    return {table: _rows(connection, table, table.c.study_id == study_id) for table in OF_STUDY}


def insert_study(connection: sqlalchemy.Connection, name: str, rows: Rows) -> int:
    """Add a study of this name with the rows of `read_study`, notes excepted; returns its id."""
    key = connection.execute(sql.STUDIES.insert().values(study_name=name)).inserted_primary_key
    assert key is not None
    for table, each in rows.items():
        own = rows_of_study(each) if table is sql.STUDY_SYSTEM_ATTRS else each
        _insert(connection, table, [{**row, "study_id": key[0]} for row in own if row.get("key") != sql.LEASE_ATTR])
    return int(key[0])


def insert_notes(connection: sqlalchemy.Connection, study_id: int, rows: Rows, ids: Mapping[int, int]) -> None:
    """Add the notes of the study and of its trials; `ids` has the new id of each trial.

    The rows of all of them are among the system attributes of the study.
    """
    _insert(connection, sql.STUDY_SYSTEM_ATTRS, rows_of_notes(rows[sql.STUDY_SYSTEM_ATTRS], study_id, ids))


def read_trial_rows(connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool], most: int) -> Rows:
    """Return the first `most` trials that are `wanted`, by id, and all that belongs to them; {} if there are none."""
    heads = connection.execute(TRIALS.select().where(wanted).order_by(TRIALS.c.trial_id).limit(most)).mappings().all()
    if not heads:
        return {}
    between = TRIALS.c.trial_id.between(heads[0]["trial_id"], heads[-1]["trial_id"])
    ids = sqlalchemy.select(TRIALS.c.trial_id).where(wanted & between)
    of_them = {table: _rows(connection, table, table.c.trial_id.in_(ids)) for table in OF_TRIAL}
    ours = {row["trial_id"] for row in of_them[sql.TRIAL_ATTRS] if row["key"] == OURS}
    local = keeps_local_times(connection)
    return {TRIALS: [_in_utc(h) if local and h["trial_id"] not in ours else dict(h) for h in heads], **of_them}


def _in_utc(head: Mapping[Any, Any]) -> Row:
    return {**head, **{name: utc_of(head[name]) for name in ("datetime_start", "datetime_complete")}}


def insert_trials(connection: sqlalchemy.Connection, study_id: int, rows: Rows) -> dict[int, int]:
    """Add trials, finished or not, with everything that belongs to them; returns the new id of each old one.

    The caller gives free numbers in their order: readers count on ids and numbers that grow together.
    """
    heads = [{**row, "study_id": study_id} for row in rows[TRIALS]]
    made = TRIALS.insert().returning(TRIALS.c.trial_id, sort_by_parameter_order=True)
    bare = [{name: value for name, value in head.items() if name != "trial_id"} for head in heads]
    new_ids = connection.execute(made, bare).scalars().all()
    ids = dict(zip((head["trial_id"] for head in heads), new_ids, strict=True))
    for table in OF_TRIAL:
        _insert(connection, table, [{**row, "trial_id": ids[row["trial_id"]]} for row in rows.get(table, ())])
    return ids


def _read_batch(source: Database, study_id: int, after: int) -> Rows:
    wanted = (TRIALS.c.study_id == study_id) & (TRIALS.c.trial_id > after)
    return source.write(lambda connection: read_trial_rows(connection, wanted, _AT_A_TIME), kind="read")


def _rows(
    connection: sqlalchemy.Connection, table: sqlalchemy.Table, wanted: sqlalchemy.ColumnElement[bool]
) -> list[Row]:
    columns = [column for column in table.columns if not column.primary_key]
    query = sqlalchemy.select(*columns).where(wanted).order_by(*table.primary_key)
    return [dict(row) for row in connection.execute(query).mappings()]


def _insert(connection: sqlalchemy.Connection, table: sqlalchemy.Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _copy_file(source: Path | None, to: Path | None, new: list[Path]) -> bool:
    """Copy a file; False if there is none, or only a name that would leave the folder."""
    if source is None or to is None or not source.is_file():
        return False
    if not to.exists():  # names are unique in the world: what is there is the same
        half = beside(to)
        try:
            shutil.copyfile(source, half)
            sync_file(half)
            new.append(to)
            half.replace(to)
        finally:
            half.unlink(missing_ok=True)
    return True


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
        """Return the same trial in another search space, with its artifacts and without what other programs noted."""
        kept = {key: value for key, value in self.system_attrs.items() if key.startswith(PREFIX)}
        return replace(self, params=params, rows=_param_rows(params, choices), attrs=attrs, system_attrs=kept)


def waiting_trial(
    params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]], attrs: Json | None = None
) -> WholeTrial:
    """Return a trial that is still to be run."""
    return WholeTrial("WAITING", params, _param_rows(params, choices), attrs or {})


def read_whole_trials(database: Database, study_id: int) -> list[WholeTrial]:
    """Return every trial by number.

    Within `database.transaction()` neither the study nor its artifacts can be deleted before the end.
    """

    def read(connection: sqlalchemy.Connection) -> list[WholeTrial]:
        sql.lock_study(connection, study_id)
        wanted = sql.TRIALS.c.study_id == study_id
        rows, times = _stored_params(connection, wanted), _times(connection, wanted)
        return [
            _whole(trial, rows.get(trial._trial_id, []), *times[trial._trial_id])
            for trial in read_trials(connection, wanted)
        ]

    return database.write(read, kind="read")


def add_trials(database: Database, study_id: int, trials: Sequence[WholeTrial]) -> list[Created]:
    """Add all trials in this order, or none; their numbers go on from those that the study has.

    Raises StorageError if the study has other choices.
    """
    try:
        return database.write(
            lambda connection: _insert_whole(connection, study_id, trials),
            stands=lambda connection, made: not made or sql.has_trial(connection, study_id, made[-1]),
        )
    except OtherChoicesError as error:
        raise StorageError(f"{database.where}: {error}: the study has other choices. Choose another study") from None


def _insert_whole(connection: sqlalchemy.Connection, study_id: int, trials: Sequence[WholeTrial]) -> list[Created]:
    sql.lock_study(connection, study_id)
    newest = sql.newest_trial(connection, study_id)
    sql.refuse_other_choices(connection, newest, (row for trial in trials for row in trial.rows))
    first = newest.number + 1 if newest else 0
    created: list[Created] = []
    for start in range(0, len(trials), _CHUNK):
        some = dict(enumerate(trials[start : start + _CHUNK], first + start))
        ids = insert_trials(connection, study_id, _rows_of(some))
        created += [Created(ids[number], number) for number in some]
    return created


def _rows_of(trials: Mapping[int, WholeTrial]) -> Rows:
    """Return the rows of trials by their new numbers, which stand for the ids that they do not have yet."""
    times = {n: {"datetime_start": each.started, "datetime_complete": each.finished} for n, each in trials.items()}
    both = trials.items()
    return {
        sql.TRIALS: [{"trial_id": n, "number": n, "state": TrialState[t.state], **times[n]} for n, t in both],
        sql.PARAMS: [{"trial_id": n, **row} for n, t in both for row in t.rows],
        sql.VALUES: [sql.value_row(n, i, value) for n, t in both for i, value in enumerate(t.values)],
        sql.CURVES: [sql.curve_row(n, step, value) for n, t in both for step, value in t.curve.items()],
        sql.TRIAL_ATTRS: [_attribute(n, *item) for n, t in both for item in t.attrs.items()],
        sql.TRIAL_SYSTEM_ATTRS: [_attribute(n, *item) for n, t in both for item in t.system_attrs.items()],
    }


def _attribute(trial_id: int, key: str, value: object) -> dict[str, Any]:
    return {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}  # NaN too, if it was there before


def _param_rows(params: Mapping[str, Stored], choices: Mapping[str, Sequence[Stored]]) -> list[dict[str, Any]]:
    return [sql.param_row(name, value, choices[name]) for name, value in params.items()]


def _stored_params(
    connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool]
) -> dict[int, list[dict[str, Any]]]:
    names = ("param_name", "param_value", "distribution_json")
    columns = [sql.PARAMS.c[name] for name in ("trial_id", *names)]
    query = sqlalchemy.select(*columns).join(sql.TRIALS, sql.TRIALS.c.trial_id == sql.PARAMS.c.trial_id)
    found: dict[int, list[dict[str, Any]]] = {}
    for trial_id, *values in connection.execute(query.where(wanted).order_by(sql.PARAMS.c.param_id)):
        found.setdefault(trial_id, []).append(dict(zip(names, values, strict=True)))
    return found


def _times(
    connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool]
) -> dict[int, tuple[datetime | None, datetime | None]]:
    # Not the trials' own: those are local, and one hour of the year is ambiguous.
    t = sql.TRIALS.c
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
