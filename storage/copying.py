"""Copies a study from one database into another, row by row: all of it in one transaction, or nothing.

Rows keep everything but their ids: numbers, order, times to the microsecond. Signs of life (leases, heartbeats) stay where
the process is that gave them. Artifacts' files go before the rows that name them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy

from storage import tables
from storage.artifacts import Artifacts
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.files import beside, os_errors_at, sync_file, sync_folder
from storage.notes import rows_of_notes, rows_of_study
from storage.tables import TRIALS

OF_STUDY = (tables.DIRECTIONS, tables.STUDY_ATTRS, tables.STUDY_SYSTEM_ATTRS)
OF_TRIAL = (tables.PARAMS, tables.VALUES, tables.CURVES, tables.TRIAL_ATTRS, tables.TRIAL_SYSTEM_ATTRS)
_FILES_AT_ONCE = 8  # each waits for the disk
_AT_A_TIME = 500  # trials; few enough for any memory, many enough for a distant server

Row = dict[str, Any]
Rows = Mapping[sqlalchemy.Table, Sequence[Row]]
"""Rows of several tables, in the order of writing, without ids of their own; who they belong to is in them."""


@dataclass(frozen=True, slots=True)
class Files:
    """Copies that were made, and how many artifacts have no file any more."""

    new: Sequence[Path]
    missing: int


def copy_study(source: Database, target: Database, name: str, on_batch: Callable[[], None] = lambda: None) -> int:
    """Returns how many trials were copied. `on_batch` is called about once a second, such as to renew a lease.

    Nobody may drive the study meanwhile. StorageError, and nothing is copied, if the target has a study of this name.
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
        return target.write(copy, stands=lambda connection, made: tables.has_study(connection, made[0], name))[1]
    except StorageError as error:
        if isinstance(error.__cause__, sqlalchemy.exc.IntegrityError):
            raise StorageError(f"{target.where}: study {name!r} exists there. Nothing was copied") from None
        raise


def snapshot(source: Database, names: Sequence[str], to: Path) -> None:
    """These studies alone, as they are at one moment, as a new SQLite file; also while they run, and from a server."""
    with closing(open_database(to, patience_s=0.0)) as target:  # nobody else knows the file

        def copy_all(_: sqlalchemy.Connection) -> None:
            for left in target.study_names():  # by an attempt that lost its server
                target.delete_study(left)
            for name in names:
                copy_study(source, target, name)

        source.write(copy_all, kind="snapshot")


def copy_files(
    source: Artifacts, target: Artifacts, study: str, on_file: Callable[[], None], ids: Sequence[str] | None = None
) -> Files:
    """What the trials of a study left, or the artifacts `ids`, into the folder of another database; none if the two
    share one."""
    source.note_user()
    target.note_user()  # from now on neither of two that share a folder may remove a file from it
    if target.folder.resolve() == source.folder.resolve():
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
    """What an attempt that failed had put there."""
    for path in paths:
        path.unlink(missing_ok=True)


def read_study(connection: sqlalchemy.Connection, study_id: int) -> Rows:
    """What belongs to the study itself."""
    return {table: _rows(connection, table, table.c.study_id == study_id) for table in OF_STUDY}


def insert_study(connection: sqlalchemy.Connection, name: str, rows: Rows) -> int:
    key = connection.execute(tables.STUDIES.insert().values(study_name=name)).inserted_primary_key
    assert key is not None
    for table, each in rows.items():
        own = rows_of_study(each) if table is tables.STUDY_SYSTEM_ATTRS else each
        _insert(connection, table, [{**row, "study_id": key[0]} for row in own])
    return int(key[0])


def insert_notes(connection: sqlalchemy.Connection, study_id: int, rows: Rows, ids: Mapping[int, int]) -> None:
    """Of the study and of trials, which lie among the study's rows under their ids; `ids` has the new one of each."""
    _insert(connection, tables.STUDY_SYSTEM_ATTRS, rows_of_notes(rows[tables.STUDY_SYSTEM_ATTRS], study_id, ids))


def read_trials(connection: sqlalchemy.Connection, wanted: sqlalchemy.ColumnElement[bool], most: int) -> Rows:
    """The first `most` trials that are `wanted`, by id, and all that belongs to them. {} if there are none."""
    heads = connection.execute(TRIALS.select().where(wanted).order_by(TRIALS.c.trial_id).limit(most)).mappings().all()
    if not heads:
        return {}
    between = TRIALS.c.trial_id.between(heads[0]["trial_id"], heads[-1]["trial_id"])
    ids = sqlalchemy.select(TRIALS.c.trial_id).where(wanted & between)
    of_them = {table: _rows(connection, table, table.c.trial_id.in_(ids)) for table in OF_TRIAL}
    return {TRIALS: [dict(head) for head in heads], **of_them}


def insert_trials(connection: sqlalchemy.Connection, study_id: int, rows: Rows) -> dict[int, int]:
    """Trials, finished or not, with everything that belongs to them; returns the new id of each old one.

    The caller gives numbers that are free, and in their order: readers count on ids and numbers that grow together.
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
    return source.write(lambda connection: read_trials(connection, wanted, _AT_A_TIME), kind="read")


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
    """False if there is none, or only a name that would leave the folder."""
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
