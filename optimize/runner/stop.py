"""Wishes that a trial end: what one says, and where they come from.

It ends nothing; `process.py` heeds them while a script runs, and whoever waits before it starts heeds them as well.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import Protocol

from optimize.trial import TrialStatus


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A wish that the trial end now, and as what."""

    status: TrialStatus
    reason: str
    at_once: bool = False  # without SIGTERM and grace: nobody is left to hear its last words


class StopSource(Protocol):
    """Where such wishes come from. `fileno` becomes readable when `poll` may have one."""

    def fileno(self) -> int: ...
    def poll(self) -> StopRequest | None: ...


def wait_for(descriptor: int | None, timeout_s: float, cancelled: StopSource | None) -> StopRequest | None:
    """Until the descriptor can be read, the time is over, or there may be a wish: then that wish, if there is one."""
    ears = [ear for ear in (descriptor, cancelled.fileno() if cancelled else None) if ear is not None]
    heard = select.select(ears, [], [], max(timeout_s, 0.0))[0]
    return cancelled.poll() if cancelled is not None and cancelled.fileno() in heard else None
