"""Opens a SQLite file the way a study needs it: durable, waiting for locks, and surely a database of Optuna's.

It uses WAL where the file system allows it, which `/proc/self/mounts` tells, and DELETE elsewhere. A new file appears
complete or not at all. It also copies a file that is in use, ours or another program's, and checks its pages. No study
is read here.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.pool import NullPool, QueuePool

from storage.driver_errors import FOREIGN, RESTORE, explain, is_locked
from storage.errors import StorageError
from storage.files import beside, os_errors_at, os_failure, sync_file, sync_folder
from storage.read_only import BUSY_S, ReadOnlyFile, can_be_written, left_beside
from storage.reader import QuickStorage
from storage.revision import refuse_untested_optuna
from storage.transactions import RetryPolicy
from storage.url import Address
from storage.wal import give_id, refuse_strange_wal

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
MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class OpenedStorage:
    """An open storage, what the user should know about it, and why nobody here can write into it; "" if that can be."""

    rdb: QuickStorage
    notices: tuple[str, ...] = ()
    not_writable: str = ""


def open_sqlite(address: Address, *, create: bool, check: bool, read_only: bool) -> OpenedStorage:
    """Open the storage in the file at `address.path`; with `read_only` also where that cannot be written.

    Raises StorageError for what is no database of Optuna's, or is damaged.
    """
    path = address.path
    assert path is not None
    _make_sure_of_a_file(path, create)
    _look_at(path)
    if not can_be_written(path):
        refusal = f"{path}: not writable. Change the permissions of the database and of its folder"
        if not read_only:
            raise StorageError(refusal)
        return OpenedStorage(_open_read_only(address, check), not_writable=refusal)
    shared = without_wal(path)
    if check and not refuse_strange_wal(path):
        _refuse_damage(path)
    journal = "DELETE" if shared else "WAL"
    rdb = _once_unlocked(lambda: rdb_storage(path, journal=journal, complete=_tables_are_complete(address)))
    slower = f"{path}: is on {shared}, where WAL is not safe. The slower journal mode DELETE is used"
    return OpenedStorage(rdb, (slower,) if shared else ())


def _open_read_only(address: Address, check: bool) -> QuickStorage:
    path = address.path
    assert path is not None
    file = ReadOnlyFile(path)
    try:
        with os_errors_at(path):
            if check and not refuse_strange_wal(path, file.connect):
                _refuse_damage(path, file.connect)
            if not _tables_are_complete(address, file.connect):
                raise StorageError(f"{path}: its tables are not complete, and it is not writable. Name another file")
            kwargs = {"creator": file.connect, "poolclass": NullPool}
            rdb = QuickStorage(
                "sqlite://", engine_kwargs=kwargs, skip_table_creation=True, skip_compatibility_check=True
            )
    except BaseException:
        file.close()
        raise
    event.listen(rdb.engine, "engine_disposed", lambda engine: file.close())
    return rdb


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


Connect = Callable[[], sqlite3.Connection]


def check_pages(path: Path, pragma: str, connect: Connect | None = None) -> list[str]:
    """Return what SQLite finds wrong: `quick_check` reads every page, `integrity_check` compares indexes too. [] is
    sound.
    """
    try:
        with closing(connect() if connect else sqlite3.connect(path, timeout=BUSY_S)) as connection:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}")]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # its words may quote what is damaged
        raise explain(Address(shown=str(path)), error) from error
    return [] if found == ["ok"] else found


def _refuse_damage(path: Path, connect: Connect | None = None) -> None:
    if problems := check_pages(path, "quick_check", connect):
        raise StorageError(f"{path}: damaged ({problems[0]}). {RESTORE}")


def settle(path: Path) -> None:
    """Make one file without a -wal of a database that nobody has open, so that it opens on a read-only disk too."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise explain(Address(shown=str(path)), error) from error


def refuse_leftovers(path: Path) -> None:
    """Raise StorageError if a file that is to be made or filled at `path` would get the -wal or the -journal of another.

    SQLite would read it into the new file, which is damaged then, and would remove it beside an empty one.
    """
    with os_errors_at(path):
        names = [each.name for each in left_beside(path)]
        if not names:
            return
        names += [name for name in (f"{path.name}-shm",) if path.with_name(name).exists()]
        there = path.exists()
    left, are = " and ".join(names), "is" if len(names) == 1 else "are"
    what = f"is empty, but its {left} {are} not" if there else f"not here, but its {left} {are}"
    raise StorageError(f"{path}: {what}. Put the database back beside it, or move {left} away too")


def _make_sure_of_a_file(path: Path, create: bool) -> None:
    with os_errors_at(path):
        there = path.exists()
        if not there or (path.is_file() and not path.stat().st_size):
            refuse_leftovers(path)
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
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except PermissionError:
        raise StorageError(f"{path}: not readable. Ask its owner for the right to read it and its folder") from None
    except OSError as error:
        raise os_failure(path, error) from error
    if start and start != MAGIC:  # SQLite takes an empty file for an empty database, and so do we
        raise StorageError(f"{path}: not a SQLite database. Move it away, or name another file")


def _tables_are_complete(address: Address, connect: Connect | None = None) -> bool:
    """Return whether Optuna's tables are all there: the version is stamped last. Raises StorageError for another
    program's.
    """
    assert address.path is not None
    try:
        with closing(connect() if connect else sqlite3.connect(address.path, timeout=BUSY_S)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            stamped = "alembic_version" in names and connection.execute("SELECT 1 FROM alembic_version").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain(address, error) from error
    if names and "studies" not in names:
        raise StorageError(f"{address.shown}: a database, but not Optuna's. Name another file")
    return bool(stamped)
