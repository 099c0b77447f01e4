"""Notices that the -wal beside a SQLite file is another file's, before SQLite takes it in.

Each file that we make has a random id in its first page. Copies and VACUUM keep it. Files of earlier releases, and those
of other programs, have none.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy

from storage.driver_errors import explain
from storage.errors import StorageError
from storage.files import os_errors_at
from storage.text import one_line
from storage.url import Address

_ID = "user_version"  # of the file's header, which Optuna does not use; 0: it has no id
_STUDIES = (
    "SELECT studies.study_id, study_name, datetime_start FROM studies"
    " LEFT JOIN trials ON trials.study_id = studies.study_id AND number = 0"
)
# Bytes of a -wal before its frames, and of a frame before its page: sqlite.org/fileformat2.html
_HEADER, _FRAME = 32, 24


def give_id(path: Path) -> None:
    """Give a new file its id."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {_ID} = {1 + secrets.randbelow(2**31 - 1)}")


def write_id_again(connection: sqlalchemy.Connection) -> None:
    """Put the id into this transaction: the -wal says then whose it is, though no study of before is left."""
    if connection.dialect.name == "sqlite":
        known = connection.exec_driver_sql(f"PRAGMA {_ID}").scalar()
        connection.exec_driver_sql(f"PRAGMA {_ID} = {known}")


def reading(path: Path) -> sqlite3.Connection:
    """Open a file with its -wal for reading only."""
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=30.0)


def without_its_wal(path: Path) -> sqlite3.Connection:
    """Open a file as it is, its -wal aside; no locks are asked of a file system that may have none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)


def refuse_strange_wal(path: Path, connect: Callable[[], sqlite3.Connection] | None = None) -> bool:
    """Compare a database with its -wal, if it has one, and write into neither; return whether there was one.

    `connect` opens both where SQLite itself cannot.

    SQLite takes the -wal of a driver that died into whatever file has the name now, such as a backup that was put back.
    Of 60 such mixtures `quick_check` found 53 unsound, `integrity_check` all. A -wal with every page replaces the file.
    """
    wal = path.with_name(path.name + "-wal")
    with os_errors_at(wal):
        if not wal.exists() or not wal.stat().st_size:
            return False
    try:
        with closing(connect() if connect else reading(path)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            if found == ["ok"] and _are_of_two(path, wal, connection):
                found = ["the studies of one are not those of the other"]
    except sqlite3.OperationalError as error:
        raise explain(Address(shown=str(path)), error) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        found = [str(error)]
    if found != ["ok"]:
        raise StorageError(
            f"{path}: does not fit its {wal.name} ({one_line(found[0], 100)}). If this file was put back, move that -wal away: it "
            "belongs to the file that was here before. Else it is damaged: restore a backup (`optimize restore BACKUP --runs NEW`)"
        )
    return True


def _are_of_two(path: Path, wal: Path, mixed: sqlite3.Connection) -> bool:
    """Return whether a -wal is another file's though no page is unsound: it may have every page.

    The ids tell if the -wal has one. Else a study of the file has to be there still.
    """
    try:
        with closing(without_its_wal(path)) as alone:
            ids = {connection.execute(f"PRAGMA {_ID}").fetchone()[0] for connection in (alone, mixed)}
            if len(ids) == 1 and (ids == {0} or not _has_first_page(wal)):
                return not _may_be_older(alone, mixed)
            return len(ids) > 1
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # a checkpoint was cut off
        return False


def _has_first_page(wal: Path) -> bool:
    """Return whether a -wal has page 1. Frames with other salts are left from before."""
    with os_errors_at(wal), wal.open("rb") as file:
        header = file.read(_HEADER)
        size = int.from_bytes(header[8:12], "big")
        while len(frame := file.read(_FRAME)) == _FRAME and frame[8:16] == header[16:24]:
            if frame[:4] == b"\0\0\0\1":
                return True
            file.seek(size, 1)
    return False


def _may_be_older(alone: sqlite3.Connection, mixed: sqlite3.Connection) -> bool:
    """Return whether a study of the file alone is there still; its first trial may have begun meanwhile."""
    before = alone.execute(_STUDIES).fetchall()
    begun = {(study_id, name): start for study_id, name, start in mixed.execute(_STUDIES)}
    return not before or any(
        (study_id, name) in begun and start in (None, begun[study_id, name]) for study_id, name, start in before
    )
