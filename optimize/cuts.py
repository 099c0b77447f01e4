"""What pruning did in a study: trials cut, time saved, and how often it would have been wrong, by those that ran on.

Counted from the records alone, so a restart forgets nothing. Who is hopeless is decided in `pruning.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from optimize.trial import Metric, TrialStatus
from storage import TrialRecord


@dataclass(frozen=True, slots=True)
class Cuts:
    """`ran_on` were condemned and spared, or faster than their end; `missed` of them came into the top quarter."""

    cut: int
    saved_s: float
    ran_on: int
    missed: int

    @property
    def at_most(self) -> float:
        """The share of the condemned that belong to the top quarter is below this, with a confidence of 95 %."""
        return upper_bound(self.missed, self.ran_on)


def count_cuts(records: Sequence[TrialRecord], metric: Metric) -> Cuts:
    """The top quarter is one of all that completed or was cut."""
    complete = [record for record in records if record.value is not None]
    cut = [record for record in records if record.status == TrialStatus.HOPELESS]
    ran_on = [record for record in complete if record.condemned]
    sign = 1.0 if metric.direction == "minimize" else -1.0
    ranked = sorted(sign * record.value for record in complete if record.value is not None)
    quarter = math.ceil((len(complete) + len(cut)) / 4)
    last = ranked[min(quarter, len(ranked)) - 1] if ranked else -math.inf
    missed = sum(sign * record.value <= last for record in ran_on if record.value is not None)
    whole = median([record.seconds or 0.0 for record in complete]) if complete else 0.0
    return Cuts(len(cut), sum(_saved_s(record, whole) for record in cut), len(ran_on), missed)


def _saved_s(record: TrialRecord, whole: float) -> float:
    """What was left of the trial: by its own pace, or up to the usual time, whichever is less."""
    seconds, reached = record.seconds or 0.0, max(record.curve, default=100) / 100
    return max(0.0, min(whole, seconds / reached) - seconds)


def upper_bound(hits: int, of: int, confidence: float = 0.95) -> float:
    """The largest share that makes so few hits at least as likely as 1 - confidence: Clopper and Pearson, 1934."""
    low, high = 0.0, 1.0
    if hits >= of:
        return 1.0
    for _ in range(50):
        share = (low + high) / 2
        likely = sum(_chance(k, of, share) for k in range(hits + 1))
        low, high = (share, high) if likely > 1 - confidence else (low, share)
    return high


def _chance(hits: int, of: int, share: float) -> float:
    """Of exactly so many; in logarithms, because the coefficients of a thousand trials are no floats."""
    ways = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    return math.exp(ways + hits * math.log(share) + (of - hits) * math.log1p(-share))
