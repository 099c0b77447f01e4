"""Statistics of paired repetitions: which finalists are better than the baseline? Knows no study.

A gain is the difference between the baseline and a finalist that were trained with the same seed, positive if the finalist
is better. The trial that selected a finalist is not among its gains: it was the best of many, so it is biased.

Each finalist's interval has a width of its own. Its variance is its own or shrunk towards that of all finalists, and `critical.py`
has the critical values. All intervals of a round hold together, as in C. W. Dunnett, A multiple comparison procedure for comparing
several treatments with a control, JASA 50, 1955. There all have one variance; then the noisiest finalists are confirmed by luck.

The intervals are about the typical gain. A few trainings cannot show what happens with one seed in ten: if a baseline
sometimes goes astray, its mean is worse than the trainings show, and the mean gain is larger.

Rounds: a finalist may be left out after each round but the first, which tells nothing about the noise, and the last. A tenth of
the error is spent on these interim tests in equal parts, the rest on the last round (alpha spending: K. K. G. Lan and D. L. DeMets,
Biometrika 70, 1983). The critical value of the last round is that of the remaining finalists. benchmarks/confirm.py measures that
all intervals of a table hold together as often as they say, although the data choose who remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from sys import float_info

import numpy as np

from optimize.confirm.critical import critical_value, critical_value_of_uneven, moderated

LEVEL = 0.95
INTERIM_SHARE = 0.1  # of the error, for leaving finalists out before the last round
LARGE = 1e100  # a gain whose square is still far from the largest float

Gains = Mapping[int, Sequence[float | None]]
"""Of each finalist by round; None where one of the pair did not complete."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A finalist's mean gain with its simultaneous interval, in units of the metric."""

    pairs: int
    gain: float
    low: float
    high: float
    left_out: int = 0  # the round after which the finalist was left out; 0: never

    @property
    def half(self) -> float:
        """Half the width."""
        return self.high - self.gain

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


def judge(gains: Gains, rounds: int, compared: int = 0, level: float = LEVEL) -> Findings | None:
    """Return the interval of each finalist; None while the noise cannot be estimated.

    `gains` has those of ended rounds only, `rounds` is the number planned. `compared` is the number of finalists there ever
    were, if that is more. A finalist that is left out keeps the interval of its last round.
    """
    largest = max((abs(gain) for each in gains.values() for gain in each if gain is not None), default=0.0)
    if largest > LARGE:  # squares of such gains are infinite
        return _scaled_back(judge(_divided(gains, largest), rounds, compared, level), largest)
    done = max(map(len, gains.values()), default=0)
    compared = max(compared, len(gains))
    ended: dict[int, Interval] = {}
    for number in range(2, min(done, rounds - 1) + 1):
        noise = _noise(_until(gains, ended, number), ended)
        if noise is not None:
            error = INTERIM_SHARE * (1 - level) / (rounds - 2)
            ended |= _left_out(gains, ended, number, noise, error, compared)
    noise = _noise(_until(gains, ended, done), ended)
    if noise is None:
        return None
    critical = noise.critical((1 - level) * (1 - INTERIM_SHARE if rounds > 2 else 1), compared)
    last = {k: _interval(gains[k], noise.deviations[k], critical) for k in noise.remaining}
    return Findings(
        {**ended, **last},
        sqrt(noise.pooled / 2),
        critical * noise.smallest / sqrt(rounds),
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


@dataclass(frozen=True, slots=True)
class _Noise:
    """What gains tell of noise, and how many there are of each finalist that has any."""

    pooled: float  # variance of a single gain
    deviations: Mapping[int, float]  # of a single gain of each finalist
    remaining: Mapping[int, int]
    ended: Mapping[int, int]

    @property
    def smallest(self) -> float:
        """The deviation of the quietest finalist that remains."""
        return min((self.deviations[k] for k in self.remaining), default=sqrt(self.pooled))

    def critical(self, error: float, compared: int) -> float:
        """Return the critical value of the last round."""
        others = compared - len(self.remaining) - len(self.ended)
        counts = tuple(self.remaining.values()), tuple(self.ended.values()), max(others, not self.remaining)
        return max(critical_value(error, *counts), critical_value_of_uneven(error, *counts))

    def interim(self, error: float, compared: int) -> float:
        """Return the critical value of an earlier round, after which finalists are left out and none is confirmed."""
        others = max(compared - len(self.remaining), 0)
        return critical_value(error, tuple(self.remaining.values()), tuple(self.ended.values()), others)


def _until(gains: Gains, ended: Mapping[int, Interval], number: int) -> dict[int, Sequence[float | None]]:
    """The gains of each finalist up to this round, or up to the one after which it was left out."""
    return {k: each[: ended[k].left_out if k in ended else number] for k, each in gains.items()}


def _pairs(gains: Sequence[float | None]) -> list[float]:
    return [gain for gain in gains if gain is not None]


def _noise(gains: Gains, ended: Mapping[int, Interval]) -> _Noise | None:
    """None if no finalist has two gains."""
    there = {k: _pairs(each) for k, each in gains.items() if _pairs(each)}
    freedom = np.array([len(each) - 1.0 for each in there.values()])
    if not freedom.sum():
        return None
    own = np.array([np.var(each, ddof=1) if len(each) > 1 else 0.0 for each in there.values()])
    pooled = np.average(own, weights=freedom)
    deviations = dict(zip(there, np.sqrt(moderated(own, freedom, pooled)).tolist(), strict=True))
    counts = {k: len(each) for k, each in there.items()}
    return _Noise(
        float(pooled),
        deviations,
        {k: count for k, count in counts.items() if k not in ended},
        {k: count for k, count in counts.items() if k in ended},
    )


def _interval(gains: Sequence[float | None], deviation: float, critical: float, left_out: int = 0) -> Interval:
    pairs = _pairs(gains)
    gain, half = float(np.mean(pairs)), critical * deviation / sqrt(len(pairs))
    return Interval(len(pairs), gain, gain - half, gain + half, left_out)


def _left_out(
    gains: Gains, ended: Mapping[int, Interval], number: int, noise: _Noise, error: float, compared: int
) -> dict[int, Interval]:
    """Finalists that are significantly no better than the baseline, or worse than the best."""
    if not noise.remaining:
        return {}
    critical = noise.interim(error, compared)
    found = {k: _interval(gains[k][:number], noise.deviations[k], critical, number) for k in noise.remaining}
    best = max(found, key=lambda k: found[k].gain)
    apart = noise.interim(error, len(gains) * (len(gains) - 1) // 2)  # any two may be the best and another
    return {
        k: each
        for k, each in found.items()
        if each.high <= 0 or (k != best and _worse(gains, k, best, number, noise.pooled, apart))
    }


def _worse(gains: Gains, k: int, best: int, number: int, pooled: float, critical: float) -> bool:
    """Over the seeds that both have, the baseline cancels out: what differs is as noisy as a gain, or less."""
    both = zip(gains[best][:number], gains[k][:number], strict=True)
    ahead = np.array([b - a for b, a in both if a is not None and b is not None])
    if len(ahead) < 2:
        return False
    variance = moderated(ahead.var(ddof=1, keepdims=True), np.array([len(ahead) - 1.0]), np.array([pooled]))
    return float(ahead.mean()) > critical * sqrt(float(variance[0]) / len(ahead))
