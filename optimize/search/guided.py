"""CMA-ES as `auto` runs it, guided by what good configurations of related tasks looked like, for as long as trials bear it out.

Each source of a `Prior` becomes a model of ranks over the search space. The trials decide how far each is believed: the score
that a source expects is a regressor of their own ranks, with a coefficient that begins at BELIEF. A source whose order the
trials contradict gets 0 and is forgotten. What is left of the others fades with the number of trials, since the trials know
better by then. While a source is believed, it gives the first proposals, the first mean, spread and correlations, some of the
candidates, and its share of the model that picks among them.

Sources: C. Hvarfner et al., piBO, arXiv:2204.11051 (a prior that fades with the number of trials); N. Mallik et al., PriorBand,
arXiv:2306.12370 (trust by what the trials show); D. Salinas et al., arXiv:1909.13595 (ranks carry over between tasks, values do
not). `benchmarks/prior.py` measures gain, and the cost of a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from optimize.search.candidates import Chooser, Lattice, Point
from optimize.search.cmaes import (
    CENTRE_SHARE,
    LEAPS,
    PRESELECTED,
    REDRAWS,
    SIGMA,
    Array,
    CmaEsLearner,
)
from optimize.search.prior import Prior
from optimize.search.rank_model import rank_scores
from optimize.search.source_model import NOISE, SourceModel, features, kernel

BELIEF, DOUBT = 1.0, 0.7  # coefficient of a source before any trial, and its standard deviation
FADES = 6  # trials; after them what a source says counts FADES / trials
FORGOTTEN = 0.05  # of BELIEF: below, the search is that of a study without a prior
EARLY = 10  # trials; a source whose order they contradict by then is not believed again
FIRST = 3  # sources whose best configuration is tried as it is
DRAWN, MUTATED = 8, 0.25  # candidates around good rows; the share of parameters that such a draw changes
STEPS, STEP_SHARES = (-2, -1, 1, 2), (0.15, 0.35, 0.35, 0.15)  # by which it changes an ordered one
SPREAD = 0.1  # least standard deviation of the first draws in every direction, the range of a parameter being 1
COUNTED = 2.0  # trials that a source stands for where choices have no order


class GuidedCmaEs(CmaEsLearner):
    """Learn for `auto` in a study with a prior."""

    def __init__(self, lattice: Lattice, chooser: Chooser, seed: int, prior: Prior) -> None:
        super().__init__(lattice, chooser, seed, preselect=True)
        self._models = [SourceModel(source, lattice) for source in prior]
        self._beliefs: Array = np.full(len(prior), BELIEF / max(1, len(prior)))
        self._is_stale = False
        self._is_forgotten: Array = np.zeros(len(prior))  # 1: for good
        self._guide_strategy()

    def draw(self) -> Point:
        if not self.is_guided():
            return super().draw()
        for model, belief in zip(self._models[:FIRST], self._beliefs, strict=False):
            if belief > 0 and not self._chooser.why_not(model.good[0]):
                return model.good[0]
        near = self._leap if self._latest and self._is_stuck() and self._rng.random() < LEAPS else self._near()
        drawn = round(DRAWN * self._trust())
        candidates = [self._chooser.choose(near, REDRAWS) for _ in range(PRESELECTED)]
        candidates += [self._chooser.choose(self._around_good, REDRAWS) for _ in range(drawn)]
        return candidates[int(np.argmax(self._improvement(candidates)))]

    def learned(self, number: int, point: Point, value: float | None) -> None:
        super().learned(number, point, value)
        self._is_stale = True
        if len(self._ranked) <= EARLY:
            self._refresh()
            self._is_forgotten = np.maximum(self._is_forgotten, self._beliefs == 0)
        if self._strategy and not self._strategy.generation:
            self._refresh()
            self._guide_strategy()

    def is_guided(self) -> bool:
        """Tell whether a source is believed enough to have a say in the next proposal."""
        self._refresh()
        return self._trust() >= FORGOTTEN

    def prior_summary(self) -> str:
        """Return in a line how far each source is believed; "" before any trial."""
        self._refresh()
        if not self._latest:
            return ""
        shown = [
            f"{model.source.name} {100 * share:.0f} %" for model, share in zip(self._models, self._shown(), strict=True)
        ]
        fading = f", fading since trial {FADES}" if self._fade() < 1 else ""
        return f"prior: believed after {len(self._ranked)} trials: {', '.join(shown)}{fading}"

    def _shown(self) -> Array:
        return np.asarray(np.clip(self._beliefs * len(self._beliefs) / BELIEF, 0, 1))

    def _fade(self) -> float:
        return min(1.0, FADES / max(1, len(self._ranked)))

    def _trust(self) -> float:
        return self._fade() * float(self._shown().max(initial=0))

    def _refresh(self) -> None:
        """Find how far each source is believed."""
        if not self._is_stale or self._fade() < FORGOTTEN:
            return
        values, points = zip(*self._latest, strict=True)
        known, scores, said = features(self._lattice, points), rank_scores(values), self._said(points)
        covariance = kernel(known, known) + NOISE * np.eye(len(values))
        self._beliefs = _coefficients(said * (1 - self._is_forgotten), scores, covariance) * (1 - self._is_forgotten)
        self._is_stale = False

    def _improvement(self, candidates: list[Point]) -> Array:
        """Return what to expect of each candidate by sources and trials together, the best the highest."""
        if not self._latest:
            return -self._believed(candidates)
        values, points = zip(*self._latest, strict=True)
        running = list(self._running.values())
        scores, told = rank_scores(values), len(self._ranked)
        return self._model.improvement(points, scores, running, candidates, told, self._believed)

    def _believed(self, points: Sequence[Point]) -> Array:
        """Return the score that the sources expect of each point, as far as they are believed."""
        return np.asarray(self._fade() * self._said(points) @ self._beliefs)

    def _said(self, points: Sequence[Point]) -> Array:
        """Return what each source expects, of shape (points, sources)."""
        rows = features(self._lattice, points)
        return np.stack([model.scores(rows) for model in self._models], axis=1)

    def _around_good(self) -> Point:
        """Draw a good row of a source that is believed, and change some of its parameters."""
        believed = [model for model, belief in zip(self._models, self._beliefs, strict=True) if belief > 0]
        model = believed[int(self._rng.integers(len(believed)))]
        point, sizes = list(model.good[int(self._rng.choice(len(model.good), p=model.shares))]), self._lattice.sizes
        for axis in np.flatnonzero(self._rng.random(len(point)) < MUTATED):
            step = int(self._rng.choice(STEPS, p=STEP_SHARES))
            ordered = self._lattice.ordered[axis]
            moved = (
                min(max(point[axis] + step, 0), sizes[axis] - 1) if ordered else int(self._rng.integers(sizes[axis]))
            )
            point[axis] = moved
        return tuple(point)

    def _guide_strategy(self) -> None:
        """Give the strategy its first mean, spread and correlations: those of the good rows, as far as they are believed."""
        if self._strategy is None:
            return
        mean, covariance = self._good_rows()
        trust = self._trust()
        target = trust * mean + (1 - trust) * 0.5
        best = self._unit(self._ranked[0][2]) if self._complete else target
        self._strategy.begin(
            best + CENTRE_SHARE * (target - best), trust / 2 * covariance + (1 - trust / 2) * np.eye(len(mean))
        )

    def _good_rows(self) -> tuple[Array, Array]:
        """Return the mean of the good rows, and their covariance in units of the strategy's step."""
        rows = np.array([self._unit(point) for model in self._models for point in model.good])
        shares = np.concatenate(
            [model.shares * belief for model, belief in zip(self._models, self._beliefs, strict=True)]
        )
        shares = shares / shares.sum() if shares.any() else np.full(len(rows), 1 / len(rows))
        mean = shares @ rows
        centred = rows - mean
        covariance = (centred.T * shares) @ centred
        shrunk = (covariance + np.diag(np.diag(covariance))) / 2 + SPREAD**2 * np.eye(len(mean))
        return mean, shrunk / SIGMA**2

    def _counts(self, axis: int) -> Array:
        counts = super()._counts(axis)
        for model, share in zip(self._models, self._shown() * self._fade(), strict=True):
            weights = model.shares * share * COUNTED / len(self._models)
            np.add.at(counts, [point[axis] for point in model.good], weights)
        return counts


def guided_by(prior: Prior) -> Callable[[Lattice, Chooser, int, int], GuidedCmaEs]:
    """Return what makes the learner of a study with this prior."""
    return lambda lattice, chooser, seed, stream: GuidedCmaEs(lattice, chooser, stream, prior)


def _coefficients(said: Array, scores: Array, covariance: Array) -> Array:
    """Return the coefficient of each source: Bayesian regression of the trials' scores, and 0 where it would be negative.

    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, section 2.7.
    """
    found: Array = np.zeros(said.shape[1])
    left = list(range(said.shape[1]))
    while left:
        columns = said[:, left]
        solved = np.linalg.solve(covariance, np.column_stack([columns, scores]))
        precision = columns.T @ solved[:, :-1] + np.eye(len(left)) / DOUBT**2
        coefficients = np.linalg.solve(precision, columns.T @ solved[:, -1] + BELIEF / said.shape[1] / DOUBT**2)
        if (coefficients > 0).all():
            found[left] = coefficients
            break
        left = [axis for axis, each in zip(left, coefficients, strict=True) if each > 0]
    return found
