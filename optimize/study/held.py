"""A study whose lease this process has, and how others ask it to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from shlex import quote
from typing import Any

from optimize.errors import StudyBusyError
from storage import (
    DEAD_AFTER_S,
    Database,
    Holder,
    Lease,
    LeaseHeldError,
    StorageError,
    StudyPaths,
    acquire,
    holder_of,
    parent_of,
)

STOP = "stop"  # study attribute
BESIDE = "beside"  # of a study of replicates: the driver whose search they are trained beside


@dataclass(frozen=True, slots=True)
class HeldStudy:
    """A study in the database whose lease this process has: nobody else may write to it."""

    database: Database
    study_id: int
    name: str
    lease: Lease

    def stop_request(self) -> str:
        """Return how somebody has asked this driver to stop, "" if nobody has: see `request_stop`. Raises LeaseLostError."""
        attrs = self.database.study_attrs(self.study_id)
        self.lease.check_attrs(attrs)
        asked = attrs.get(STOP, {})
        return str(asked.get("how", "")) if asked.get("holder") == self.lease.holder.to_text() else ""

    def mark_beside(self) -> None:
        """Note that this study of replicates is driven beside the search of its parent, not by `optimize confirm`."""
        self.write_attrs({BESIDE: self.lease.holder.to_text()})

    def write_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Set attributes of the study. Raises LeaseLostError if another driver has taken it over."""

        def put() -> None:
            for name, value in attrs.items():
                self.database.set_study_attr(self.study_id, name, value)

        kept = self.database.study_attrs
        self.lease.write(put, stands=lambda _: attrs.items() <= kept(self.study_id).items())


def is_confirmed_alone(database: Database, study_id: int) -> bool:
    """Tell whether `optimize confirm` drives this study of replicates now."""
    holder = holder_of(database, study_id)
    return holder is not None and database.study_attrs(study_id).get(BESIDE) != holder.to_text()


@contextmanager
def hold_study(
    database: Database, study_id: int, paths: StudyPaths, say: Callable[[str], None] = lambda line: None
) -> Iterator[HeldStudy]:
    """Hold the study's lease. Raises StudyBusyError while another driver is alive."""
    paths.create()
    try:
        lease = acquire(database, study_id, lock=paths.lock)
    except LeaseHeldError as error:
        raise StudyBusyError(busy_line(paths.study, error)) from None
    try:
        if dead := lease.taken_from:
            say(f"study {paths.study}: taken over from {dead}, which {_fate(dead)}")
        yield HeldStudy(database, study_id, paths.study, lease)
    finally:
        with suppress(StorageError):  # a full disk: a lease whose process has ended is dead anyway
            lease.release()


def _fate(holder: Holder) -> str:
    """Return what has become of a driver whose lease was taken over. A laptop that sleeps gives no sign of life either."""
    if holder.alive() is False:
        return "has died"
    return f"was silent for more than {DEAD_AFTER_S:.0f} s; if it only slept, it stops when it wakes"


def busy_line(study: str, error: LeaseHeldError) -> str:
    """Return who drives a study, and how to stop that."""
    name = quote(parent_of(study) or study)
    return f"study {study}: {error}. Stop it: `optimize stop --study {name}`, or choose another study"


def request_stop(database: Database, study_id: int, holder: Holder, how: str) -> None:
    """Ask the driver that holds the study, and no later one, to stop: `how` is "now" or "after"."""
    database.set_study_attr(study_id, STOP, {"holder": holder.to_text(), "how": how})
