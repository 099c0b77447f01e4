"""Do two orders of the same configurations agree? Knows no study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
