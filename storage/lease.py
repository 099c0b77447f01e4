"""Lets one driver work on a study: by an flock on one machine, by a renewed row in the database everywhere.

The driver's loop calls `renew()`; no thread does. A lease that was not renewed for 60 s is dead whatever host it names,
since preempted machines come back under other names. It is dead at once when its process on this machine has ended. A
driver that was asleep, or without its server, may come back too late: its next `renew()` or `write()` tells it so, and
it has changed nothing. So it is where the study was deleted, whose id another one may have, or an older copy put back,
however young: in a file each `write()` leaves a time of its own.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.schema import CreateTable

from storage.database import Database
from storage.errors import DatabaseLostError, LeaseHeldError, LeaseLostError, StorageError
from storage.locks import FileLock, Holder, this_process
from storage.sql import LEASE_ATTR, LEASES, STUDY_ATTRS, put_attrs

RENEW_EVERY_S = 10.0
DEAD_AFTER_S = 60.0

T = TypeVar("T")
Clock = Callable[[], float]


@dataclass(slots=True)
class Lease:
    """The right to drive one study; `taken_from` is the dead driver that had it, if any."""

    study_id: int
    holder: Holder
    taken_from: Holder | None
    _database: Database = field(repr=False)
    _token: str = field(repr=False)
    _clock: Clock | None = field(repr=False)
    _lock: FileLock | None = field(repr=False)
    _renewed: float = field(repr=False)  # by a clock that only goes forward
    _renewed_at: float = field(repr=False)  # by everybody's clock, as it is in the database

    def renew(self) -> None:
        """Give a sign of life, written every 10 s however often this is called.

        Raises LeaseLostError if the study is another driver's now, DatabaseLostError if its file is not what was opened.
        """
        self._database.check()
        if 0 <= self._tick() - self._renewed < RENEW_EVERY_S:
            return
        now = self._now()

        def sign(connection: sqlalchemy.Connection) -> None:
            self._hold()
            self._put(now)

        self._database.write(sign, kind="light", ours=True)
        self._renewed, self._renewed_at = self._tick(), now

    def write(self, work: Callable[[], T], stands: Callable[[T], bool], kind: str = "write") -> T:
        """Call `Database.together` as the study's only driver.

        In a file each call is a sign of life as well: a copy that somebody made before it and put back lacks it.
        Raises LeaseLostError, and changes nothing, if the study is not this driver's any more.
        """
        signed: list[float] = []

        def guarded() -> T:
            self._hold()
            result = work()
            signed[:] = self._sign() if self._database.path is not None else []
            return result

        def held(result: T) -> bool:
            self._hold()  # first: it waits for a commit that seemed lost and is still on its way
            return stands(result)

        result = self._database.together(guarded, held, kind)
        if signed:
            self._renewed, self._renewed_at = self._tick(), signed[0]
        return result

    def is_held(self) -> bool:
        """Return whether the study is there and no other driver has taken it over. Only `write` keeps it so."""
        try:
            return self._is_mine(*self._database.rows(_seen(self.study_id)))
        except DatabaseLostError:
            return False

    def check_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Raise LeaseLostError if these attributes of the study, just read, are not those of the study that was opened."""
        if not self._database.read_only and attrs.get(LEASE_ATTR) != self._token:
            raise self._lost(*self._database.rows(_seen(self.study_id)))

    def release(self) -> None:
        """Let the next driver in at once; a lease that was lost stays with its new holder."""
        mine = (LEASES.c.study_id == self.study_id) & (LEASES.c.token == self._token)
        attr = (STUDY_ATTRS.c.study_id == self.study_id) & (STUDY_ATTRS.c.key == LEASE_ATTR)
        attr &= STUDY_ATTRS.c.value_json == json.dumps(self._token)

        def give_back(connection: sqlalchemy.Connection) -> None:
            connection.execute(LEASES.delete().where(mine))
            if not self._database.read_only:
                connection.execute(STUDY_ATTRS.delete().where(attr))

        try:
            self._database.write(give_back, ours=True)
        finally:
            if self._lock is not None:
                self._lock.release()

    def _sign(self) -> list[float]:
        """Write a time that the row never had, also where a clock stands still."""
        now = self._now()
        now = math.nextafter(now, math.inf) if now == self._renewed_at else now
        self._put(now)
        return [now]

    def _put(self, now: float) -> None:
        update = LEASES.update().where(LEASES.c.study_id == self.study_id).values(renewed_at=now)
        self._database.write(lambda connection: connection.execute(update), ours=True)

    def _hold(self) -> None:
        """Keep everybody else from taking the study until the end of the present transaction."""
        query = _seen(self.study_id).with_for_update()
        rows = self._database.write(lambda connection: connection.execute(query).all(), ours=True)
        if not self._is_mine(*rows):
            raise self._lost(*rows)

    def _is_mine(self, row: Sequence[Any] = ()) -> bool:
        """Whether this is the lease that was written last, and its study the one that was opened."""
        if not row:
            return False
        token, renewed_at, word = row
        # A server that lost its power may have lost the last renewal; a file that lacks it is an older copy.
        newest = self._database.path is None or renewed_at == self._renewed_at
        same_study = self._database.read_only or word == json.dumps(self._token)
        return bool(token == self._token and newest and same_study)

    def _lost(self, row: Sequence[Any] = ()) -> LeaseLostError:
        silent = max(self._now() - self._renewed_at, self._tick() - self._renewed) > DEAD_AFTER_S
        token, renewed_at = row[:2] if row else ("", self._now() if silent else 0.0)
        # An older copy may be from the future, if the clock was set back; whoever gave signs of life was not followed.
        if token != self._token and (renewed_at == self._renewed_at or (silent and renewed_at > self._renewed_at)):
            why = (
                f"another driver took this study over, because this one was silent for more than {DEAD_AFTER_S:.0f} s. "
                "Nothing is lost: leave the study to it"
            )
        elif row and renewed_at == self._renewed_at:
            why = (
                f"this study was deleted while it was driven, and another may have its id ({self.study_id}) now. Nothing was "
                "written into that. If nobody meant to delete it, restore a backup (`optimize restore BACKUP --runs NEW`)"
            )
        else:
            why = (
                "this study was deleted while it was driven, or an older copy of the database was put in its place. Nothing "
                "was written into that. Put the right database back, or a backup (`optimize restore BACKUP --runs NEW`), and "
                "start again"
            )
        return LeaseLostError(f"{self._database.where}: {why}")

    def _now(self) -> float:
        return self._clock() if self._clock else self._database.now()

    def _tick(self) -> float:
        return self._clock() if self._clock else time.monotonic()


@dataclass(frozen=True, slots=True)
class _Row:
    token: str
    renewed_at: float
    holder: Holder


def acquire(database: Database, study_id: int, *, lock: Path | None = None, clock: Clock | None = None) -> Lease:
    """Return the lease of a study, taken over from a dead driver if need be.

    `lock` is the study's lock file. Without a `clock` (seconds) the database's own time decides. Raises LeaseHeldError,
    which names the driver, if one is alive.
    """
    held = None if lock is None else FileLock.acquire(lock)
    try:
        lease = _acquire(database, study_id, clock)
    except BaseException:
        if held is not None:
            held.release()
        raise
    lease._lock = held
    return lease


def holder_of(database: Database, study_id: int, clock: Clock | None = None) -> Holder | None:
    """Return who drives a study now; None if nobody alive does."""
    row = database.write(lambda connection: _read(connection, study_id), kind="read") if _has_table(database) else None
    now = clock() if clock else database.now()
    return None if row is None or _is_dead(row, now) else row.holder


def _acquire(database: Database, study_id: int, clock: Clock | None) -> Lease:
    _make_table(database)
    now = clock() if clock else database.now()
    holder, token = this_process(now), secrets.token_hex(16)

    def take(connection: sqlalchemy.Connection) -> _Row | None:
        row = _read(connection, study_id)
        while row is None or _is_dead(row, now):
            if _write(connection, study_id, _Row(token, now, holder), row):
                if not database.read_only:
                    put_attrs(connection, STUDY_ATTRS, study_id, {LEASE_ATTR: token})
                return row
            row = _read(connection, study_id)  # somebody was faster
        raise _held_error(database.where, row, now)

    def taken(connection: sqlalchemy.Connection, before: _Row | None) -> bool:
        row = _read(connection, study_id)
        return row is not None and row.token == token

    row = database.write(take, stands=taken, ours=True)
    renewed = clock() if clock else time.monotonic()
    return Lease(study_id, holder, row.holder if row else None, database, token, clock, None, renewed, now)


def _held_error(where: str, row: _Row, now: float) -> LeaseHeldError:
    return LeaseHeldError(where, who=str(row.holder), since=row.holder.since, age=now - row.renewed_at)


def _is_dead(row: _Row, now: float) -> bool:
    # A lease from the future was written before the clock was set back, or by a wrong clock: its age says nothing.
    too_old = not -DEAD_AFTER_S <= now - row.renewed_at <= DEAD_AFTER_S
    return too_old or row.holder.alive() is False


def _has_table(database: Database) -> bool:
    return database.write(lambda connection: sqlalchemy.inspect(connection).has_table(LEASES.name), kind="read")


def _make_table(database: Database) -> None:
    if _has_table(database):
        return
    try:
        database.write(lambda connection: connection.execute(CreateTable(LEASES, if_not_exists=True)), ours=True)
    except StorageError:
        if not _has_table(database):  # PostgreSQL's IF NOT EXISTS fails for one of two that try at once
            raise


def _read(connection: sqlalchemy.Connection, study_id: int) -> _Row | None:
    found = connection.execute(LEASES.select().where(LEASES.c.study_id == study_id)).one_or_none()
    if found is None:
        return None
    return _Row(found.token, found.renewed_at, Holder(found.host, found.pid, found.start, found.place, found.since))


def _seen(study_id: int) -> sqlalchemy.Select[Any]:
    """The lease as everybody sees it, and the word in the study that it is for: token, time (s since 1970), word in JSON."""
    word = sqlalchemy.select(STUDY_ATTRS.c.value_json)
    word = word.where(STUDY_ATTRS.c.study_id == study_id, STUDY_ATTRS.c.key == LEASE_ATTR)
    query = sqlalchemy.select(LEASES.c.token, LEASES.c.renewed_at, word.scalar_subquery())
    return query.where(LEASES.c.study_id == study_id)


def _write(connection: sqlalchemy.Connection, study_id: int, new: _Row, old: _Row | None) -> bool:
    """Put `new` where `old` was seen; False if somebody was faster."""
    values = {**asdict(new.holder), "token": new.token, "renewed_at": new.renewed_at}
    if old is None:
        return _insert(connection, {"study_id": study_id, **values})
    seen = (LEASES.c.study_id == study_id) & (LEASES.c.token == old.token) & (LEASES.c.renewed_at == old.renewed_at)
    return connection.execute(LEASES.update().where(seen).values(**values)).rowcount == 1


def _insert(connection: sqlalchemy.Connection, values: dict[str, Any]) -> bool:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    statement = f"INSERT INTO {LEASES.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return connection.execute(sqlalchemy.text(statement), values).rowcount == 1
