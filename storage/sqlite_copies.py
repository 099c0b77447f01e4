"""Copies SQLite files that are in use, ours and other programs', and looks into copies that nobody writes.

A copy appears complete or not at all. What is in its tables is not known here, but for the two that say what it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from storage.driver_errors import RESTORE, explain
from storage.errors import StorageError
from storage.files import beside, os_errors_at, sync_file, sync_folder
from storage.read_only import BUSY_S, ReadOnlyFile, can_be_written
from storage.sql import BACKUPS
from storage.sqlite import MAGIC, check_pages, refuse_leftovers
from storage.text import one_line
from storage.url import Address
from storage.wal import refuse_strange_wal, without_its_wal


def copy_online(source: Path, to: Path) -> None:
    """Copy a database in use consistently, as one file; `to` is replaced when the copy is complete and sound."""
    if to.exists() and (to.is_dir() or in_use(to) or to.samefile(source)):
        raise StorageError(f"{to}: in use, or not a file. Choose another name for the copy")
    refuse_leftovers(to)
    new = beside(to)
    try:
        with os_errors_at(to):
            to.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, new)
            new.replace(to)
            sync_folder(to.parent)
    except sqlite3.Error as error:
        raise explain(Address(shown=str(to)), error) from error
    finally:
        new.unlink(missing_ok=True)


def backup_lines_in(path: Path) -> list[str] | None:
    """Return what `sql.backup_lines` does, of a file that nobody writes; None if it is damaged."""
    try:
        with closing(without_its_wal(path)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (BACKUPS.name,)).fetchone()
            query = f"SELECT line FROM {BACKUPS.name} ORDER BY number"
            return [line for (line,) in connection.execute(query)] if known else []
    except sqlite3.OperationalError as error:
        raise explain(Address(shown=str(path)), error) from error
    except sqlite3.DatabaseError:
        return None


def finished_in(path: Path, study: str) -> int:
    """Return how many finished trials of a study a file holds, its -wal aside; 0 if it is no database of Optuna's."""
    query = (
        "SELECT COUNT(*) FROM trials JOIN studies USING (study_id)"
        " WHERE study_name = ? AND state IN ('COMPLETE', 'PRUNED', 'FAIL')"
    )
    try:
        with closing(without_its_wal(path)) as connection:
            return int(connection.execute(query, (study,)).fetchone()[0])
    except (sqlite3.Error, UnicodeDecodeError):
        return 0


def copy_foreign(source: Path, to: Path) -> None:
    """Copy what the file and its -wal hold, opened for reading only; a program that writes there goes on.

    Raises StorageError for what is no database of Optuna's.
    """
    if not source.is_file():
        what = "a folder, not a database" if source.is_dir() else "no such file"
        raise StorageError(f"{source}: {what}. Check the path")
    with os_errors_at(source), source.open("rb") as file:
        start = file.read(len(MAGIC))
    if start != MAGIC:
        raise StorageError(f"{source}: not a SQLite database. Name another file")
    try:
        with closing(ReadOnlyFile(source)) as file:
            refuse_strange_wal(source, file.connect)
            with closing(file.connect()) as old, closing(sqlite3.connect(to)) as new:
                old.backup(new)
                _refuse_strangers(source, new)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain(Address(shown=str(source)), error) from error


def _refuse_strangers(source: Path, copy: sqlite3.Connection) -> None:
    made = dict(copy.execute("SELECT type, name FROM sqlite_master ORDER BY type"))
    for kind in ("view", "trigger"):
        if kind in made:
            raise StorageError(f"{source}: has a {kind} ({one_line(made[kind], 40)}), which Optuna never makes")
    stamp = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if copy.execute(stamp).fetchone() is None or copy.execute("SELECT 1 FROM alembic_version").fetchone() is None:
        raise StorageError(f"{source}: a database, but not one of Optuna's. Name another file")


def _copy(source: Path, new: Path) -> None:
    there = f"{source.absolute().as_uri()}?mode=rw"  # not made anew, and copied empty, if it is gone meanwhile
    with ExitStack() as stack:
        if can_be_written(source) or not source.exists():
            opened = sqlite3.connect(there, timeout=BUSY_S, uri=True)
        else:
            opened = stack.enter_context(closing(ReadOnlyFile(source))).connect()
        old, copy = stack.enter_context(closing(opened)), stack.enter_context(closing(sqlite3.connect(new)))
        old.backup(copy)  # in one step: writers go on under WAL, and wait a moment under DELETE
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, no -wal beside it
    problems = check_pages(new, "quick_check")
    if problems:
        raise StorageError(f"{source}: damaged ({problems[0]}); no copy was made. {RESTORE}")
    sync_file(new)


def in_use(path: Path) -> bool:
    """Return whether somebody has it open for writing, or died so: its name must not get another file now."""
    return any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))
