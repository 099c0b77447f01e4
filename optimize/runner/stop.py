"""Stop requests: what one says about the end of a trial, and where they come from.

It ends nothing. `process.py` follows them while a script runs; `gpu_watch.py` and `warm_start.py` do before it starts.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import Protocol

from optimize.trial import TrialStatus


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


def wait_for(descriptor: int | None, timeout_s: float, stop_source: StopSource | None) -> StopRequest | None:
    """Wait until the descriptor can be read, the time is over, or a stop request comes. Return that request, if any."""
    watched = [each for each in (descriptor, stop_source.fileno() if stop_source else None) if each is not None]
    ready = select.select(watched, [], [], max(timeout_s, 0.0))[0]
    return stop_source.poll() if stop_source is not None and stop_source.fileno() in ready else None
