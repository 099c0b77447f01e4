"""Are the repeats of a configuration better than the baseline's, or is that luck? One-sided tests. Knows no study.

A candidate's mean is compared with that of the baseline. The candidate was chosen for its first value, so that one is left out. The
baseline was not chosen, so its first value counts: that some trial beats an unlucky one only makes a candidate, which is tested on
repeats that know nothing of it. Seeds need not be the same, and all values of the baseline serve every candidate.

There are two tests, because there are two estimates of the noise (`noise.py`):

- Pooled: the spread of the search and the repeats together. If configurations differ, it errs towards too much noise.
- Within: the repeats alone. It finds large gains where configurations differ by much more than the noise.

Either may confirm, the second at a third of the error. In both, a configuration has its own variance where that is larger, with its
own degrees of freedom (B. L. Welch, Biometrika 34, 1947): the best of many trials are often the noisiest. A candidate's first value
belongs to its own variance, where it errs towards too much.

An unlucky baseline makes everybody look good. So where the median of the search is better than the baseline's mean, and by no more
than luck explains, a candidate has to beat the median. In a study that has left its baseline behind, the median is far better, and
the baseline's mean counts.

Errors: `level` is the chance of error that each look at a candidate may spend. benchmarks/verdict.py measures what that comes to in
whole campaigns, in which candidates are looked at again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from optimize.confirm.noise import Variance, squares

LAST, POWER = (
    0.056,
    0.75,
)  # the error of the last look of a plan with five repeats, and how fast it falls with more of them
EARLY = 0.03  # of that, for each look before the last
OPEN = 0.05  # divided by the number of repeats so far: the error of a look where no end is known
TWO = 0.5  # of the error, for a look at two repeats only
WITHIN = 3.0  # times the chance, for the second test
LUCK = 3.0  # standard errors of the baseline's mean, beyond which its distance to the median is none


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a configuration's values; larger is better."""

    value: float
    count: int
    own: Variance | None  # of a single value; None while there is one

    @classmethod
    def of(cls, values: Sequence[float], first: float | None = None) -> Mean:
        """Return that of at least one value; `first` only belongs to the variance."""
        known = [*values] if first is None else [first, *values]
        own = Variance(squares(known) / (len(known) - 1), len(known) - 1) if len(known) > 1 else None
        return cls(sum(values) / len(values), len(values), own)

    def variance(self, noise: Variance) -> Variance:
        """Return that of the mean: its own where it is larger than the noise."""
        larger = self.own if self.own is not None and self.own.value > noise.value else noise
        return Variance(larger.value / self.count, larger.freedom)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to compare with: the baseline, the median of the search, and the noise."""

    baseline: Mean
    median: float
    pooled: Variance | None
    within: Variance | None

    def to_beat(self, noise: Variance | None = None) -> float:
        """Return the baseline's mean, or the median of the search if that is better by luck."""
        noise = noise or self.pooled
        if noise is None:
            return self.baseline.value
        ahead = self.median - self.baseline.value
        is_luck = 0 < ahead < LUCK * sqrt(self.baseline.variance(noise).value)
        return self.median if is_luck else self.baseline.value

    def chance(self, candidate: Mean) -> float:
        """Return how likely so good a mean is by luck; 1 if there are too few values."""
        if candidate.count < 2 or self.baseline.count < 2:
            return 1.0
        tests = [(1.0, self.pooled)]
        if self.within is not None and self.within.freedom > 1 and self.within is not self.pooled:
            tests.append((WITHIN, self.within))
        found = [
            weight * self._chance(candidate, noise) for weight, noise in tests if noise is not None and noise.value
        ]
        return min(1.0, *found) if found else 1.0

    def error(self, candidate: Mean) -> float | None:
        """Return the standard error of the gain by the smaller estimate of the noise; None without one."""
        known = [noise for noise in (self.pooled, self.within) if noise is not None]
        if not known:
            return None
        noise = min(known, key=lambda each: each.value)
        return sqrt(candidate.variance(noise).value + self.baseline.variance(noise).value)

    def _chance(self, candidate: Mean, noise: Variance) -> float:
        from scipy.special import stdtr  # a third of a second to import, and only repeats need it

        ahead = candidate.value - self.to_beat(noise)
        parts = [each.variance(noise) for each in (candidate, self.baseline)]
        total = sum(part.value for part in parts)
        freedom = total**2 / sum(part.value**2 / part.freedom for part in parts)
        return float(stdtr(min(freedom, noise.freedom), -ahead / sqrt(total)))


def level_of_plan(repeats: int, kept: int, is_last: bool) -> float:
    """Return the error of a look at a candidate with so many repeats, where `kept` trainings are kept for repeats.

    The last look may spend most of it. What an earlier look has confirmed stays confirmed by the same measure.
    """
    error: float = LAST * (5 / max(kept, 1)) ** POWER
    return error * (1.0 if is_last else EARLY) * (TWO if repeats == 2 else 1.0)


def level_beside(repeats: int, begun: int, before: bool) -> float:
    """Return the error where no end is known, and the candidate's last repeat was the `begun`-th of the campaign.

    What a look `before` has confirmed may have twice the error, so that it does not waver.
    """
    return OPEN / max(begun, 1) * (TWO if repeats == 2 else 1.0) * (2.0 if before else 1.0)
