"""Stop requests: what one says about the end of a trial, and where they come from.

It ends nothing. `process.py` follows them while a script runs; `gpu_watch.py` and `warm_start.py` do before it starts.
"""

from __future__ import annotations

import select
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from optimize.trial import TrialStatus

TOGETHER_S = 0.5  # between the first and the last process to which a system sends a signal


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The request that a trial end now, and the status and reason that it then has."""

    status: TrialStatus
    reason: str
    at_once: bool = False  # without SIGTERM and grace: the driver is gone, and nobody waits for a last result


class StopSource(Protocol):
    """Where stop requests for a running trial come from."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when `poll` may have a request."""
        ...

    def poll(self) -> StopRequest | None:
        """Return the next request, None if there is none."""
        ...


class Terminations:
    """Counts what a guardian gets of SIGTERM, and otherwise ignores. Main thread only.

    Slurm and systemd send it to all processes of a job: then the script was ended, too, and is not to blame.
    """

    def __init__(self) -> None:
        self._count = self._before = 0
        signal.signal(signal.SIGTERM, self._on_signal)  # no SIG_IGN, which scripts would inherit

    def begin(self) -> None:
        """Forget what came before a script began."""
        self._before = self._count

    def have_come(self, is_likely: bool) -> bool:
        """Tell whether one has come since. Where that `is_likely`, wait a moment for it."""
        until = time.monotonic() + (TOGETHER_S if is_likely else 0.0)
        while self._count == self._before and time.monotonic() < until:
            time.sleep(TOGETHER_S / 50)
        return self._count > self._before

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._count += 1


def wait_for(descriptor: int | None, timeout_s: float, stop_source: StopSource | None) -> StopRequest | None:
    """Wait until the descriptor can be read, the time is over, or a stop request comes. Return that request, if any."""
    watched = [each for each in (descriptor, stop_source.fileno() if stop_source else None) if each is not None]
    ready = select.select(watched, [], [], max(timeout_s, 0.0))[0]
    return stop_source.poll() if stop_source is not None and stop_source.fileno() in ready else None
