"""When a study stops: its budget is spent, or somebody asks (Ctrl-C, once or twice, a signal, `optimize stop`).

It keeps the request and judges the budget; the loop acts on both. Commands without a loop use `exiting_on_signals`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from math import ceil
from types import FrameType, TracebackType

from optimize.config.environment import interrupted_by
from optimize.config.settings import MAX_CONSECUTIVE_FAILURES
from optimize.study.worth import AHEAD, expected_gain, values_of
from optimize.text import amount, value_text
from storage import TrialRecord

STARTED_AGAIN = signal.SIGUSR1  # a scheduler ends this process, and starts the same call again
ENDED_BY = (signal.SIGTERM, signal.SIGHUP, STARTED_AGAIN)  # by the system, not by a person


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Turn the signals of ENDED_BY into an exception, so that the program can end what it has started. Main thread only."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in ENDED_BY}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


STOPPED_BY = "stopped by "  # how the reason begins of a study that somebody ended


class StopLevel(IntEnum):
    """How soon a study is to stop."""

    NONE = 0
    FINISH = 1  # start no new trial, let the running ones end
    CANCEL = 2  # cancel the running trials; their parameters are queued again


class StopSignals:
    """A context in which SIGINT and the signals of ENDED_BY are stop requests. Main thread only."""

    def __init__(self) -> None:
        self._level = StopLevel.NONE
        self._why = ""
        self._ended_by = 0  # one of ENDED_BY
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, *ENDED_BY):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def why(self) -> str:
        return self._why

    def level(self) -> StopLevel:
        """Return the most urgent request so far."""
        return self._level

    def exit_code(self, reason: str) -> int:
        """Return the exit code of a study that ended for this reason: 128 and the number of a signal of ENDED_BY, as in shells."""
        return 128 + self._ended_by if self._ended_by and reason.startswith(STOPPED_BY) else 0

    def is_started_again(self, reason: str) -> bool:
        """Tell whether the same call is started again, as its exit code asks for."""
        return self.exit_code(reason) == 128 + STARTED_AGAIN

    def ask(self, how: str) -> None:
        """Take a request of another terminal: "now", "after" the running trials, or "" for none."""
        if how:
            self._raise_to(StopLevel.CANCEL if how == "now" else StopLevel.FINISH, "optimize stop")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._raise_to(StopLevel(min(self._level + 1, StopLevel.CANCEL)), interrupted_by())
        else:
            self._ended_by = self._ended_by or number
            self._raise_to(StopLevel.CANCEL, signal.Signals(number).name)

    def _raise_to(self, level: StopLevel, why: str) -> None:
        if level > self._level:
            self._level, self._why = level, why


COUNTED = ("COMPLETE", "PRUNED")  # endings that say something about the parameters


@dataclass(frozen=True, slots=True)
class Budget:
    """When a study has done enough; None means no limit.

    `trials` counts COMPLETE and PRUNED trials that ran here, the baseline included, and repeats of trials in a study of their own.
    `hours` counts from the start of the call.
    """

    trials: int | None = None
    hours: float | None = None
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES
    until_worth: float | None = None  # the least gain that ten more trials have to be worth
    direction: str = "minimize"  # of the metric

    def not_worth(self, records: Iterable[TrialRecord]) -> str | None:
        """Return why the study ends if more trials are expected to bring too little, None if it goes on."""
        if self.until_worth is None:
            return None
        gain = expected_gain(values_of(records), self.direction)
        if gain is None or gain >= self.until_worth:
            return None
        return f"{AHEAD} more trials are expected to bring {value_text(gain)}, less than {self.until_worth:g}"

    def spent(self, done: int, elapsed_s: float, repeats: int = 0) -> str | None:
        """Return why the study ends here, or None if it goes on."""
        if self.trials is not None and done + repeats >= self.trials:
            beside = f" and {amount(repeats, 'repeat')}" if repeats else ""
            return f"{amount(done, 'trial')}{beside} {'is' if done + repeats == 1 else 'are'} done"
        if self.is_late(elapsed_s):
            assert self.hours is not None
            return f"{self.hours:g} {'hour is' if self.hours == 1 else 'hours are'} over"
        return None

    def is_late(self, elapsed_s: float) -> bool:
        """Tell whether the hours are over."""
        return self.hours is not None and elapsed_s >= self.hours * 3600

    def planned(self, begun: int, running: int, free: int, elapsed_s: float, training_s: float) -> int | None:
        """Return how many trainings there will be in all, at `training_s` seconds each; None if no end is known.

        A running one is taken to be half-way. As long as the hours are not over, every free slot may begin one more.
        """
        planned = [] if self.trials is None else [self.trials]
        if self.hours is not None and training_s > 0:
            left = max(self.hours * 3600 - elapsed_s, 0.0) / training_s
            planned.append(begun + ceil(free * left + running * max(left - 0.5, 0.0)))
        return min(planned, default=None)

    def room(self, done: int, running: int) -> bool:
        """Tell whether one more trial may start, assuming that all running ones will count."""
        return self.trials is None or done + running < self.trials


def counted(records: Iterable[TrialRecord]) -> int:
    """Return how many trials count against a limit of trials; those copied from another study do not."""
    return sum(record.state in COUNTED and not record.taken_from for record in records)
