"""What has been told of a study, as one of its attributes: so that the limits hold over restarts, and go where the study goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOTIFIED = "notified"  # study attribute
MOST, WITHIN_S = 10, 86_400.0  # messages, in so many seconds
KEPT_FOR_ENDS = 1  # of them: many confirmed trials must not hide that the study ended


@dataclass(frozen=True, slots=True)
class Notified:
    """Which trials were told to be confirmed, and when messages were sent, in seconds since 1970."""

    confirmed: tuple[int, ...] = ()
    sent: tuple[float, ...] = ()

    def has_room(self, now: float, is_end: bool) -> bool:
        """Tell whether one more message may be sent."""
        return len(self._recent(now)) < (MOST if is_end else MOST - KEPT_FOR_ENDS)

    def with_message(self, now: float, confirmed: int | None) -> Notified:
        """Return it with a message of this moment, which tells that trial `confirmed` is."""
        more = () if confirmed is None or confirmed in self.confirmed else (confirmed,)
        return Notified((*self.confirmed, *more), (*self._recent(now), now))

    def attrs(self) -> dict[str, Any]:
        """Return it as attributes of the study."""
        return {NOTIFIED: {"confirmed": [*self.confirmed], "sent": [*self.sent]}}

    def _recent(self, now: float) -> tuple[float, ...]:
        # Both ways: a clock that was set back must not silence a study for as long as it was ahead.
        return tuple(moment for moment in self.sent if abs(now - moment) < WITHIN_S)


def notified_of(attrs: Mapping[str, Any]) -> Notified:
    """Read it from a study's attributes; where it is none of ours, nothing has been told."""
    try:
        kept = attrs[NOTIFIED]
        return Notified(tuple(map(int, kept["confirmed"])), tuple(map(float, kept["sent"])))
    except (KeyError, TypeError, ValueError):
        return Notified()
