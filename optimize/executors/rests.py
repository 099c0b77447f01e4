"""Which slots get no trial for a while: somebody else holds the device, or it has failed twice in a row.

It starts and ends nothing. An executor tells it how trials ended, and asks it before it gives a slot the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from optimize.trial import Outcome, Slot, TrialStatus

REST_S, MOST_REST_S = 300.0, 3600.0  # doubled each time that a slot still cannot be used
FAILURES = 2  # of a device, in a row: after the first it is tried again at once, because many such errors pass


class Rests:
    """The rests of an executor's slots, by their names; `now` is a clock in seconds."""

    def __init__(self, rest_s: float = REST_S, now: Callable[[], float] = time.monotonic) -> None:
        self._rest_s, self._now = rest_s, now
        self._failures: dict[str, int] = {}
        self._last_s: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def ended(self, outcome: Outcome) -> None:
        """Take in how a trial ended in its slot."""
        slot, has_failed = outcome.slot, outcome.status is TrialStatus.DEVICE_FAILED
        self._failures[slot] = self._failures.get(slot, 0) + 1 if has_failed else 0
        rests = outcome.status is TrialStatus.BUSY or self._failures[slot] >= FAILURES
        self._last_s[slot] = min(2 * self._last_s.get(slot, 0.0) or self._rest_s, MOST_REST_S) if rests else 0.0
        self._until[slot] = self._now() + self._last_s[slot]

    def is_over(self, slot: Slot) -> bool:
        """Return whether the slot may get a trial."""
        return self._now() >= self._until.get(slot.name, 0.0)

    def have_failed(self, slots: Iterable[Slot]) -> bool:
        """Return whether the devices of all these slots have failed too often, so that no trial can run."""
        failures = [self._failures.get(slot.name, 0) for slot in slots]
        return bool(failures) and min(failures) >= FAILURES
