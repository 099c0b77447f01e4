"""Runs a piece of work on the database as one transaction, again while a lock is held or a server is away.

All of the work becomes durable at once or not at all, and once even where the answer to a commit was lost. How long it
is tried again, and whom that is told, is a policy of each open database. It knows no tables.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy
from sqlalchemy import event

from storage.driver_errors import FOREIGN, explain, is_damage, is_disconnected, is_gone, is_harmless
from storage.errors import StorageError
from storage.url import Address

_SAID_AFTER_S = 2.0  # a shorter wait is not worth a line


@dataclass(slots=True)
class RetryPolicy:
    """How long a wait may last, for one open database.

    `say` gets a line when a wait begins to matter and one when it is over; `go_on` returns False to end it.
    """

    seconds: float
    say: Callable[[str], None] = field(default=lambda line: None)
    go_on: Callable[[], bool] = field(default=lambda: True)

    def begin(self, what: str) -> Retry:
        """Begin a wait for what messages call `what`."""
        return Retry(self, what)


@dataclass(slots=True)
class Retry:
    """One wait, which may turn out not to be needed."""

    _policy: RetryPolicy
    _what: str
    _began: float = field(default_factory=time.monotonic)
    _pause_s: float = 0.05
    _failed: float = 0.0  # when it first failed; 0: not yet
    _said: bool = False

    def goes_on(self, why: Exception) -> bool:
        """Pause; False if the time is over or the policy ends the wait."""
        now = time.monotonic()
        self._failed = self._failed or now
        if now + self._pause_s > self._began + self._policy.seconds or not self._policy.go_on():
            return False
        if not self._said and now + self._pause_s - self._failed >= _SAID_AFTER_S:
            self._said = True
            self._policy.say(f"{why} (it is tried again for {_duration(self._policy.seconds)}, nothing is lost)")
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, 1.0)
        return True

    def over(self) -> None:
        """Say that the wait is over, if anything was said about it."""
        if self._said:
            self._policy.say(f"{self._what}: there again after {time.monotonic() - self._failed:.0f} s")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


T = TypeVar("T")

RETRY_S = 60.0  # how long a lock is waited for; SQLite itself waits a part of it in each attempt
SERVER_RETRY_S = 600.0  # and a server that is restarted, or moved: trials go on meanwhile
_KIND = "optimize_transaction"  # an execution option: "read", "snapshot", "write" or "light"
READING = ("read", "snapshot")
# Of one transaction, not of the session, which a pooler may share: nobody waits for ever for a machine that has vanished.
_SERVER_LIMITS = sqlalchemy.text(
    "SELECT set_config('lock_timeout', '30s', true), set_config('idle_in_transaction_session_timeout', '60s', true),"
    " set_config('synchronous_commit', CASE WHEN :light THEN 'off' ELSE current_setting('synchronous_commit') END, true)"
)
_SERVER_SNAPSHOT = sqlalchemy.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


class Transactions:
    """The transactions of one database; threads do not share one. `retry` says how long, and to whom, it waits.

    `check` raises a StorageError if the database is not what was opened: nothing is read or written then. It gets False
    where a lock is held, so that it takes no time there.
    """

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        address: Address,
        retry: RetryPolicy,
        check: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._engine, self._address, self.retry = engine, address, retry
        self._check = check
        self._open = threading.local()
        self._begin_server = engine.name != "sqlite"
        if engine.name == "sqlite":
            event.listen(engine, "begin", functools.partial(_begin_sqlite, _light_sync(engine)))

    def check(self) -> None:
        """Raise StorageError if the database is not what was opened."""
        self._check(True)

    @contextlib.contextmanager
    def one(self, kind: str = "write") -> Iterator[sqlalchemy.Connection]:
        """Open a transaction; inside another one it is a part of that.

        A "light" one is faster: it survives a killed process like any other, but may be lost with the power (or the
        server). All that a "snapshot" reads is of one moment, on a server too; it must not write.
        """
        if self._current is not None:
            yield self._current
            return
        self.check()
        with self._engine.connect() as connection, connection.execution_options(**{_KIND: kind}).begin():
            if self._begin_server and kind not in READING:
                connection.execute(_SERVER_LIMITS, {"light": kind == "light"})
            if self._begin_server and kind == "snapshot":
                connection.execute(_SERVER_SNAPSHOT)
            self._open.connection = connection
            try:
                yield connection
                self._check(False)  # before the commit
            finally:
                self._open.connection = None

    @contextlib.contextmanager
    def block(self) -> Iterator[sqlalchemy.Connection]:
        """Open a transaction for code that cannot be repeated: its lock is waited for before, and all errors are
        StorageErrors.
        """
        try:
            with contextlib.ExitStack() as stack:
                yield self.run(lambda: stack.enter_context(self.one()))
        except FOREIGN as error:
            if isinstance(error, KeyError) and not is_gone(error):
                raise
            raise explain(self._address, error) from error

    def write(
        self,
        work: Callable[[sqlalchemy.Connection], T],
        kind: str = "write",
        *,
        stands: Callable[[sqlalchemy.Connection, T], bool] | None = None,
    ) -> T:
        """Run `work` in one transaction, again from its beginning where the connection was lost.

        A commit whose answer was lost may have happened: `stands` says whether its result is in the database. Without
        `stands`, work that is done twice must have the same effect as once.
        """
        unanswered: list[T] = []

        def attempt() -> T:
            with self.one(kind) as connection:
                if unanswered and stands is not None and stands(connection, unanswered[0]):
                    return unanswered[0]
                unanswered.clear()
                result = work(connection)
                unanswered.append(result)
                return result

        return self.run(attempt)

    def run(self, work: Callable[[], T]) -> T:
        """Call `work()`, again while it only had to wait for a lock or a server. Raises StorageError for every other
        failure.

        Inside a transaction nothing is repeated: whoever began it repeats all of it.
        """
        wait = self.retry.begin(self._address.shown)
        while True:
            try:
                result = work()
                wait.over()
                return result
            except (StorageError, *FOREIGN) as error:
                foreign = error.__cause__ if isinstance(error, StorageError) else error
                if not isinstance(foreign, FOREIGN) or (isinstance(foreign, KeyError) and not is_gone(foreign)):
                    raise
                passing = is_harmless(foreign) or is_disconnected(foreign)
                explained = explain(self._address, foreign)
                if self._current is not None or not passing or not wait.goes_on(explained):
                    raise explained from foreign
            except (LookupError, ValueError) as error:
                if not is_damage(error):
                    raise
                raise explain(self._address, error) from error

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
    if kind not in READING:
        connection.exec_driver_sql(f"PRAGMA synchronous = {light if kind == 'light' else 'FULL'}")
    connection.exec_driver_sql("BEGIN" if kind in READING else "BEGIN IMMEDIATE")
