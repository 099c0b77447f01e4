"""The errors of this package; each is one line for the user, *where: what. what to do*.

    StorageError(RuntimeError)      unreadable, unwritable, not a database, out of reach
    |- StorageFullError             no space left; what was finished is kept
    |- LeaseHeldError               another driver of this study is alive: who, and since when
    `- DatabaseLostError            the database that was opened is not there any more, or not what it was
       `- LeaseLostError            nor is the study: another driver has it, it was deleted, or an older copy put back

Errors of SQLAlchemy, SQLite and Optuna become these in `driver_errors.py`; no message holds a password.
"""

from __future__ import annotations

from datetime import UTC, datetime

from storage.text import one_line


class StorageError(RuntimeError):
    """A problem of the database or the folders that the user has to know, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, limit=600))


class StorageFullError(StorageError):
    """The disk or the quota is full."""


class LeaseHeldError(StorageError):
    """Another driver holds the study: who, since when (seconds since 1970), and how long ago it was last seen (seconds)."""

    def __init__(self, where: str, *, who: str, since: float, age: float) -> None:
        started = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        super().__init__(f"{where}: another driver is at work: {who}, since {started}, last seen {age:.0f} s ago")


class DatabaseLostError(StorageError):
    """The database is not what was opened; who drives a study in it must end without writing."""


class LeaseLostError(DatabaseLostError):
    """The study is not this driver's any more; it must end without writing."""
