"""Turns the errors of SQLite, SQLAlchemy, psycopg and Optuna into a `StorageError` of one line; nobody else does.

It knows what a server means when it refuses a connection or a right, which failures pass by themselves (a lock, a lost
connection), and what is damage. `transactions.py` decides how long to try again.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy.exc
from sqlalchemy.engine import URL

from storage.errors import StorageError, StorageFullError
from storage.url import Address

_CREDENTIALS = "Correct the URL (OPTIMIZE_STORAGE_URL), or give the password by PGPASSWORD or ~/.pgpass"

# What the words of a refusal match -> what they mean and what to do.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|no password supplied|no password", f"wrong user or password. {_CREDENTIALS}"),
    (r'role ".*" does not exist', f"there is no such user. {_CREDENTIALS}"),
    (r'database ".*" does not exist', "the server has no such database. Create it: createdb {database}"),
    (r"no pg_hba.conf entry|pg_hba.conf rejects", "the server lets nobody in from here. Add a line to its pg_hba.conf"),
    (r"permission denied for database", "no right to connect. As its owner: GRANT CONNECT ON DATABASE {database} TO {user}"),
    (r"starting up|shutting down|recovery", "the server is just starting or stopping. Try again in a moment"),
    (r"too many clients|remaining connection slots|too many connections",
     "the server has no connection left. Close some, or raise its max_connections"),
    (r"Connection refused|No such file or directory", "no server answers there. Start it, or correct host and port"),
    (r"resolve host|translate host name|Name or service not known", "there is no such host. Correct the URL"),
    (r"timeout expired|timed out|No route to host|unreachable",
     "the server cannot be reached from here. Check host, port and firewall"),
    (r"invalid (connection|URI query) (option|parameter)", "an option of the URL is unknown. Correct what follows its ?"),
)  # fmt: skip


def meaning(words: str, url: URL) -> str | None:
    """Return what a refused connection means and what to do; None for words that are not known."""
    for pattern, sentence in _WORDS:
        if re.search(pattern, words):
            return sentence.format(database=url.database or "DATABASE", user=url.username or "USER")
    return None


def lacking_rights(words: str, url: URL) -> str:
    """Return the server's own `words`, such as "permission denied for table trials", and what grants the right."""
    user = url.username or "USER"
    if "schema" in words:
        return f"{words}. As the database's owner: GRANT USAGE, CREATE ON SCHEMA public TO {user}"
    return f"{words}. As its owner: GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}, and the same ON ALL SEQUENCES"


FOREIGN = (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, KeyError)
"""What `explain` translates. A KeyError only where it is Optuna's way to say that a study or trial is gone."""

RESTORE = "Restore a backup (`optimize restore BACKUP --runs NEW`), or save what can be read: `sqlite3 FILE .recover`"

GONE = "Record does not exist."
"""How Optuna says in a KeyError that a study or a trial is not there."""

_LOCKED = {"40001", "40P01", "55P03"}  # PostgreSQL: serialization failure, deadlock, lock not available
_FULL = {"53100"}
_NO_ROOM = getattr(sqlite3, "SQLITE_IOERR_SHMSIZE", 4874)  # how a full disk shows when WAL is opened
# How file systems show that have no shared memory, or no locks: SQLITE_IOERR_SHMOPEN, _SHMLOCK, _SHMMAP, _LOCK, _RDLOCK.
_NO_WAL = {4618, 5130, 5386, 3850, 2314}
_NO_SUCH_DISK = "its disk refuses what a database needs, as many of a network do. Name a folder on a local one (--runs)"
# SQLAlchemy's and Python's words for a state, a time or a text that is none.
_DAMAGED = ("among the defined enum values", "Invalid isoformat string", "Could not decode to UTF-8")
_DENIED, _READ_ONLY = "42501", "25006"
_DRIVERS = ("sqlite3", "psycopg")


def is_harmless(error: BaseException) -> bool:
    """Return whether nothing was changed, so that trying again is safe: a lock is held, or no server answered."""
    if any(is_damage(each) for each in _chain(error)):  # which looks like a connection that never was
        return False
    return is_locked(error) or any(_never_connected(each) for each in _chain(error))


def is_locked(error: BaseException) -> bool:
    """Return whether another program is writing."""
    busy = any(_sqlite_code(each) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) for each in _chain(error))
    return busy or any(_sqlstate(each) in _LOCKED for each in _chain(error))


def is_disconnected(error: BaseException) -> bool:
    """Return whether the server went away; SQLAlchemy connects again on the next attempt."""
    return any(isinstance(each, sqlalchemy.exc.DBAPIError) and each.connection_invalidated for each in _chain(error))


def is_gone(error: BaseException) -> bool:
    """Return whether the study or the trial is no longer there."""
    return isinstance(error, KeyError) and error.args[:1] == (GONE,)


def is_damage(error: BaseException) -> bool:
    """Return whether a row holds what nobody ever wrote: damage inside a page, which no check of pages finds."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return True
    return isinstance(error, LookupError | ValueError | sqlite3.Error) and any(word in str(error) for word in _DAMAGED)


def stored_json(text: str, where: str) -> Any:
    """Return the value of JSON that is stored in the database `where`. Raises StorageError if it is damaged."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise StorageError(f"{where}: damaged. {RESTORE}") from error


def explain(address: Address, error: BaseException) -> StorageError:
    """Return one line about `error`, by its most telling cause."""
    codes = {_sqlite_code(each) for each in _chain(error)}
    states = {_sqlstate(each) for each in _chain(error)}
    extended = {getattr(each, "sqlite_errorcode", 0) for each in _chain(error)}
    where = address.shown
    if sqlite3.SQLITE_FULL in codes or _NO_ROOM in extended or states & _FULL:
        return StorageFullError(f"{where}: no space left. Free some and start again; what was finished is kept")
    if address.url is not None and (said := _by_server(address, address.url, error, states)):
        return StorageError(f"{where}: {said}")
    if codes & {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT} or any(is_damage(each) for each in _chain(error)):
        return StorageError(f"{where}: damaged. {RESTORE}")
    if codes & {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return StorageError(f"{where}: not writable. Change the permissions of the database and of its folder")
    if sqlite3.SQLITE_PROTOCOL in codes or extended & _NO_WAL:
        return StorageError(f"{where}: {_NO_SUCH_DISK}, and this one as --backup")
    if is_locked(error):
        return StorageError(
            f"{where}: locked by another program. Close what holds it open, then start again; if nothing does, {_NO_SUCH_DISK}"
        )
    if is_gone(error):
        return StorageError(f"{where}: this study or trial is gone. Was it deleted in the dashboard? Start it anew")
    return StorageError(f"{where}: {address.scrub(_innermost(error))}. Check that the database is there and yours")


def _by_server(address: Address, url: URL, error: BaseException, states: set[str | None]) -> str | None:
    """Return what only a server has to say; None for what any database may."""
    words = address.scrub(_innermost(error))
    if _DENIED in states:
        return lacking_rights(words, url)
    if _READ_ONLY in states:
        return "the server takes no changes. Name the primary instead of a standby"
    if is_disconnected(error):
        return "the connection was lost. Start the server, then start again; what was finished is kept"
    return meaning(words, url)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that led to it; a driver's own error stands in `orig`."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        orig = getattr(each, "orig", None)
        waiting += [orig if isinstance(orig, BaseException) else None, each.__cause__, each.__context__]


def _never_connected(error: BaseException) -> bool:
    # A failed connect belongs to no statement; a failed commit neither, but that one is known as a lost connection.
    if not isinstance(error, sqlalchemy.exc.OperationalError) or error.connection_invalidated or error.statement:
        return False
    return error.orig is not None and _sqlite_code(error.orig) is None and _sqlstate(error.orig) is None


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None  # the low byte: extended codes say more


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def _innermost(error: BaseException) -> str:
    drivers = [each for each in _chain(error) if type(each).__module__.split(".")[0] in _DRIVERS]
    lines = str(drivers[0] if drivers else error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
