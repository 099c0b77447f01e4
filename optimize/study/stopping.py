"""How a person or a machine asks the loop to stop: Ctrl-C once or twice, SIGTERM, SIGHUP, `optimize stop`.

It only notes the wish; the loop acts on it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from types import FrameType, TracebackType

from storage import TrialRecord


@contextmanager
def dying_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program by an exception, so that it can end what it has started. Main thread only."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopLevel(IntEnum):
    """How urgent it is."""

    NONE = 0
    FINISH = 1  # start no new trial, let the running ones end
    CANCEL = 2  # cancel the running trials; their parameters are queued again


class StopSignals:
    """A context in which SIGINT, SIGTERM and SIGHUP are wishes instead of deaths. Main thread only."""

    def __init__(self) -> None:
        self._wish = StopLevel.NONE
        self._why = ""
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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
        """The most urgent wish so far."""
        return self._wish

    def ask(self, how: str) -> None:
        """From another terminal: "now", "after" the running trials, or "" for nothing."""
        if how:
            self._raise_to(StopLevel.CANCEL if how == "now" else StopLevel.FINISH, "optimize stop")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._raise_to(StopLevel(min(self._wish + 1, StopLevel.CANCEL)), "Ctrl-C")
        else:
            self._raise_to(StopLevel.CANCEL, signal.Signals(number).name)

    def _raise_to(self, wish: StopLevel, why: str) -> None:
        if wish > self._wish:
            self._wish, self._why = wish, why


COUNTED = ("COMPLETE", "PRUNED")  # endings that say something about the parameters


@dataclass(frozen=True, slots=True)
class Budget:
    """None means no limit. `trials` counts COMPLETE and PRUNED ones that ran here, the baseline included; `hours` this call."""

    trials: int | None = None
    hours: float | None = None
    max_consecutive_failures: int = 5

    def spent(self, done: int, elapsed_s: float) -> str | None:
        """Why the study is to end here, or None."""
        if self.trials is not None and done >= self.trials:
            return f"{done} trials are done"
        if self.hours is not None and elapsed_s >= self.hours * 3600:
            return f"{self.hours:g} hours are over"
        return None

    def room(self, done: int, running: int) -> bool:
        """Whether one more trial may start without passing the limit if all that run should count."""
        return self.trials is None or done + running < self.trials


def counted(records: Iterable[TrialRecord]) -> int:
    """How many of the trials count against a limit of trials: those taken over from another study ran before."""
    return sum(record.state in COUNTED and not record.taken_from for record in records)
