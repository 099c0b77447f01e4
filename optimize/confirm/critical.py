"""How large the best of several t statistics becomes by luck alone, if each finalist has a variance of its own. Knows no study.

The variance of a finalist's gain is its own where that is larger than the pooled one. A smaller one is shrunk towards the pooled
one, as if PRIOR further degrees of freedom had shown that (G. K. Smyth, Linear models and empirical Bayes methods, Statistical
Applications in Genetics and Molecular Biology 3, 2004). Smyth shrinks large ones as well. Here that would confirm luck: a finalist
is chosen for one good value, which prefers the noisy. And a small variance of a few values says little.

A critical value belongs to the largest statistic of all finalists, under one of two models of noise:

- `critical_value`: all finalists are equally noisy, and the baseline's part of the noise correlates their gains by CORRELATION.
  Intervals of that width hold together, on both sides.
- `critical_value_of_uneven`: one finalist in ONE_IN is NOISIER times as noisy as the others, and gains are independent, which is
  worse than any correlation. No interval of that width lies above its true gain.

Each is an average over seeded draws of the variances. Given those and what the gains share, the statistics are independent and
normal, so the average is smooth far into the tail. It is within one part in a hundred. A single finalist has Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt

import numpy as np
import numpy.typing as npt

PRIOR = 8.0  # fits standard deviations that differ by a factor of 1.3; those of docs/confirm.md differ by 1.2
CORRELATION = 0.7  # of two finalists' gains over the same baselines; docs/confirm.md says why
NOISIER, ONE_IN = 5.0, 5
DRAWS, FEWEST = 100_000, 4_000  # draws: of all finalists together, and of each

Floats = npt.NDArray[np.float64]


def moderated(own: Floats, freedom: Floats, pooled: Floats) -> Floats:
    """Return the variance of each finalist's gain, from its own (0 without a degree of freedom) and the pooled one."""
    shrunk: Floats = (PRIOR * pooled + freedom * own) / (PRIOR + freedom)
    return np.maximum(own, shrunk)


def critical_value(error: float, remaining: Sequence[int], ended: Sequence[int] = (), others: int = 0) -> float:
    """Return c with P(max |T| > c) = error, for equally noisy finalists.

    `remaining` and `ended` have the number of each finalist's gains. Finalists that have ended belong to the pooled variance only;
    `others`, which an earlier call compared, belong to the largest statistic only.
    """
    return _critical_value(round(error, 12), tuple(sorted(remaining)), tuple(sorted(ended)), others)


def critical_value_of_uneven(
    error: float, remaining: Sequence[int], ended: Sequence[int] = (), others: int = 0
) -> float:
    """Return c with P(max T > c) = error, if one finalist in ONE_IN is much noisier than the others."""
    return _critical_value(round(error, 12), tuple(sorted(remaining)), tuple(sorted(ended)), others, uneven=True)


@lru_cache(maxsize=4096)
def _critical_value(
    error: float, remaining: tuple[int, ...], ended: tuple[int, ...], others: int, uneven: bool = False
) -> float:
    from scipy.optimize import brentq  # a third of a second to import, and only a verdict needs it
    from scipy.special import stdtrit

    if len(remaining) == 1 and not ended and not others:
        return float(stdtrit(remaining[0] - 1, 1 - error * (1 if uneven else 0.5)))
    luck = _uneven(remaining, ended, others) if uneven else _equal(remaining, ended, others)
    high = 2.0
    while luck.exceeds(high) > error:
        high *= 2
    return float(brentq(lambda c: log(luck.exceeds(c) / error), high / 2 if high > 2 else 0.0, high, rtol=1e-4))


@dataclass(frozen=True, slots=True)
class _Luck:
    """Draws of what t statistics are made of: a row a draw, a column a finalist."""

    deviations: Floats  # by which gains are divided
    common: Floats  # the baseline's part of a mean gain, the same for a whole row
    rest: Floats  # the standard deviation of a finalist's own part
    both_sides: bool

    def exceeds(self, c: float) -> float:
        """Return P(max T > c), or P(max |T| > c)."""
        from scipy.special import ndtr

        inside = ndtr((c * self.deviations - self.common) / self.rest)
        if self.both_sides:
            inside -= ndtr((-c * self.deviations - self.common) / self.rest)
        return 1 - float(inside.prod(axis=1).mean())


def _equal(remaining: tuple[int, ...], ended: tuple[int, ...], others: int) -> _Luck:
    noise = np.full(len(remaining) + others + len(ended), sqrt(1 - CORRELATION))
    return _drawn(remaining, ended, others, noise, sqrt(CORRELATION), both_sides=True)


def _uneven(remaining: tuple[int, ...], ended: tuple[int, ...], others: int) -> _Luck:
    judged = len(remaining) + others
    noise = np.concatenate([np.where(np.arange(judged) % ONE_IN == 0, NOISIER, 1.0), np.ones(len(ended))])
    return _drawn(remaining, ended, others, noise, 0.0, both_sides=False)


def _drawn(
    remaining: tuple[int, ...], ended: tuple[int, ...], others: int, noise: Floats, baseline: float, both_sides: bool
) -> _Luck:
    """`noise` is the standard deviation of each finalist's own trainings, `baseline` that of the baseline's."""
    rounds, judged = max((*remaining, *ended)), len(remaining) + others
    pairs = np.array([*remaining, *[rounds] * others, *ended])
    rng, draws = np.random.default_rng(0), max(FEWEST, DRAWS // len(pairs))
    shared, squares = baseline * rng.normal(size=(draws, rounds)), np.zeros((draws, len(pairs)))
    for k, count in enumerate(pairs):
        if count > 1:
            distance = shared[:, :count].var(axis=1) * count
            squares[:, k] = noise[k] ** 2 * rng.noncentral_chisquare(count - 1, distance / noise[k] ** 2)
    freedom, pooled_over = np.maximum(pairs - 1, 0).astype(float), np.r_[: len(remaining), judged : len(pairs)]
    pooled = squares[:, pooled_over].sum(axis=1, keepdims=True) / freedom[pooled_over].sum()
    variances = moderated((squares / np.maximum(freedom, 1))[:, :judged], freedom[:judged], pooled)
    return _Luck(np.sqrt(variances), baseline * rng.normal(size=(draws, 1)), noise[:judged], both_sides)
