"""What is expected of configurations: a Gaussian process on the ranks of the trials, with a length for each parameter.

Its coordinates are those of the lattice, and the quantities that a workload derives from the parameters, such as the size of a
model: what depends on the size is then one effect, not one of depth, width and batch together. Which coordinates matter, and over
what distance, is fitted to the trials. So is the noise.

Sources: C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, sections 4.2 (Matern
kernel), 5.4 (its gradient); the prior of the lengths grows with the square root of their number: C. Hvarfner et al.,
arXiv:2402.02229; expected improvement: D. R. Jones et al., Journal of Global Optimization 13, 1998; trials that run count as what
is expected of them: D. Ginsbourger et al., Kriging is well-suited to parallelize optimization, 2010.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from optimize.search.candidates import Lattice, Point

Array = NDArray[np.float64]

NAMED_APART = 0.5  # how far two choices without an order are apart, by the square root of two; an ordered range is 1
SAMPLED = 256  # points by which the range of a derived quantity is found
RATIO = 4.0  # of the largest to the smallest: above, a positive quantity counts by its logarithm
LENGTH, LENGTH_SD = 0.27, 0.7  # prior of a length, in units of sqrt(coordinates), and the deviation of its logarithm
NOISE, NOISE_SD = 0.05, 1.0  # prior of the variance of the noise, the scores having one of 1, and the same
FURTHEST = 3.0  # logarithms are bounded at so much from the middle of the prior
FIRST_STEPS, STEPS = 20, 8  # of the optimiser: at the first fit, and from the last one on
LEAST_VARIANCE = 1e-9  # of a prediction
REFIT = 0.05  # the lengths are fitted again when there are so many more trials


class Coordinates:
    """Place the points of a lattice in a space in which distances can be fitted, one group of columns for each length."""

    def __init__(self, lattice: Lattice) -> None:
        self._lattice = lattice
        self._known: dict[Point, Array] = {}
        self._ranges = [_Range(column) for column in zip(*self._sampled(), strict=True)]

    def of(self, points: Sequence[Point]) -> Array:
        """Return the coordinates of shape (points, columns)."""
        return np.array([self._of(point) for point in points])

    def groups(self) -> list[slice]:
        """Return the columns of each length: one of an ordered parameter or a quantity, several of any other parameter."""
        sizes = [
            1 if ordered else size for size, ordered in zip(self._lattice.sizes, self._lattice.ordered, strict=True)
        ]
        ends = np.cumsum([*sizes, *[1] * len(self._ranges)])
        return [slice(end - size, end) for end, size in zip(ends, [*sizes, *[1] * len(self._ranges)], strict=True)]

    def _of(self, point: Point) -> Array:
        if point not in self._known:
            columns: list[float] = []
            for index, size, ordered in zip(point, self._lattice.sizes, self._lattice.ordered, strict=True):
                columns += [(index + 0.5) / size] if ordered else [NAMED_APART * (i == index) for i in range(size)]
            quantities = self._lattice.quantities(point) if self._ranges else ()
            columns += [each.scaled(value) for each, value in zip(self._ranges, quantities, strict=True)]
            self._known[point] = np.array(columns)
        return self._known[point]

    def _sampled(self) -> Iterable[Sequence[float | None]]:
        return [self._lattice.quantities(self._lattice.at(i)) for i in range(min(SAMPLED, self._lattice.size))]


class _Range:
    """The range of a derived quantity over the lattice."""

    def __init__(self, values: Sequence[float | None]) -> None:
        known = [value for value in values if value is not None and isfinite(value)] or [0.0]
        self._is_logarithmic = min(known) > 0 and max(known) > RATIO * min(known)
        self._low, self._high = self._level(min(known)), self._level(max(known))

    def scaled(self, value: float | None) -> float:
        """Return 0 for the smallest and 1 for the largest that was sampled; the middle for what has no value."""
        if value is None or not isfinite(value) or self._high <= self._low or (self._is_logarithmic and value <= 0):
            return 0.5
        return min(max((self._level(value) - self._low) / (self._high - self._low), -1.0), 2.0)

    def _level(self, value: float) -> float:
        return log(value) if self._is_logarithmic else value


class RankModel:
    """Predict scores, the best the lowest, from the trials of one study."""

    def __init__(self, lattice: Lattice) -> None:
        self._coordinates = Coordinates(lattice)
        self._groups = self._coordinates.groups()
        self._middle = log(LENGTH * sqrt(len(self._groups)))
        self._fitted: Array = np.append(np.full(len(self._groups), self._middle), log(NOISE))
        self._fitted_to = 0  # trials

    def improvement(
        self,
        trials: Sequence[Point],
        scores: Array,
        running: Sequence[Point],
        candidates: Sequence[Point],
        told: int,
        mean: Callable[[Sequence[Point]], Array] | None = None,
    ) -> Array:
        """Return the improvement to expect of each candidate, in units of the scores.

        `told` counts all trials of the study, also those that are too old to be among `trials`. `mean` is what is expected
        of points before any trial; 0 without it.
        """
        known = self._coordinates.of([*trials, *running])
        gaps, before = self._gaps(known, known), mean or _nothing
        left = scores - before(trials)
        if not self._fitted_to or told >= (1 + REFIT) * self._fitted_to:
            self._fit(gaps[:, : len(trials), : len(trials)], left)
            self._fitted_to = told
        noise = float(np.exp(self._fitted[-1]))
        covariance = _kernel(gaps, self._fitted) + noise * np.eye(len(known))
        if running:
            among = covariance[: len(trials), : len(trials)]
            left = np.append(left, covariance[len(trials) :, : len(trials)] @ np.linalg.solve(among, left))
        inverse = np.linalg.inv(covariance)
        weights = inverse @ left
        near = _kernel(self._gaps(self._coordinates.of(candidates), known), self._fitted)
        deviation = np.sqrt(np.maximum(1 - ((near @ inverse) * near).sum(axis=1), LEAST_VARIANCE))
        best = float((before([*trials, *running]) + left - noise * weights).min())  # as the model sees it
        return _expected_improvement(best - before(candidates) - near @ weights, deviation)

    def _gaps(self, a: Array, b: Array) -> Array:
        """Return squared distances of shape (lengths, len(a), len(b))."""
        squares = (a[:, None] - b[None]) ** 2
        return np.stack([squares[:, :, columns].sum(axis=2) for columns in self._groups])

    def _fit(self, gaps: Array, scores: Array) -> None:
        from scipy.optimize import minimize  # here, since it takes a quarter of a second

        ends = [self._middle] * len(self._groups) + [log(NOISE)]
        found = minimize(
            lambda at: self._loss(at, gaps, scores),
            self._fitted,
            jac=True,
            method="L-BFGS-B",
            bounds=[(end - FURTHEST, end + FURTHEST) for end in ends],
            options={"maxiter": STEPS if self._fitted_to else FIRST_STEPS},
        )
        self._fitted = found.x

    def _loss(self, at: Array, gaps: Array, scores: Array) -> tuple[float, Array]:
        """Return the negative logarithm of the posterior at these logarithms of lengths and noise, and its gradient."""
        noise = float(np.exp(at[-1]))
        covariance = _kernel(gaps, at) + noise * np.eye(len(scores))
        inverse = np.linalg.inv(covariance)
        weights = inverse @ scores
        off, noise_off = (at[:-1] - self._middle) / LENGTH_SD, (at[-1] - log(NOISE)) / NOISE_SD
        loss = (scores @ weights + np.linalg.slogdet(covariance)[1] + (off**2).sum() + noise_off**2) / 2
        slopes = (inverse - np.outer(weights, weights)) / 2
        by_length = np.tensordot(gaps, slopes * _kernel_slope(gaps, at), 2) * np.exp(-2 * at[:-1])
        gradient = [*(by_length + off / LENGTH_SD), np.trace(slopes) * noise + noise_off / NOISE_SD]
        return float(loss), np.array(gradient)


def rank_scores(values: tuple[float, ...]) -> Array:
    """Return the normal score of each value's rank, the smallest the lowest; equal values share one.

    Ranks, because one diverged trial must not flatten the differences between good ones.
    """
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    return np.array([NormalDist().inv_cdf(rank / len(values)) for rank in ranks])


def _nothing(points: Sequence[Point]) -> Array:
    return np.zeros(len(points))


def _distances(gaps: Array, at: Array) -> Array:
    return np.asarray(np.sqrt(5 * np.tensordot(np.exp(-2 * at[:-1]), gaps, 1)))


def _kernel(gaps: Array, at: Array) -> Array:
    """Return the Matern kernel of order 5/2."""
    r = _distances(gaps, at)
    return np.asarray((1 + r + r * r / 3) * np.exp(-r))


def _kernel_slope(gaps: Array, at: Array) -> Array:
    """Return the slope of the kernel by the logarithm of a length, divided by the squared distance in that length."""
    r = _distances(gaps, at)
    return np.asarray(5 / 3 * (1 + r) * np.exp(-r))


def _expected_improvement(gain: Array, deviation: Array) -> Array:
    normal = NormalDist()
    ratio = gain / deviation
    below = np.array([normal.cdf(each) for each in ratio])
    density = np.array([normal.pdf(each) for each in ratio])
    return np.asarray(gain * below + deviation * density)
