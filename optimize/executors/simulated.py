"""Simulates trials in the driver's own thread, on a clock of its own: for tests and benchmarks, the only fake here.

`run` returns how each job ends. Its `seconds` and `curve` are played back in the order in which they would have happened
in so many slots, without waiting. It starts no process and measures no time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

from optimize.executors.rests import Rests
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus


@dataclass(slots=True)
class _SimulatedTrial:
    """A trial that was submitted, and what has been played back of it."""

    job: Job
    slot: Slot
    started_s: float
    outcome: Outcome | None = None  # from its first turn on
    played: int = 0  # points of its curve
    cancelled: Outcome | None = None


class SimulatedExecutor:
    """An `Executor` whose trials take no time. `run` is called at a job's first turn, so it can be cancelled before."""

    def __init__(self, run: Callable[[Job], Outcome], slots: int = 1) -> None:
        self.slots = tuple(Slot(f"simulated:{i}") for i in range(slots))
        self.now_s = 0.0
        self.rests = Rests(0.0)
        self._run = run
        self._trials: dict[int, _SimulatedTrial] = {}
        self._free = [*reversed(self.slots)]
        self._queue: list[tuple[float, int]] = []  # when something happens next, and to which trial

    def __enter__(self) -> SimulatedExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._trials.clear()
        self._queue.clear()

    @property
    def running(self) -> frozenset[int]:
        return frozenset(self._trials)

    @property
    def free(self) -> int:
        return len(self.slots) - len(self._trials)

    def submit(self, job: Job) -> Slot:
        if not self._free:
            raise RuntimeError("no slot is free")
        slot = self._free.pop()
        self._trials[job.number] = _SimulatedTrial(job, slot, self.now_s)
        heapq.heappush(self._queue, (self.now_s, job.number))
        return slot

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        while self._queue:
            at_s, number = heapq.heappop(self._queue)
            trial = self._trials.get(number)
            if trial is None:
                continue  # cancelled, and ended since
            self.now_s = max(self.now_s, at_s)
            event = self._next_event(trial)
            if event is not None:
                return [event]
        return []

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        trial = self._trials.get(number)
        if trial is None or trial.cancelled is not None:
            return
        if trial.outcome is None:
            trial.cancelled = Outcome(status, 0.0, reason)
        else:
            seconds = self.now_s - trial.started_s
            curve = trial.outcome.curve[: trial.played]
            trial.cancelled = Outcome(status, seconds, reason, log=trial.outcome.log, curve=curve)
        heapq.heappush(self._queue, (self.now_s, number))

    def forget(self, number: int, keep: bool = False) -> None:
        """Do nothing: there is no folder."""

    def _next_event(self, trial: _SimulatedTrial) -> Progress | Ending | None:
        """Return what happens to this trial now, and queue what happens next."""
        number = trial.job.number
        if trial.cancelled is not None:
            return self._ending(trial, trial.cancelled)
        if trial.outcome is None:
            trial.outcome = self._run(trial.job)
            heapq.heappush(self._queue, (self._due_s(trial, trial.outcome), number))
            return None
        if trial.played == len(trial.outcome.curve):
            return self._ending(trial, trial.outcome)
        fraction, loss = trial.outcome.curve[trial.played]
        trial.played += 1
        heapq.heappush(self._queue, (self._due_s(trial, trial.outcome), number))
        return Progress(number, fraction, loss=loss)

    def _ending(self, trial: _SimulatedTrial, outcome: Outcome) -> Ending:
        del self._trials[trial.job.number]
        self._free.append(trial.slot)
        outcome = replace(outcome, slot=outcome.slot or trial.slot.name)
        self.rests.ended(outcome)
        return Ending(trial.job, outcome)

    def _due_s(self, trial: _SimulatedTrial, outcome: Outcome) -> float:
        """Return the time of its next point, or of its end."""
        curve = outcome.curve
        if trial.played >= len(curve):
            return trial.started_s + outcome.seconds
        reached = curve[-1][0] if outcome.status is not TrialStatus.COMPLETE else 1.0
        share = curve[trial.played][0] / reached if reached > 0 else math.inf
        return trial.started_s + outcome.seconds * min(share, 1.0)
