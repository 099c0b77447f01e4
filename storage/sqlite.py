"""Opens a SQLite file the way a study needs it: durable, waiting for locks, and surely a database of Optuna's.

It uses WAL where the file system allows it, which `/proc/self/mounts` tells, and DELETE elsewhere. A new file appears
complete or not at all. It also copies a file that is in use, ours or another program's, and checks its pages. No study
is read here.
"""

from __future__ import annotations

import functools
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy.pool import QueuePool

from storage.driver_errors import FOREIGN, RESTORE, explain, is_locked
from storage.errors import StorageError
from storage.files import beside, os_errors_at, os_failure, sync_file, sync_folder
from storage.reader import QuickStorage
from storage.revision import refuse_untested_optuna
from storage.sql import BACKUPS
from storage.text import one_line
from storage.transactions import RetryPolicy
from storage.url import Address
from storage.wal import give_id, reading, refuse_strange_wal, without_its_wal

_MOUNTS = Path("/proc/self/mounts")
_SHARED = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|9p|fuse(blk|\..+)?|afs|ceph|lustre|beegfs|gpfs|virtiofs|vboxsf|prl_fs")


def without_wal(path: Path, mounts: str | None = None) -> str | None:
    """Return the name of the file system at `path` if WAL is not safe there, else None."""
    kind = filesystem_of(path, _read(_MOUNTS) if mounts is None else mounts)
    return kind if _SHARED.fullmatch(kind) else None


def filesystem_of(path: Path, mounts: str) -> str:
    """Return the type of the innermost mount that holds `path`; of two mounts on one point the later one hides the
    earlier.
    """
    path = path.absolute().resolve()
    found, kind = Path("/"), ""
    for line in mounts.splitlines():
        point, type_ = line.split(" ")[1:3]
        folder = Path(_unescaped(point))
        if path.is_relative_to(folder) and folder.is_relative_to(found):
            found, kind = folder, type_
    return kind


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)  # a space is \040


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""


OPENING_S = 5.0  # how long a lock is waited for that SQLite itself does not wait for
BUSY_S = 30.0  # how long SQLite waits for a lock before it says "database is locked"
MAGIC = b"SQLite format 3\0"


def open_sqlite(address: Address, *, create: bool, check: bool) -> tuple[QuickStorage, tuple[str, ...]]:
    """Open the storage in the file at `address.path`; returns it with what the user should know about it.

    Raises StorageError for what is no database of Optuna's, or is damaged.
    """
    path = address.path
    assert path is not None
    _make_sure_of_a_file(path, create)
    _look_at(path)
    shared = without_wal(path)
    if check and not refuse_strange_wal(path) and (problems := check_pages(path, "quick_check")):
        raise StorageError(f"{path}: damaged ({problems[0]}). {RESTORE}")
    journal = "DELETE" if shared else "WAL"
    rdb = _once_unlocked(lambda: rdb_storage(path, journal=journal, complete=_tables_are_complete(address)))
    return rdb, (
        f"{path}: is on {shared}, where WAL is not safe. The slower journal mode DELETE is used",
    ) if shared else ()


def _once_unlocked(work: Callable[[], QuickStorage]) -> QuickStorage:
    # Two that open a new file at once: one makes it a WAL file, and for that SQLite lets the other not even wait.
    wait = RetryPolicy(OPENING_S).begin("")
    while True:
        try:
            return work()
        except FOREIGN as error:
            if not is_locked(error) or not wait.goes_on(error):
                raise


def rdb_storage(path: Path, *, journal: str, complete: bool, sync: str = "FULL") -> QuickStorage:
    """Open Optuna's storage in a file; `complete` says that its tables are there."""
    if not complete:
        refuse_untested_optuna(str(path))
    # The URL names no file: the creator does. Optuna would format() a path, and one with braces would fail.
    kwargs = {"creator": functools.partial(connect, path, journal, sync), "poolclass": QueuePool}
    # Its version check loads all of Alembic's migrations; `open_database` compares one string.
    return QuickStorage("sqlite://", engine_kwargs=kwargs, skip_table_creation=complete, skip_compatibility_check=True)


def connect(path: Path, journal: str, sync: str) -> sqlite3.Connection:
    """Open a connection with our settings; transactions are begun by `transactions.py`, not by Python's sqlite3."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(f"PRAGMA synchronous = {sync}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk
    connection.execute("PRAGMA trusted_schema = OFF")  # a database from a stranger runs no functions
    return connection


def check_pages(path: Path, pragma: str) -> list[str]:
    """Return what SQLite finds wrong: `quick_check` reads every page, `integrity_check` compares indexes too. [] is
    sound.
    """
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}")]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # its words may quote what is damaged
        raise explain(Address(shown=str(path)), error) from error
    return [] if found == ["ok"] else found


def copy_online(source: Path, to: Path) -> None:
    """Copy a database in use consistently, as one file; `to` is replaced when the copy is complete and sound."""
    if to.exists() and (to.is_dir() or in_use(to) or to.samefile(source)):
        raise StorageError(f"{to}: in use, or not a file. Choose another name for the copy")
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
        with closing(reading(source)) as old, closing(sqlite3.connect(to)) as new:
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


def settle(path: Path) -> None:
    """Make one file without a -wal of a database that nobody has open, so that it opens on a read-only disk too."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise explain(Address(shown=str(path)), error) from error


def _copy(source: Path, new: Path) -> None:
    there = f"{source.absolute().as_uri()}?mode=rw"  # not made anew, and copied empty, if it is gone meanwhile
    with closing(sqlite3.connect(there, timeout=BUSY_S, uri=True)) as old, closing(sqlite3.connect(new)) as copy:
        old.backup(copy)  # in one step: writers go on under WAL, and wait a moment under DELETE
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, no -wal beside it
    problems = check_pages(new, "quick_check")
    if problems:
        raise StorageError(f"{source}: damaged ({problems[0]}); no copy was made. {RESTORE}")
    sync_file(new)


def in_use(path: Path) -> bool:
    """Return whether somebody has it open for writing, or died so: its name must not get another file now."""
    return any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))


def _make_sure_of_a_file(path: Path, create: bool) -> None:
    wal, there = path.with_name(path.name + "-wal"), path.exists()
    if (not there or (path.is_file() and not path.stat().st_size)) and wal.exists() and wal.stat().st_size:
        # SQLite would read it into a new file, and remove it beside an empty one.
        what = f"is empty, but its {wal.name} is not" if there else f"not here, but its {wal.name} is"
        raise StorageError(f"{path}: {what}. Put the database back beside it, or move {wal.name} away too")
    if there:
        return
    if not create:
        raise StorageError(
            f"{path.absolute()}: no database here yet. Start a study first (`optimize run`), or go to the folder of yours"
        )
    refuse_untested_optuna(str(path))
    with os_errors_at(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    new = beside(path)
    try:
        rdb_storage(new, journal="MEMORY", complete=False, sync="OFF").engine.dispose()
        give_id(new)
        sync_file(new)  # once, instead of after each of some forty statements
        _link(new, path)
    except OSError as error:
        raise os_failure(path, error) from error
    except Exception as error:
        raise explain(Address(shown=str(path)), error) from error
    finally:
        new.unlink(missing_ok=True)


def _link(new: Path, path: Path) -> None:
    """Give the finished file its name, unless another process was faster: then its database is used."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            new.rename(path)
    sync_folder(path.parent)


def _look_at(path: Path) -> None:
    if path.is_dir():
        raise StorageError(f"{path}: a folder, not a database. Name a file in it")
    with os_errors_at(path), path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start and start != MAGIC:  # SQLite takes an empty file for an empty database, and so do we
        raise StorageError(f"{path}: not a SQLite database. Move it away, or name another file")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise StorageError(f"{path}: not writable. Change the permissions of the database and of its folder")


def _tables_are_complete(address: Address) -> bool:
    """Return whether Optuna's tables are all there: the version is stamped last. Raises StorageError for another
    program's.
    """
    assert address.path is not None
    try:
        with closing(sqlite3.connect(address.path, timeout=BUSY_S)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            stamped = "alembic_version" in names and connection.execute("SELECT 1 FROM alembic_version").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain(address, error) from error
    if names and "studies" not in names:
        raise StorageError(f"{address.shown}: a database, but not Optuna's. Name another file")
    return bool(stamped)
