"""The errors of this package; each is one line for the user, *where: what. what to do*.

    StorageError(RuntimeError)      unreadable, unwritable, not a database, out of reach
    |- StorageFullError             no space left; what was finished is kept
    |- LeaseHeldError               another driver of this study is alive: who, and since when
    `- LeaseLostError               another driver took this study over while we were silent

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
        self.since, self.age = since, age
        started = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        super().__init__(
            f"{where}: another driver is at work: {who}, since {started}, last seen {age:.0f} s ago. "
            "Stop it (`optimize stop`), or choose another study"
        )


class LeaseLostError(StorageError):
    """Another driver has taken the study over; this one must end without writing."""
