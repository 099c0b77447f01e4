"""When a study has had enough: limits of trials, hours and failures in a row.

It only judges; the loop acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage import TrialRecord

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
