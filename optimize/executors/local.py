"""Trials on this machine: one guardian process per slot, all of them watched by the driver's one thread.

It does not run scripts itself: a guardian can kill what a driver killed with -9 no longer can (`guardian.py`).
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from optimize.errors import ExecutorError
from optimize.executors.guardian_client import CLOSE_S, GuardianClient
from optimize.runner.workdir import folder_bytes, remove_folder
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus

KEPT_MB = 1_000.0  # of work folders of failed trials, the newest of them
ANSWER_S = 120.0  # for a guardian to start
FALSE_STARTS = 3  # one may have been killed by somebody who is short of memory; three are a broken installation
REST_S, MOST_REST_S = 300.0, 3600.0  # for a GPU that somebody else holds: doubled each time that it still is


class LocalExecutor:
    """An `Executor` over guardians. A slot whose GPU turns out to be held by somebody else rests for a while."""

    def __init__(self, slots: Sequence[Slot], work: Path, rest_s: float = REST_S) -> None:
        self.slots = tuple(slots)
        self._rest_s = rest_s
        self._work = work.absolute()
        self._guardians = [GuardianClient(slot) for slot in self.slots]
        self._events: deque[Progress | Ending] = deque()
        self._kept: dict[Path, float] = {}
        self._forgotten: deque[Path] = deque()

    def __enter__(self) -> LocalExecutor:
        self._selector = selectors.DefaultSelector()
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            for guardian in self._guardians:
                self._start(guardian)
        except OSError as error:
            self.__exit__(None, None, None)
            raise ExecutorError(f"{self._work}: no trial can be run here: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self._cancel_all()
        finally:
            for guardian in self._guardians:
                guardian.hang_up()
            for guardian in self._guardians:
                guardian.close(CLOSE_S)
            self._selector.close()
            while self._forgotten:
                remove_folder(self._forgotten.popleft())

    def _cancel_all(self) -> None:
        """In good order first, grace included; whoever does not heed it in time is killed by the hanging up."""
        busy = [guardian.job for guardian in self._guardians if guardian.job is not None]
        for job in busy:
            self.cancel(job.number, TrialStatus.CANCELLED, "the driver ended")
        deadline = time.monotonic() + max((job.limits.grace_s for job in busy), default=0.0) + 1.0
        while self.running and time.monotonic() < deadline:
            self.wait(0.1)

    @property
    def running(self) -> frozenset[int]:
        return frozenset(guardian.job.number for guardian in self._guardians if guardian.job is not None)

    @property
    def free(self) -> int:
        return len(self._takers())

    def submit(self, job: Job) -> Slot:
        # one that is to be alone goes where it will be soonest
        takers = sorted(self._takers(), key=lambda taker: job.alone and len(self._neighbours(taker)))
        if not takers:
            raise RuntimeError("no slot is free")
        guardian, folder = takers[0], self._folder(job.number)
        with contextlib.suppress(ValueError):
            self._forgotten.remove(folder)  # it is used again, and emptied for that
        guardian.take(job, folder)
        self._begin()
        return guardian.slot

    def _takers(self) -> list[GuardianClient]:
        now = time.monotonic()
        return [
            guardian
            for guardian in self._guardians
            if guardian.job is None
            and now >= guardian.rests_until
            and not any(neighbour.job.alone for neighbour in self._neighbours(guardian) if neighbour.job)
        ]

    def _neighbours(self, guardian: GuardianClient) -> list[GuardianClient]:
        """Those on the same GPU that have a trial."""
        if not guardian.slot.shared:
            return []
        same = (other for other in self._guardians if other.slot.env == guardian.slot.env)
        return [other for other in same if other is not guardian and other.job is not None]

    def _begin(self) -> None:
        """Send the trials that have a slot to their guardians, but for one that has to be alone and is not yet."""
        for guardian in self._guardians:
            if guardian.job is not None and guardian.waits and not (guardian.job.alone and self._neighbours(guardian)):
                guardian.begin()
                self._update(guardian)

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
                self._give_rest(event.outcome)
        self._begin()
        return events

    def _give_rest(self, outcome: Outcome) -> None:
        for guardian in (guardian for guardian in self._guardians if guardian.slot.name == outcome.slot):
            busy = outcome.status is TrialStatus.BUSY
            guardian.rest_s = min(2 * guardian.rest_s or self._rest_s, MOST_REST_S) if busy else 0.0
            guardian.rests_until = time.monotonic() + guardian.rest_s

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        for guardian in self._guardians:
            if guardian.job is None or guardian.job.number != number:
                continue
            if guardian.waits:
                self._events.append(guardian.give_up(status, reason))
            else:
                guardian.stop(number, status, reason)
                self._update(guardian)

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
        for guardian in self._guardians:
            if not guardian.was_ready and time.monotonic() - guardian.started > ANSWER_S:
                raise ExecutorError(
                    f"slot {guardian.slot.name}: its guardian does not answer. Is the machine overloaded?"
                )

    def _folder(self, number: int) -> Path:
        return self._work / str(number)

    def _start(self, guardian: GuardianClient) -> None:
        guardian.start()
        self._selector.register(guardian.reports, selectors.EVENT_READ, guardian)

    def _update(self, guardian: GuardianClient) -> None:
        """Watch the pipe to the guardian too as long as there is something to write."""
        watched = guardian.orders in self._selector.get_map()
        if guardian.outbox and not watched:
            self._selector.register(guardian.orders, selectors.EVENT_WRITE, guardian)
        elif not guardian.outbox and watched:
            self._selector.unregister(guardian.orders)

    def _serve(self, guardian: GuardianClient, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            guardian.flush()
            self._update(guardian)
            return
        self._events.extend(guardian.read())
        if guardian.is_dead:
            self._replace(guardian)

    def _replace(self, guardian: GuardianClient) -> None:
        """One that died takes its trial along, and the next one starts; several that never lived are an error."""
        guardian.outbox.clear()
        self._update(guardian)
        self._selector.unregister(guardian.reports)
        lost = guardian.bury()
        guardian.false_starts = 0 if guardian.was_ready else guardian.false_starts + 1
        if guardian.false_starts == FALSE_STARTS:
            raise ExecutorError(f"slot {guardian.slot.name}: its guardian does not start: {guardian.last_words()}")
        if lost is not None:
            self._events.append(lost)
        self._start(guardian)
