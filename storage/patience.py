"""How long a database is waited for that is locked or away, and who is told about it.

It knows neither databases nor errors; whoever waits gives the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_SAID_AFTER_S = 2.0  # a lock that passes by itself is nobody's news


@dataclass(slots=True)
class Patience:
    """Of one open database. `say` gets a line when a wait begins to matter and one when it is over; `go_on` ends it."""

    seconds: float
    say: Callable[[str], None] = field(default=lambda line: None)
    go_on: Callable[[], bool] = field(default=lambda: True)

    def begin(self, what: str) -> Wait:
        return Wait(self, what)


@dataclass(slots=True)
class Wait:
    """One wait, which may turn out not to be needed."""

    _patience: Patience
    _what: str
    _began: float = field(default_factory=time.monotonic)
    _pause_s: float = 0.05
    _failed: float = 0.0  # when it first failed; 0: not yet
    _said: bool = False

    def goes_on(self, why: Exception) -> bool:
        """Pause, unless patience is at its end or somebody wishes to stop; False then."""
        now = time.monotonic()
        self._failed = self._failed or now
        if now + self._pause_s > self._began + self._patience.seconds or not self._patience.go_on():
            return False
        if not self._said and now + self._pause_s - self._failed >= _SAID_AFTER_S:
            self._said = True
            self._patience.say(f"{why} (it is tried again for {_duration(self._patience.seconds)}, nothing is lost)")
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, 1.0)
        return True

    def over(self) -> None:
        if self._said:
            self._patience.say(f"{self._what}: there again after {time.monotonic() - self._failed:.0f} s")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
