"""CMA-ES on the ordered parameters, frequencies among the best for the others, and a model that preselects (`rank_model.py`).

It sees points of a lattice, not trials: the Chooser decides what is feasible and new. It stores no state; learning the
same trials again rebuilds it.

Sources: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772 (the update, without negative weights);
preselection: Y. Jin, Surrogate-assisted evolutionary computation, Swarm and Evolutionary Computation 1(2), 2011.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from math import inf, isinf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from optimize.search.candidates import Chooser, Lattice, Point
from optimize.search.rank_model import RankModel, rank_scores

Array = NDArray[np.float64]

SIGMA = 0.13  # initial step, the range of every parameter being 1; 0.1 to 0.17 measured alike
SMALLEST_SIGMA = 0.05  # a quarter of the way to the next of five choices: below, every draw is the same point
CENTRE_SHARE = 0.25  # first mean: the best known configuration, drawn this far towards the centre of the space
RESAMPLES = 100
PRESELECTED = 32  # candidates of which the model picks the best
# Of a few trials the model knows only where nothing is known yet. Looking there at once costs an H100's job 0.0015 val_bpb in the
# first hour, and gains nothing after twelve trials. Where several trials run, it keeps them apart, which saves a tenth of them.
PRESELECT_AFTER = 6
WINDOW = 100  # trials that the model is made of: the last ones, since the search has moved on from the others
REDRAWS = 100  # a draw costs microseconds
# After STUCK_AFTER trials without progress, a share LEAPS of the proposals is the best point with LEAP parameters drawn anew.
# A narrow CMA-ES never leaves a place that only two parameters together lead out of: of 48 searches of sixty trials two
# ended there, and none with leaps. Where there is no such place, no cost could be measured.
STUCK_AFTER, LEAPS, LEAP = 8, 0.3, 4


class Strategy:
    """Run the (mu/mu_w, lambda)-CMA-ES in the unit cube: a mean, a step size and a covariance, which learn from rankings."""

    def __init__(self, dimensions: int) -> None:
        n = dimensions
        self.population = 4 + int(3 * log(n))
        weights = log((self.population + 1) / 2) - np.log(np.arange(1, self.population // 2 + 1))
        self._weights: Array = weights / weights.sum()
        self._mass = mass = 1 / float((self._weights**2).sum())  # mu_eff
        self._c_sigma = (mass + 2) / (n + mass + 5)
        self._damping = 1 + 2 * max(0.0, sqrt((mass - 1) / (n + 1)) - 1) + self._c_sigma
        self._c_path = (4 + mass / n) / (n + 4 + 2 * mass / n)
        self._c_one = 2 / ((n + 1.3) ** 2 + mass)
        self._c_mu = min(1 - self._c_one, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
        self._length = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))  # of a standard normal vector, on average
        self.mean: Array = np.full(n, 0.5)
        self.sigma, self.generation = SIGMA, 0
        self._covariance: Array = np.eye(n)
        self._path: Array = np.zeros(n)
        self._sigma_path: Array = np.zeros(n)
        self._root: Array = np.eye(n)  # of the covariance, and the root's inverse
        self._inverse_root: Array = np.eye(n)

    def begin(self, mean: Array, covariance: Array) -> None:
        """Set where the first generation is drawn; `covariance` is in units of the squared step size."""
        self.mean, self._covariance = mean, covariance
        self._factor()

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw a point of the unit cube, of shape (dimensions,)."""
        for _ in range(RESAMPLES):
            x = self.mean + self.sigma * self._root @ rng.standard_normal(len(self.mean))
            if ((x >= 0) & (x <= 1)).all():
                break
        return np.clip(x, 0, 1)

    def learn(self, ranked: Array) -> None:
        """Learn from one generation of shape (population, dimensions), the best first."""
        self.generation += 1
        steps = (ranked[: len(self._weights)] - self.mean) / self.sigma
        step = self._weights @ steps
        self.mean = self.mean + self.sigma * step
        c = self._c_sigma
        self._sigma_path = (1 - c) * self._sigma_path + sqrt(c * (2 - c) * self._mass) * self._inverse_root @ step
        length = float(np.linalg.norm(self._sigma_path))
        steady = length / sqrt(1 - (1 - c) ** (2 * self.generation)) < (1.4 + 2 / (len(step) + 1)) * self._length
        self._adapt(steps, step, float(steady))
        self.sigma = max(SMALLEST_SIGMA, self.sigma * float(np.exp(c / self._damping * (length / self._length - 1))))

    def _adapt(self, steps: Array, step: Array, steady: float) -> None:
        c, c_one, c_mu = self._c_path, self._c_one, self._c_mu
        self._path = (1 - c) * self._path + steady * sqrt(c * (2 - c) * self._mass) * step
        rank_mu = (steps.T * self._weights) @ steps
        keep = 1 - c_one - c_mu + (1 - steady) * c_one * c * (2 - c)
        self._covariance = keep * self._covariance + c_one * np.outer(self._path, self._path) + c_mu * rank_mu
        self._factor()

    def _factor(self) -> None:
        values, vectors = np.linalg.eigh(self._covariance)
        roots = np.sqrt(np.maximum(values, 1e-10))
        self._root, self._inverse_root = (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


class CmaEsLearner:
    """Learn for the samplers `cmaes` and `auto`."""

    def __init__(self, lattice: Lattice, chooser: Chooser, seed: int, *, preselect: bool) -> None:
        self._lattice, self._chooser, self._preselect = lattice, chooser, preselect
        self._rng = np.random.default_rng(seed)
        self._axes = [axis for axis, ordered in enumerate(lattice.ordered) if ordered]
        self._others = [axis for axis, ordered in enumerate(lattice.ordered) if not ordered]
        self._strategy = Strategy(len(self._axes)) if self._axes else None
        self._ranked: list[tuple[float, int, Point]] = []  # the best first
        self._latest: deque[tuple[float, Point]] = deque(maxlen=WINDOW)
        self._generation: list[tuple[float, Point]] = []
        self._complete = 0
        self._running: dict[int, Point] = {}
        self._model = RankModel(lattice)

    def draw(self) -> Point:
        if not self._preselect or (len(self._latest) < PRESELECT_AFTER and not self._running):
            return self._chooser.choose(self._near(), REDRAWS)
        how = self._leap if self._is_stuck() and self._rng.random() < LEAPS else self._near()
        candidates = [self._chooser.choose(how, REDRAWS) for _ in range(PRESELECTED)]
        return candidates[int(np.argmax(self._improvement(candidates)))]

    def _improvement(self, candidates: list[Point]) -> Array:
        """Return what to expect of each candidate, the best the highest."""
        running = list(self._running.values())
        if not self._latest:  # all are equal, so that the candidate furthest from them is picked
            return self._model.improvement(running, np.zeros(len(running)), (), candidates, 0)
        values, points = zip(*self._latest, strict=True)
        return self._model.improvement(points, rank_scores(values), running, candidates, len(self._ranked))

    def running(self, number: int, point: Point) -> None:
        """Count what runs as what is expected of it, so that the next proposal is another."""
        self._running[number] = point

    def learned(self, number: int, point: Point, value: float | None) -> None:
        """Learn a value; only ranks matter, so bad parameters are simply the worst."""
        self._running.pop(number, None)
        rated = inf if value is None else value
        self._complete += value is not None
        insort(self._ranked, (rated, len(self._ranked), point))
        self._latest.append((rated, point))
        if self._strategy:
            self._generation.append((rated, point))
            self._evolve(self._strategy)

    def forgotten(self, number: int) -> None:
        """Learn nothing from a trial that says nothing."""
        self._running.pop(number, None)

    def _evolve(self, strategy: Strategy) -> None:
        if len(self._generation) == strategy.population:
            self._generation.sort(key=lambda rated: rated[0])
            strategy.learn(np.array([self._unit(point) for _, point in self._generation]))
            self._generation.clear()
        if not strategy.generation and self._complete:
            # recomputed until the first generation is full: the baseline and known-good starts may all be in it
            best = self._unit(self._ranked[0][2])
            strategy.mean = best + CENTRE_SHARE * (0.5 - best)

    def _is_stuck(self) -> bool:
        return bool(self._ranked) and len(self._ranked) - 1 - self._ranked[0][1] >= STUCK_AFTER

    def _leap(self) -> Point:
        point, sizes = list(self._ranked[0][2]), self._lattice.sizes
        for axis in self._rng.choice(len(sizes), size=min(LEAP, len(sizes)), replace=False):
            point[axis] = int(self._rng.integers(sizes[axis]))
        return tuple(point)

    def _near(self) -> Callable[[], Point]:
        shares = [self._shares(axis) for axis in self._others]
        return lambda: self._candidate(shares)

    def _candidate(self, shares: list[Array]) -> Point:
        point = [0] * len(self._lattice.sizes)
        drawn = self._strategy.draw(self._rng) if self._strategy else ()
        for axis, x in zip(self._axes, drawn, strict=True):
            point[axis] = min(int(x * self._lattice.sizes[axis]), self._lattice.sizes[axis] - 1)
        for axis, share in zip(self._others, shares, strict=True):
            point[axis] = int(self._rng.choice(len(share), p=share))
        return tuple(point)

    def _shares(self, axis: int) -> Array:
        counts = self._counts(axis)
        return np.asarray(counts / counts.sum())

    def _counts(self, axis: int) -> Array:
        """Return how often each choice of an unordered parameter is among the best fifth, with one more trial spread over all."""
        size = self._lattice.sizes[axis]
        counts: Array = np.full(size, 1 / size)
        for value, _, point in self._ranked[: max(3, self._complete // 5)]:
            counts[point[axis]] += not isinf(value)
        return counts

    def _unit(self, point: Point) -> Array:
        return np.array([(point[axis] + 0.5) / self._lattice.sizes[axis] for axis in self._axes])
