"""When a study has had enough: a limit of trials or hours, or too many failures in a row.

It only judges; the loop acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage import TrialRecord

COUNTED = ("COMPLETE", "PRUNED")  # endings that say something about the parameters


@dataclass(frozen=True, slots=True)
class Budget:
    """None means no limit. `trials` counts COMPLETE and PRUNED ones, the baseline included; `hours` counts this call."""

    trials: int | None = None
    hours: float | None = None
    max_consecutive_failures: int = 5

    def spent(self, counted: int, elapsed_s: float) -> str | None:
        """Why the study is to end here, or None."""
        if self.trials is not None and counted >= self.trials:
            return f"{counted} trials are done"
        if self.hours is not None and elapsed_s >= self.hours * 3600:
            return f"{self.hours:g} hours are over"
        return None

    def room(self, counted: int, running: int) -> bool:
        """Whether one more trial may start without passing the limit if all that run should count."""
        return self.trials is None or counted + running < self.trials

    def broken(self, records: Iterable[TrialRecord]) -> bool:
        """Whether the latest endings are nothing but failures, as many as are tolerated."""
        return consecutive_failures(records) >= self.max_consecutive_failures


def counted(records: Iterable[TrialRecord]) -> int:
    """How many of the trials count against a limit of trials."""
    return sum(record.state in COUNTED for record in records)


def consecutive_failures(records: Iterable[TrialRecord]) -> int:
    """Crashes at the end of the list, in the order in which they ended; a crash that is tried again is not yet one."""
    count = 0
    ended = [r for r in records if r.finished is not None and r.status not in ("cancelled", "lost")]
    for record in sorted(ended, key=lambda r: (r.finished, r.number), reverse=True):
        if record.state in COUNTED:
            break
        count += record.attempt > 1
    return count
