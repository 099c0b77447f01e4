"""Runs trials on this machine: one guardian process for each slot, all of them watched by the driver's one thread.

It starts no script itself: a guardian outlives a driver that is killed with -9, and ends its script then (`guardian.py`).
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from optimize.errors import ExecutorError
from optimize.executors.guardian_client import GuardianClient
from optimize.executors.rests import REST_S, Rests
from optimize.runner.workdir import folder_bytes, remove_folder
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus

KEPT_MB = 1_000.0  # of work folders of failed trials, the newest of them
ANSWER_S = 120.0  # for a guardian to start
FALSE_STARTS = 3  # one may have been killed for want of memory; three are a broken installation


class LocalSlot:
    """One slot of this machine: its guardian, started here, and the trial that it has."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.guardian = GuardianClient()
        self.job: Job | None = None
        self.waits = False  # has the job not begun?
        self.false_starts = 0  # of the guardian, in a row

    def reserve(self, job: Job, folder: Path) -> None:
        """Reserve the slot for this job."""
        self.job, self._folder, self.waits = job, folder, True

    def begin(self) -> None:
        """Send the job to the guardian."""
        assert self.job is not None
        self.waits = False
        self.guardian.run(self.job, self._folder, self.slot)

    def give_up(self, status: TrialStatus, reason: str) -> Ending:
        """Free the slot of a job that has not begun. Return its end."""
        return self._ending(Outcome(status, 0.0, reason, slot=self.slot.name, device=self.slot.device))

    def read(self) -> Iterator[Progress | Ending]:
        """Yield what the guardian has reported."""
        for event in self.guardian.read_events():
            if isinstance(event, Progress):
                yield event
            elif self.job is not None:
                yield self._ending(event)

    def recover_outcome(self) -> Ending | None:
        """End what a dead guardian has left. Return its job's end, None if it had none that had begun."""
        if self.job is None or self.waits:
            self.guardian.reap()
            return None
        return self._ending(self.guardian.recover_outcome())

    def _ending(self, outcome: Outcome) -> Ending:
        assert self.job is not None
        ending = Ending(self.job, outcome)
        self.job, self.waits = None, False
        return ending


class LocalExecutor:
    """An `Executor` over guardians. A slot whose GPU somebody else holds, or that fails, gets no trial for a while."""

    def __init__(self, slots: Sequence[Slot], work: Path, beside: Path | None = None, rest_s: float = REST_S) -> None:
        """Take the slots, where the folders of jobs lie, and where those of another study's, which are numbered below 0."""
        self.slots = tuple(slots)
        self.rests = Rests(rest_s)
        self._work, self._beside = work.absolute(), beside.absolute() if beside is not None else None
        self._places: list[LocalSlot] = []
        self._events: deque[Progress | Ending] = deque()
        self._kept: dict[Path, float] = {}
        self._forgotten: deque[Path] = deque()

    def __enter__(self) -> LocalExecutor:
        self._selector = selectors.DefaultSelector()
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            for slot in self.slots:
                self._places.append(LocalSlot(slot))
                self._watch(self._places[-1])
        except OSError as error:
            self.__exit__(None, None, None)
            raise ExecutorError(
                f"{self._work}: no trial can be run here: {error.strerror or error}. Choose another folder with --runs"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self._cancel_all()
        finally:
            for place in self._places:
                place.guardian.hang_up()
            for place in self._places:
                place.guardian.close()
            self._places.clear()
            self._selector.close()
            while self._forgotten:
                remove_folder(self._forgotten.popleft())

    def _cancel_all(self) -> None:
        """Cancel what runs, grace included. Closing the guardians kills what does not end in time."""
        busy = [place.job for place in self._places if place.job is not None]
        for job in busy:
            self.cancel(job.number, TrialStatus.CANCELLED, "the driver ended")
        deadline = time.monotonic() + max((job.limits.grace_s for job in busy), default=0.0) + 1.0
        while self.running and time.monotonic() < deadline:
            self.wait(0.1)

    @property
    def running(self) -> frozenset[int]:
        return frozenset(place.job.number for place in self._places if place.job is not None)

    @property
    def free(self) -> int:
        return len(self._available())

    def submit(self, job: Job) -> Slot:
        # one that has to be alone goes where it will be soonest
        places = sorted(self._available(), key=lambda place: job.alone and len(self._neighbours(place)))
        if not places:
            raise RuntimeError("no slot is free")
        place, folder = places[0], self._folder(job.number)
        with contextlib.suppress(ValueError):
            self._forgotten.remove(folder)  # it is used again, and emptied for that
        place.reserve(job, folder)
        self._begin()
        return place.slot

    def _available(self) -> list[LocalSlot]:
        return [
            place
            for place in self._places
            if place.job is None
            and self.rests.is_over(place.slot)
            and not any(neighbour.job.alone for neighbour in self._neighbours(place) if neighbour.job)
        ]

    def _neighbours(self, place: LocalSlot) -> list[LocalSlot]:
        """Return the other slots on the same GPU that have a trial."""
        if not place.slot.shared:
            return []
        same = (other for other in self._places if other.slot.env == place.slot.env)
        return [other for other in same if other is not place and other.job is not None]

    def _begin(self) -> None:
        """Send jobs to their guardians, but for one that has to be alone and is not yet."""
        for place in self._places:
            if place.job is not None and place.waits and not (place.job.alone and self._neighbours(place)):
                place.begin()
                self._update(place)

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        deadline = time.monotonic() + timeout_s
        while not self._events:
            ready = self._selector.select(0.0 if self._forgotten else max(deadline - time.monotonic(), 0.0))
            for key, mask in ready:
                self._serve(key.data, mask)
            if not ready and self._forgotten:
                remove_folder(self._forgotten.popleft())  # while the next trial runs: unlinking takes milliseconds
            elif not ready and time.monotonic() >= deadline:
                self._check_answers()
                break
        events = list(self._events)
        self._events.clear()
        for event in events:
            if isinstance(event, Ending):
                self.rests.ended(event.outcome)
        self._begin()
        return events

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        for place in self._places:
            if place.job is None or place.job.number != number:
                continue
            if place.waits:
                self._events.append(place.give_up(status, reason))
            else:
                place.guardian.stop(number, status, reason)
                self._update(place)

    def forget(self, number: int, keep: bool = False) -> None:
        folder = self._folder(number)
        if not keep:
            self._forgotten.append(folder)
            return
        self._kept[folder] = folder_bytes(folder) / 1e6
        while sum(self._kept.values()) > KEPT_MB:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._forgotten.append(oldest)

    def _check_answers(self) -> None:
        for place in self._places:
            if not place.guardian.was_ready and time.monotonic() - place.guardian.started > ANSWER_S:
                raise ExecutorError(f"slot {place.slot.name}: its guardian does not answer. Is the machine overloaded?")

    def _folder(self, number: int) -> Path:
        if number < 0 and self._beside is not None:
            return self._beside / str(~number)
        return self._work / str(number)

    def _watch(self, place: LocalSlot) -> None:
        self._selector.register(place.guardian.reports, selectors.EVENT_READ, place)

    def _update(self, place: LocalSlot) -> None:
        """Watch the pipe to the guardian while there is something to write."""
        watched = place.guardian.orders in self._selector.get_map()
        if place.guardian.outbox and not watched:
            self._selector.register(place.guardian.orders, selectors.EVENT_WRITE, place)
        elif not place.guardian.outbox and watched:
            self._selector.unregister(place.guardian.orders)

    def _serve(self, place: LocalSlot, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            place.guardian.flush()
            self._update(place)
            return
        self._events.extend(place.read())
        if place.guardian.is_dead:
            self._replace(place)

    def _replace(self, place: LocalSlot) -> None:
        """Start another guardian in place of one that died. Raises ExecutorError after several that never started."""
        place.guardian.outbox.clear()
        self._update(place)
        self._selector.unregister(place.guardian.reports)
        lost = place.recover_outcome()
        place.false_starts = 0 if place.guardian.was_ready else place.false_starts + 1
        if place.false_starts == FALSE_STARTS:
            raise ExecutorError(f"slot {place.slot.name}: its guardian does not start: {place.guardian.last_error()}")
        if lost is not None:
            self._events.append(lost)
        place.guardian.close()
        place.guardian = GuardianClient()
        self._watch(place)
