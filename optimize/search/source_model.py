"""What a source of a prior expects of any configuration.

Sources: C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, equation 2.25; additive
kernels: D. Duvenaud et al., arXiv:1112.4394.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from optimize.search.candidates import Lattice, Point
from optimize.search.prior import PriorSource

Array = NDArray[np.float64]

GOOD, LEAST_GOOD, MOST_GOOD = 0.1, 3, 20  # the share of a source's rows that proposals are drawn around, and its bounds
NOISE, LENGTH = 0.05, 0.27  # of the kernel: variance, and its reach over a parameter's range
ADDITIVE, REACH = 0.5, 2.0  # the share of single parameters, and their reach in LENGTHs


class SourceModel:
    """Predict what one source expects of any point: a Gaussian process on its ranks, with an additive part.

    The additive part carries single effects to where the source has no rows.
    """

    def __init__(self, source: PriorSource, lattice: Lattice) -> None:
        self.source = source
        points = [point for row in source.rows if (point := lattice.point(row)) is not None]
        count = round(GOOD * len(points))
        self.good = points[: min(max(count, LEAST_GOOD), MOST_GOOD)]
        ranks = 1 / np.arange(1, len(self.good) + 1)
        self.shares: Array = ranks / ranks.sum()
        self._named = _named(lattice, source.unnamed)
        self._known = features(lattice, points) * self._named
        covariance = self._kernel(self._known, self._known) + NOISE * np.eye(len(points))
        self._weights = np.linalg.solve(covariance, np.array(source.scores) - source.elsewhere)

    def scores(self, rows: Array) -> Array:
        """Return what it expects of points with these features, the best the lowest."""
        return np.asarray(self.source.elsewhere + self._kernel(rows * self._named, self._known) @ self._weights)

    def _kernel(self, a: Array, b: Array) -> Array:
        gaps = (a[:, None] - b[None]) * sqrt(a.shape[1]) / REACH
        return np.asarray((1 - ADDITIVE) * kernel(a, b) + ADDITIVE * np.exp(-(gaps**2) / 2).mean(axis=2))


def features(lattice: Lattice, points: Sequence[Point]) -> Array:
    """Return coordinates of shape (points, features) in which the kernel has length 1.

    Two choices of an unordered parameter are as far apart as seven tenths of an ordered one's range.
    """
    rows = np.array(points)
    ordered, others = _axes(lattice)
    columns = [(rows[:, [axis]] + 0.5) / lattice.sizes[axis] for axis in ordered]
    columns += [0.5 * np.eye(lattice.sizes[axis])[rows[:, axis]] for axis in others]
    return np.hstack(columns) / (LENGTH * sqrt(rows.shape[1]))


def kernel(a: Array, b: Array) -> Array:
    """Return the squared exponential kernel of points with length 1, of shape (len(a), len(b))."""
    return np.asarray(np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / 2))


def _named(lattice: Lattice, unnamed: Collection[str]) -> Array:
    """Return 1 for each feature that is of a named parameter, 0 for the others."""
    ordered, others = _axes(lattice)
    axes = [*ordered, *(axis for axis in others for _ in range(lattice.sizes[axis]))]
    return np.array([lattice.space.names[axis] not in unnamed for axis in axes], float)


def _axes(lattice: Lattice) -> tuple[list[int], list[int]]:
    """Return the axes of the ordered parameters, and those of the others."""
    axes = range(len(lattice.sizes))
    return [a for a in axes if lattice.ordered[a]], [a for a in axes if not lattice.ordered[a]]
