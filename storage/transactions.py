"""Runs a piece of work on the database as one transaction, again while another program holds the lock.

All of the work becomes durable at once or not at all. It knows no tables.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy
from sqlalchemy import event

from storage.address import Address
from storage.failures import FOREIGN, explain, is_disconnected, is_gone, is_harmless

T = TypeVar("T")

PATIENCE_S = 60.0  # how long a lock or a lost server is waited for; SQLite itself waits a part of it in each attempt
_KIND = "optimize_transaction"  # an execution option: "read", "write" or "light"


class Transactions:
    """Of one database; threads do not share a transaction."""

    def __init__(self, engine: sqlalchemy.Engine, address: Address, patience_s: float = PATIENCE_S) -> None:
        self._engine, self._address, self._patience_s = engine, address, patience_s
        self._open = threading.local()
        if engine.name == "sqlite":
            event.listen(engine, "begin", functools.partial(_begin_sqlite, _light_sync(engine)))

    @contextlib.contextmanager
    def one(self, kind: str = "write") -> Iterator[sqlalchemy.Connection]:
        """A transaction; inside another one it is a part of that.

        A "light" one survives a killed process like any other, but may be lost with the power, for the sake of speed.
        """
        if self._current is not None:
            yield self._current
            return
        with self._engine.connect() as connection, connection.execution_options(**{_KIND: kind}).begin():
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    @contextlib.contextmanager
    def block(self) -> Iterator[sqlalchemy.Connection]:
        """`one` for code that cannot be repeated: its lock is waited for before, and all errors are ours."""
        try:
            with contextlib.ExitStack() as stack:
                yield self.run(lambda: stack.enter_context(self.one()))
        except FOREIGN as error:
            if isinstance(error, KeyError) and not is_gone(error):
                raise
            raise explain(self._address, error) from error

    def run(self, work: Callable[[], T], *, repeatable: bool = True) -> T:
        """`work()`, again while it only had to wait; errors come out as StorageError.

        What is not `repeatable` (it would be done twice) is not tried again after a lost connection, which may have
        been lost after the commit; a lock is always safe to retry. Inside a transaction nothing is repeated: the whole
        of it would have to be.
        """
        give_up, pause_s = time.monotonic() + self._patience_s, 0.05
        while True:
            try:
                return work()
            except FOREIGN as error:
                if isinstance(error, KeyError) and not is_gone(error):
                    raise
                passing = is_harmless(error) or (repeatable and is_disconnected(error))
                if self._current is not None or not passing or time.monotonic() + pause_s > give_up:
                    raise explain(self._address, error) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    @property
    def _current(self) -> sqlalchemy.Connection | None:
        connection: sqlalchemy.Connection | None = getattr(self._open, "connection", None)
        return connection


def _light_sync(engine: sqlalchemy.Engine) -> str:
    with engine.connect() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    return "NORMAL" if journal == "wal" else "FULL"  # without WAL, less could damage the file


def _begin_sqlite(light: str, connection: sqlalchemy.Connection) -> None:
    # Python's sqlite3 would begin late and without a lock: a transaction that reads first and writes then fails at once
    # ("database is locked", no waiting) when another program wrote in between. IMMEDIATE waits for its turn instead.
    kind = connection.get_execution_options().get(_KIND, "read")
    if kind != "read":
        connection.exec_driver_sql(f"PRAGMA synchronous = {light if kind == 'light' else 'FULL'}")
    connection.exec_driver_sql("BEGIN" if kind == "read" else "BEGIN IMMEDIATE")
