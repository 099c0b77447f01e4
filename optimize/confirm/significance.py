"""Statistics of paired repetitions: which finalists are better than the baseline, and do two orders agree? Knows no study.

A gain is the difference between the baseline and a finalist that were trained with the same seed, positive if the finalist
is better. The trial that selected a finalist is not among its gains: it was the best of many, so it is biased.

Noise is pooled over finalists: the variance of a gain is estimated from all of them. Gains over the same baselines are correlated,
by 1/2 if all trainings are equally noisy, and by more if the baseline is noisier than the finalists: then many finalists tell
little more about the noise than one. CORRELATION lies between; docs/confirm.md says what was recorded, and why.
The critical value is that of C. W. Dunnett, A multiple comparison procedure for comparing several treatments with a control, JASA
50, 1955: all intervals of a round hold together. His estimate of noise is one chi-square; ours is a weighted sum of two, by the
eigenvalues of the gains' covariance (F. E. Satterthwaite, Biometrics Bulletin 2, 1946, where finalists have unequal numbers).

The intervals are about the typical gain. A few trainings cannot show what happens with one seed in ten: if a baseline
sometimes goes astray, its mean is worse than the trainings show, and the mean gain is larger.

Rounds: a finalist may be left out after each round but the first, which tells nothing about the noise, and the last. A tenth of
the error is spent on these interim tests in equal parts, the rest on the last round (alpha spending: K. K. G. Lan and D. L. DeMets,
Biometrika 70, 1983). The critical value of the last round is that of the remaining finalists. benchmarks/confirm.py measures that
all intervals of a table hold together as often as they say, although the data choose who remains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, log, sqrt
from sys import float_info

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
INTERIM_SHARE = 0.1  # of the error, for leaving finalists out before the last round
CORRELATION = 0.7  # of two finalists' gains over the same baselines
LARGE = 1e100  # a gain whose square is still far from the largest float
NODES = {1: 200, 2: 32}  # of an integral, by its dimension


@dataclass(frozen=True, slots=True)
class Interval:
    """A finalist's mean gain with its simultaneous interval, in units of the metric."""

    pairs: int
    gain: float
    low: float
    high: float
    left_out: int = 0  # the round after which the finalist was left out; 0: never

    @property
    def real(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Findings:
    """The intervals of all finalists, by number; those without a single pair are missing."""

    intervals: Mapping[int, Interval]
    noise: float  # standard deviation between seeds of a single training
    floor: float  # the smallest gain that a finalist of all rounds could have shown


def judge(
    gains: Mapping[int, Sequence[float | None]], rounds: int, compared: int = 0, level: float = LEVEL
) -> Findings | None:
    """Return the interval of each finalist; None while the noise cannot be estimated.

    `gains` has those of each finalist by round, of ended rounds only; None where one of the pair did not complete. `rounds` is the
    number planned, `compared` the number of finalists there ever were, if that is more. A finalist that is left out keeps the
    interval of its last round.
    """
    largest = max((abs(gain) for each in gains.values() for gain in each if gain is not None), default=0.0)
    if largest > LARGE:  # squares of such gains are infinite
        return _scaled_back(judge(_divided(gains, largest), rounds, compared, level), largest)
    done = max(map(len, gains.values()), default=0)
    compared = max(compared, len(gains))
    ended: dict[int, Interval] = {}
    for number in range(2, min(done, rounds - 1) + 1):
        spread = _spread(_until(gains, ended, number))
        if spread is not None:
            error = INTERIM_SHARE * (1 - level) / (rounds - 2)
            ended |= _left_out(gains, ended, number, spread, error, compared)
    kept = _until(gains, ended, done)
    spread = _spread(kept)
    if spread is None:
        return None
    error = (1 - level) * (1 - INTERIM_SHARE if rounds > 2 else 1)
    critical = critical_value(error, max(compared - len(ended), 1), spread.estimate)
    last = {k: _interval(each, spread.deviation, critical) for k, each in kept.items() if k not in ended}
    return Findings(
        {**ended, **{k: each for k, each in last.items() if each is not None}},
        spread.deviation / sqrt(2),
        critical * spread.deviation / sqrt(rounds),
    )


def _divided(gains: Mapping[int, Sequence[float | None]], by: float) -> dict[int, list[float | None]]:
    return {k: [None if gain is None else gain / by for gain in each] for k, each in gains.items()}


def _scaled_back(findings: Findings | None, by: float) -> Findings | None:
    """The findings in units of the metric; what is beyond a float is its largest."""
    if findings is None:
        return None

    def scaled(value: float) -> float:
        return min(max(value * by, -float_info.max), float_info.max)

    intervals = {
        k: replace(each, gain=scaled(each.gain), low=scaled(each.low), high=scaled(each.high))
        for k, each in findings.intervals.items()
    }
    return Findings(intervals, scaled(findings.noise), scaled(findings.floor))


def critical_value(error: float, count: int, estimate: Estimate, correlation: float = CORRELATION) -> float:
    """Return c with P(max |T| > c) = error, for `count` equally correlated t statistics that share an estimate of noise."""
    return _critical_value(round(error, 12), count, estimate, correlation)


Estimate = tuple[tuple[float, float], ...]
"""An estimate of a variance as a sum of chi-squares: the share of each, and its degrees of freedom. Shares add up to 1."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """The standard deviation of a single gain, and how well it is known."""

    deviation: float
    estimate: Estimate


def _until(
    gains: Mapping[int, Sequence[float | None]], ended: Mapping[int, Interval], number: int
) -> dict[int, Sequence[float | None]]:
    """The gains of each finalist up to this round, or up to the one after which it was left out."""
    return {k: each[: ended[k].left_out if k in ended else number] for k, each in gains.items()}


def _spread(gains: Mapping[int, Sequence[float | None]]) -> _Spread | None:
    """Pooled over finalists; None if no finalist has two gains."""
    there = {k: tuple(i for i, gain in enumerate(each) if gain is not None) for k, each in gains.items()}
    repeated = [k for k in gains if len(there[k]) > 1]
    if not repeated:
        return None
    values = [np.array([gains[k][i] for i in there[k]]) for k in repeated]
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in values)
    free = sum(len(each) - 1 for each in values)
    return _Spread(sqrt(squares / free), _estimate(tuple(there[k] for k in repeated)))


@lru_cache(maxsize=4096)
def _estimate(there: tuple[tuple[int, ...], ...]) -> Estimate:
    """How the pooled sum of squares of gains in these rounds is distributed. The eigenvalues of its covariance fall into two
    heaps, one for what the finalists have in common, and one for the rest; within each they are equal, or nearly."""
    cells = [(k, i) for k, rounds in enumerate(there) for i in rounds]
    same_k = np.array([[a[0] == b[0] for b in cells] for a in cells], dtype=float)
    same_i = np.array([[a[1] == b[1] for b in cells] for a in cells], dtype=float)
    centre = np.eye(len(cells)) - same_k / same_k.sum(axis=1)
    covariance = centre @ (same_i * (CORRELATION + (1 - CORRELATION) * same_k)) @ centre
    eigenvalues = np.linalg.eigvalsh(covariance)
    eigenvalues = eigenvalues[eigenvalues > 1e-9]
    large = eigenvalues > (eigenvalues.max() + eigenvalues.min()) / 2 + 1e-9
    heaps = [heap for heap in (eigenvalues[large], eigenvalues[~large]) if len(heap)]
    total = float(eigenvalues.sum())
    return tuple(
        (round(float(heap.sum()) / total, 9), round(float(heap.sum() ** 2 / (heap**2).sum()), 9)) for heap in heaps
    )


def _interval(gains: Sequence[float | None], deviation: float, critical: float, left_out: int = 0) -> Interval | None:
    """None without a single pair."""
    pairs = [gain for gain in gains if gain is not None]
    if not pairs:
        return None
    gain, half = float(np.mean(pairs)), critical * deviation / sqrt(len(pairs))
    return Interval(len(pairs), gain, gain - half, gain + half, left_out)


def _left_out(
    gains: Mapping[int, Sequence[float | None]],
    ended: Mapping[int, Interval],
    number: int,
    spread: _Spread,
    error: float,
    compared: int,
) -> dict[int, Interval]:
    """Finalists that are significantly no better than the baseline, or worse than the best."""
    critical = critical_value(error, compared, spread.estimate)
    now = {
        k: _interval(each[:number], spread.deviation, critical, number) for k, each in gains.items() if k not in ended
    }
    found = {k: each for k, each in now.items() if each is not None}
    best = max(found, key=lambda k: found[k].gain, default=None)
    twos = compared * (compared - 1) / 2  # any two may be the best and another
    apart = critical_value(error / twos, 1, spread.estimate) if twos else inf
    return {
        k: each
        for k, each in found.items()
        if each.high <= 0 or _worse(gains, k, best, number, apart * spread.deviation)
    }


def _worse(gains: Mapping[int, Sequence[float | None]], k: int, best: int | None, number: int, reach: float) -> bool:
    """Over the seeds that both have, the baseline cancels out: what differs has the same noise as a gain."""
    if best is None or k == best:
        return False
    both = zip(gains[best][:number], gains[k][:number], strict=True)
    ahead = [b - a for b, a in both if a is not None and b is not None]
    return len(ahead) > 1 and float(np.mean(ahead)) > reach / sqrt(len(ahead))


@lru_cache(maxsize=4096)
def _critical_value(error: float, count: int, estimate: Estimate, correlation: float) -> float:
    from scipy.optimize import brentq  # a third of a second to import, and only a verdict needs it

    exceeded = _exceeding(count, estimate, correlation)
    high = 2.0
    while exceeded(high) > error:
        high *= 2
    return float(brentq(lambda c: log(exceeded(c) / error), high / 2 if high > 2 else 0.0, high, rtol=1e-9))


def _exceeding(count: int, estimate: Estimate, correlation: float) -> Callable[[float], float]:
    """P(max |T| > c) as a function of c: the t statistics are independent given what they share, which is integrated out."""
    from scipy.special import gammaincinv, ndtr

    nodes, node_weights = np.polynomial.legendre.leggauss(NODES[len(estimate)])
    nodes, node_weights = (nodes + 1) / 2, node_weights / 2
    square, weights = np.zeros(1), np.ones(1)  # the estimated variance over the true one, and how likely it is
    for share, freedom in estimate:
        part = share * 2 * gammaincinv(freedom / 2, nodes) / freedom
        square = np.add.outer(square, part).ravel()
        weights = np.multiply.outer(weights, node_weights).ravel()
    scale = np.sqrt(square)[:, None]
    common, common_weights = np.polynomial.hermite_e.hermegauss(32)
    common, common_weights = common[None, :] * sqrt(correlation), common_weights / common_weights.sum()
    rest = sqrt(1 - correlation)

    def exceeded(c: float) -> float:
        inside = ndtr((c * scale + common) / rest) - ndtr((-c * scale + common) / rest)
        return float(weights @ (1 - inside**count) @ common_weights)

    return exceeded


RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau-b, 1 for the same order and -1 for the reverse."""

    count: int
    tau: float
    low: float  # of a 95 % bootstrap interval (percentiles; B. Efron, Annals of Statistics 7, 1979)
    high: float
    chance: float  # how likely so high a tau is if the orders have nothing to do with each other: exact, one-sided

    def __str__(self) -> str:
        return (
            f"Kendall's tau {self.tau:.2f} (95 %: {self.low:.2f} to {self.high:.2f}; by chance p = {self.chance:.2g})"
        )


def agreement(one: Sequence[float], other: Sequence[float]) -> Agreement:
    """Compare two lists of at least two values, for the same configurations; the bootstrap is seeded."""
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    tau = float(_taus(a[None, :], b[None, :])[0])
    if np.isnan(tau):  # one side does not differ: no order
        return Agreement(len(a), 0.0, -1.0, 1.0, 1.0)
    draws = np.random.default_rng(0).integers(len(a), size=(RESAMPLES, len(a)))
    taus = _taus(a[draws], b[draws])
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Agreement(len(a), tau, float(low), float(high), _by_chance(len(a), tau))


def _taus(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of each row; NaN where one side does not differ."""
    rows, columns = np.triu_indices(a.shape[1], 1)
    x, y = (np.sign(np.subtract(one[:, rows] / 2, one[:, columns] / 2)) for one in (a, b))  # halves: no overflow
    with np.errstate(invalid="ignore", divide="ignore"):
        found: npt.NDArray[np.float64] = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return found


def _by_chance(count: int, tau: float) -> float:
    """Without ties: of all orders, the share with as few inversions (Kendall, Biometrika 30, 1938)."""
    pairs = count * (count - 1) // 2
    orders = [1]  # orders with 0, 1, ... inversions, as one element after another is put in
    for size in range(2, count + 1):
        longer = [0] * (len(orders) + size - 1)
        for inversions, ways in enumerate(orders):
            for more in range(size):
                longer[inversions + more] += ways
        orders = longer
    most = round((1 - tau) / 2 * pairs)
    return sum(orders[: most + 1]) / sum(orders)
