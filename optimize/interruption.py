"""How a person or a machine asks the loop to stop: Ctrl-C once or twice, SIGTERM, SIGHUP, `optimize stop`.

It only notes the wish; the loop acts on it.
"""

from __future__ import annotations

import signal
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType


class Wish(IntEnum):
    """How urgent it is."""

    GO_ON = 0
    FINISH = 1  # start no new trial, let the running ones end
    CANCEL = 2  # cancel the running trials; their parameters are queued again


class Interruption:
    """A context in which SIGINT, SIGTERM, SIGHUP and the stop file are wishes instead of deaths. Main thread only."""

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._wish = Wish.GO_ON
        self._why = ""
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        self._stop_file.unlink(missing_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._stop_file.unlink(missing_ok=True)

    @property
    def why(self) -> str:
        return self._why

    def wish(self) -> Wish:
        """The most urgent wish so far."""
        if self._wish < Wish.CANCEL and self._stop_file.exists():
            now = self._stop_file.read_text().strip() == "now"
            self._raise_to(Wish.CANCEL if now else Wish.FINISH, "optimize stop")
        return self._wish

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._raise_to(Wish(min(self._wish + 1, Wish.CANCEL)), "Ctrl-C")
        else:
            self._raise_to(Wish.CANCEL, signal.Signals(number).name)

    def _raise_to(self, wish: Wish, why: str) -> None:
        if wish > self._wish:
            self._wish, self._why = wish, why


def request_stop(stop_file: Path, now: bool) -> None:
    """Ask the driver that watches `stop_file` to stop; it looks at least once a second."""
    stop_file.write_text("now" if now else "after the running trials")
