"""How much does another seed move a value? Two estimates of that variance. Knows no study.

- `within`: how much the trainings of one configuration differ, pooled over configurations. It is unbiased, and has few degrees of
  freedom.
- `spread`: how much the trials of a search differ. Configurations differ too, so that is an upper bound. It has many degrees of
  freedom, and is as good as the other where the search has found nothing. It is Qn, a quantile of the differences of all pairs
  (P. J. Rousseeuw and C. Croux, Alternatives to the median absolute deviation, JASA 88, 1993). A few bad or stray trials hardly
  move it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

LEAST = 6  # trials for a spread
MOST = 300  # values whose pairs are looked at: of more, as many quantiles
NORMAL = 2.2219  # 1 / Qn of a standard normal distribution
PARITY = {0: 3.8, 1: 1.4}  # n / (n + this) corrects Qn for n even or odd (Croux and Rousseeuw, COMPSTAT 1992)


@dataclass(frozen=True, slots=True)
class Variance:
    """Of a single training, with its degrees of freedom."""

    value: float
    freedom: float

    def with_more(self, other: Variance | None) -> Variance:
        """Return both pooled."""
        if other is None:
            return self
        freedom = self.freedom + other.freedom
        return Variance((self.freedom * self.value + other.freedom * other.value) / freedom, freedom)


def squares(values: Sequence[float]) -> float:
    """Return the sum of squares about the mean."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)


def within(groups: Iterable[Sequence[float]]) -> Variance | None:
    """Return the pooled variance of trainings of the same configuration; None if no configuration has two."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    return Variance(sum(map(squares, several)) / freedom, freedom) if freedom else None


def spread(values: npt.ArrayLike, pruned: int = 0) -> Variance | None:
    """Return the variance that the trials of a search show; None if it shows none.

    Equal values count once: many trials that end at the same value, such as that of a model that has learnt nothing, say nothing of
    the noise. So many pruned trials count as far away from all others: without them the rest would be too close together.
    """
    distinct = np.unique(np.asarray(values, dtype=float))
    if len(distinct) > MOST:
        pruned = round(pruned * MOST / len(distinct))
        distinct = np.quantile(distinct, np.linspace(0, 1, MOST))
    count = len(distinct) + pruned
    if len(distinct) < LEAST:
        return None
    half = count // 2 + 1
    rank = half * (half - 1) // 2
    if rank > len(distinct) * (len(distinct) - 1) // 2:
        return None
    lower, upper = _pairs(len(distinct))
    closest = float(np.partition(distinct[upper] - distinct[lower], rank - 1)[rank - 1])
    freedom = 0.84 * count * count / (count + 5)  # by simulation, within a tenth from 8 values to 300
    deviation = closest * NORMAL * count / (count + PARITY[count % 2])
    return Variance(deviation**2 * (1 - 0.5 / freedom), freedom)


@lru_cache(maxsize=8)
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    lower, upper = np.triu_indices(count, 1)
    return lower, upper
