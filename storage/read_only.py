"""Opens a SQLite file for those who only look: where nothing can be written, beside a driver, or after one that died.

SQLite itself needs a -shm beside a WAL file even for reading. It needs the standard library only: a shell that completes
a word waits for it. What the file holds is not known here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

BUSY_S = 30.0  # how long SQLite waits for a lock before it says "database is locked"
BESIDE = ("-wal", "-journal")  # of a file in use, or of a writer that died: a part of the database
_ATTEMPTS = 5

_State = tuple[tuple[int, int, int] | None, ...]


def can_be_written(path: Path) -> bool:
    """Return whether a SQLite file can be written: SQLite makes files beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def left_beside(path: Path) -> list[Path]:
    """Return what a writer keeps beside a SQLite file, or has left there, as far as there is anything in it."""
    found = (path.with_name(path.name + end) for end in BESIDE)
    return [each for each in found if each.exists() and each.stat().st_size]


class ReadOnlyFile:
    """A SQLite file that is only looked at, and whose folder need not be writable. Close it when done.

    Each connection decides anew, because a driver may begin or end elsewhere. Where SQLite can read the file it does so,
    also while a driver writes. Else a file with nothing beside it is read without locks. Else file and -wal are copied.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copied: _State = ()

    def connect(self, timeout: float = BUSY_S) -> sqlite3.Connection:
        """Return a connection that reads. Raises sqlite3.Error, OSError where not even the file can be read."""
        try:
            return _connected(self._path, "mode=ro", timeout)
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
        if not left_beside(self._path):
            return _connected(self._path, "immutable=1", timeout)
        return _connected(self._copy(), "mode=rw", timeout)

    def close(self) -> None:
        """Remove the copy, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder, self._copied = None, ()

    def _copy(self) -> Path:
        """Copy the file and what lies beside it, unless the last copy is of the same state."""
        for _ in range(_ATTEMPTS):
            before = _state(self._path)
            if self._folder is None or before != self._copied:
                self.close()
                self._folder = tempfile.TemporaryDirectory(prefix="optimize-look-")
                for each in (self._path, *left_beside(self._path)):
                    shutil.copyfile(each, Path(self._folder.name) / each.name)
                self._copied = before
            if _state(self._path) == before:
                return Path(self._folder.name) / self._path.name
            self._copied = ()
        raise sqlite3.OperationalError("it is being written, and its -shm cannot be read")


def _state(path: Path) -> _State:
    return tuple(_seen(path.with_name(path.name + end)) for end in ("", *BESIDE))


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _connected(path: Path, how: str, timeout: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?{how}"
    connection = sqlite3.connect(uri, timeout=timeout, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # a database from a stranger runs no functions
        connection.execute("PRAGMA query_only = ON")  # what went into a copy would be lost
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
