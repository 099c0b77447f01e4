"""Two small models of which trials fit a device's memory, each with its uncertainty. `memory.py` feeds them.

`Affine` gets a score that peak memory is nearly affine to. `Multiplicative` gets only the parameters, and so learns less.
Neither knows a parameter's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MISPRINT = 0.01  # how often a label says nothing: a neighbour on the GPU, a device of another size
BLUR = 0.03  # how far, relative, memory lies from the expression: 9 of 10 misjudged published trials lie within
REACH, STEP = log(200), 0.02  # of the grid of scores around the first one, and its step, as logarithms
FIXED = np.arange(0, 0.9, 0.05)  # how large a share of all memory may not depend on the score
USABLE = np.arange(0.88, 1.001, 0.02)  # of what the device reports, before an allocation fails: CUDA keeps some
USUALLY, GIVE = 0.95, 0.03
PEAKS = 20  # the misfit of an expression does not average out: more peaks than that count like that many
PRIOR = 4  # BLUR is believed as if it had been measured on that many peaks


class Affine:
    """Find the score at which memory is full: a posterior by Bayes' rule on a grid.

    Whether a trial fitted moves it by a logistic curve as wide as BLUR. Peaks move it through a line, memory = fixed part +
    slope x score; the fixed part, and the share of the device that can be used, are summed over.
    """

    def __init__(self, score: float) -> None:
        self._first = score
        self._limits: Array = log(score) + np.arange(-REACH, REACH + STEP, STEP)
        self._labels: Array = np.zeros(len(self._limits))  # log likelihood
        self._sums: Array = np.zeros(6)  # over the peaks: all that the line's likelihood needs
        self._informed = False
        self._survival: Array | None = None  # the probability that the limit lies above each of the grid

    def learned(self, features: Sequence[float], fitted: bool, share: float) -> None:
        """Take in one trial. `share` is its peak relative to the device's memory, 0 where it is not known."""
        (score,) = features
        above = _logistic((self._limits - log(score)) / BLUR * _LOGISTIC)
        self._labels += np.log(MISPRINT + (1 - 2 * MISPRINT) * (above if fitted else 1 - above))
        if share:
            self._sums += (1, 1 / share, score / share, 1 / share**2, score / share**2, (score / share) ** 2)
        self._informed |= not fitted or share > 0
        self._survival = None

    def probability(self, features: Sequence[float]) -> float:
        """Return the probability that the limit lies above this score."""
        if not self._informed:
            return 1.0
        if self._survival is None:
            self._survival = self._posterior()
        return float(np.interp(log(features[0]), self._limits, self._survival))

    def interval(self, mass: float) -> tuple[float, float]:
        """Return the scores between which the limit lies with probability `mass`."""
        survival = self._posterior()
        tail = (1 - mass) / 2
        low, high = (float(np.interp(-p, -survival, self._limits)) for p in (1 - tail, tail))
        return exp(low), exp(high)

    def __str__(self) -> str:
        if not self._informed:
            return "nothing has come near the limit"
        low, high = (score / self._first for score in self.interval(0.9))
        return f"it is full at {low:.2f} to {high:.2f} times what the first trial needed (90 % sure)"

    def _posterior(self) -> Array:
        likelihood = self._labels + self._peaks()
        mass = np.exp(likelihood - likelihood.max())
        mass = mass / mass.sum()
        return np.asarray(1 - np.cumsum(mass) + mass / 2)  # each point stands for half a step on either side of it

    def _peaks(self) -> Array | float:
        """Return the log likelihood of the peaks for each limit: relative residuals with an unknown spread (Student's t)."""
        count, q, qs, qq, qqs, qqss = self._sums
        if not count:
            return 0.0
        usable, fixed = USABLE[:, None, None], FIXED[:, None]
        slope = (1 - fixed) / np.exp(self._limits)
        squares = usable**2 * (fixed**2 * qq + 2 * fixed * slope * qqs + slope**2 * qqss)
        residuals = np.maximum(count - 2 * usable * (fixed * q + slope * qs) + squares, 0.0)
        weight = min(count, PEAKS)
        spread = PRIOR * BLUR**2 + residuals * (weight / count)
        likelihood = -(PRIOR + weight) / 2 * np.log(spread) - ((usable - USUALLY) / GIVE) ** 2 / 2
        top = likelihood.max()
        return np.asarray(top + np.log(np.exp(likelihood - top).sum(axis=(0, 1))))


SPREAD = 0.15  # how far, as a logarithm, memory lies from a product of powers
POWER = 2.0  # parameters act on memory by a power of about that size, or by none
ANY = 3.0  # as a logarithm, how far from the limit the middle of the space may lie


class Multiplicative:
    """Model memory as a product of powers of the parameters, whose logarithm is linear.

    Whether trials fitted makes it a logistic regression, peaks make it an ordinary one. Laplace's approximation gives its
    uncertainty: C. M. Bishop, Pattern Recognition and Machine Learning, Springer 2006, chapter 4.5.
    """

    def __init__(self, features: int) -> None:
        self._rows: list[Array] = []
        self._fitted: list[bool] = []
        self._shares: list[float] = []
        self._precision: Array = np.diag([1 / POWER**2] * features + [1 / ANY**2])
        self._weights: Array = np.zeros(features + 1)
        self._covariance: Array | None = None

    def learned(self, features: Sequence[float], fitted: bool, share: float) -> None:
        """Take in one trial. `share` is its peak relative to the device's memory, 0 where it is not known."""
        self._rows.append(np.append(features, 1.0))
        self._fitted.append(fitted)
        self._shares.append(share)
        self._covariance = None

    def probability(self, features: Sequence[float]) -> float:
        """Return the probability that memory stays below the limit."""
        if all(self._fitted) and not any(self._shares):
            return 1.0
        if self._covariance is None:
            self._fit()
        assert self._covariance is not None
        row = np.append(features, 1.0)
        mean, variance = float(row @ self._weights), float(row @ self._covariance @ row)
        return float(_logistic(-mean * _LOGISTIC / sqrt(variance + SPREAD**2)))

    def __str__(self) -> str:
        return "an expression `memory` in workload.toml would predict better what fits"

    def _fit(self) -> None:
        """Find the weights by Newton's method; its last curvature is the posterior's."""
        rows, fitted, shares = np.array(self._rows), np.array(self._fitted), np.array(self._shares)
        measured = shares > 0
        peaks = np.log(np.where(measured, shares, 1.0) / USUALLY)
        scale = _LOGISTIC / SPREAD
        for _ in range(40):
            z = rows @ self._weights
            full = _logistic(z * scale)
            slope = np.where(measured, (peaks - z) / SPREAD**2, scale * (~fitted - full))
            bend = np.where(measured, 1 / SPREAD**2, scale**2 * full * (1 - full))
            curvature = (rows.T * bend) @ rows + self._precision
            step = np.linalg.solve(curvature, rows.T @ slope - self._precision @ self._weights)
            self._weights = self._weights + np.clip(step, -1, 1)  # a full step may overshoot on so steep a curve
            if abs(step).max() < 1e-6:
                break
        self._covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)


_LOGISTIC = 1.702  # makes a logistic curve as wide as a normal one


def _logistic(x: Array | float) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))
