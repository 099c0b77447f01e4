"""How a person or a machine asks the loop to stop: Ctrl-C once or twice, SIGTERM, SIGHUP, `optimize stop`.

It only notes the wish; the loop acts on it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType, TracebackType


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


class Wish(IntEnum):
    """How urgent it is."""

    GO_ON = 0
    FINISH = 1  # start no new trial, let the running ones end
    CANCEL = 2  # cancel the running trials; their parameters are queued again


class Interruption:
    """A context in which SIGINT, SIGTERM and SIGHUP are wishes instead of deaths. Main thread only."""

    def __init__(self) -> None:
        self._wish = Wish.GO_ON
        self._why = ""
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
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

    def wish(self) -> Wish:
        """The most urgent wish so far."""
        return self._wish

    def ask(self, how: str) -> None:
        """From another terminal: "now", "after" the running trials, or "" for nothing."""
        if how:
            self._raise_to(Wish.CANCEL if how == "now" else Wish.FINISH, "optimize stop")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._raise_to(Wish(min(self._wish + 1, Wish.CANCEL)), "Ctrl-C")
        else:
            self._raise_to(Wish.CANCEL, signal.Signals(number).name)

    def _raise_to(self, wish: Wish, why: str) -> None:
        if wish > self._wish:
            self._wish, self._why = wish, why
