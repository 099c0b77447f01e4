"""What campaigns of real training say: the best value after so many trainings, how many times fewer are needed, what was cut.

Not a benchmark itself: `real_search.py` prints it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from real_campaigns import Spent  # isort: skip  (sets threads before numpy)
import numpy as np

MARKS = (5, 10, 15, 20, 25, 30, 40)
FIRST_RATIO = 15  # earlier marks hang on the first few draws
OVERHEAD = 0.08  # of a training, for each trial that is started: imports and evaluation
RESAMPLES = 2_000


@dataclass
class Compared:
    """The campaigns under one budget: arm -> one for each seed. The first arm is the reference."""

    budget: str
    found: dict[str, list[list[Spent]]] = field(default_factory=dict)

    def curves(self, overhead: float) -> dict[str, np.ndarray]:
        """Return the best value after each tenth of a training, of shape (seeds, tenths)."""
        return {arm: np.array([_curve(each, overhead) for each in spent]) for arm, spent in self.found.items()}


@dataclass(frozen=True)
class Ratio:
    """How many times fewer trainings an arm needs for what the reference has at a mark."""

    trainings: float  # that the arm needs
    ratio: float
    resampled: np.ndarray  # ratios of resampled seeds
    swapped: (
        np.ndarray
    )  # ratios where arm and reference are swapped in half of the seeds: what equal searches would show

    def __str__(self) -> str:
        low, high = np.quantile(self.resampled, [0.05, 0.95])
        return f"{self.ratio:.2f}, {low:.2f} to {high:.2f}, p {self.p:.3f}"

    @property
    def p(self) -> float:
        """The share of swaps with as large a ratio."""
        return float(np.mean(self.swapped >= self.ratio - 1e-9))


Key = tuple[str, int, float]  # arm, mark, overhead


def _curve(spent: Sequence[Spent], overhead: float) -> list[float]:
    found, used, best, ends = [], 0.0, float("inf"), []
    for each in spent:
        used += each.share + overhead
        best = min(best, float("inf") if each.value is None else each.value)
        ends.append((used, best))
    for tenth in range(1, 10 * MARKS[-1] + 1):
        found.append(min((value for end, value in ends if end <= tenth / 10 + 1e-9), default=float("inf")))
    return found


def needed(mean: np.ndarray, value: float) -> float:
    """Return the trainings until a mean curve has this value; a tenth more than there are where it never has."""
    reached = np.flatnonzero(mean <= value)
    return float(reached[0] + 1 if len(reached) else len(mean) + 1) / 10


def ratio_at(mark: int, reference: np.ndarray, arm: np.ndarray, rng: np.random.Generator) -> Ratio:
    """Return the ratio for curves of shape (seeds, tenths).

    At the last mark equal searches show more than 1, since an arm that never arrives counts as if it arrived just after the end.
    """
    seeds = len(arm)
    picks = [rng.integers(seeds, size=seeds) for _ in range(RESAMPLES)]
    resampled = [_ratio(mark, reference[pick].mean(axis=0), arm[pick].mean(axis=0))[1] for pick in picks]
    swapped = []
    for _ in range(RESAMPLES):
        swap = rng.integers(2, size=(seeds, 1)).astype(bool)
        one, other = np.where(swap, arm, reference), np.where(swap, reference, arm)
        swapped.append(_ratio(mark, one.mean(axis=0), other.mean(axis=0))[1])
    trainings, ratio = _ratio(mark, reference.mean(axis=0), arm.mean(axis=0))
    return Ratio(trainings, ratio, np.array(resampled), np.array(swapped))


def _ratio(mark: int, reference: np.ndarray, arm: np.ndarray) -> tuple[float, float]:
    value = reference[10 * mark - 1]
    trainings = needed(arm, value)
    return trainings, needed(reference, value) / trainings


def show(compared: Compared, marks: Sequence[int]) -> dict[Key, Ratio]:
    """Print the tables of one budget; return the ratios."""
    _show_cut(compared)
    found = {}
    rng = np.random.default_rng(zlib.crc32(compared.budget.encode()))
    for overhead in (0.0, OVERHEAD):
        curves = compared.curves(overhead)
        first, *arms = curves
        print(f"\n{compared.budget}, {len(curves[first])} seeds, {overhead:.0%} of a training for each start")
        _show_values(curves, marks)
        for arm in arms:
            cells = []
            for mark in (mark for mark in marks if mark >= FIRST_RATIO):
                found[arm, mark, overhead] = each = ratio_at(mark, curves[first], curves[arm], rng)
                cells.append(f"{mark}: {each.trainings:.1f} ({each})")
            if cells:
                print(f"{arm}: trainings for what {first} has after ... (ratio, 90 %)  " + "  ".join(cells))
    return found


def _show_values(curves: Mapping[str, np.ndarray], marks: Sequence[int]) -> None:
    reference = next(iter(curves.values()))
    print(f"{'best after so many':24}" + "".join(f"{mark:>24}" for mark in marks))
    for arm, curve in curves.items():
        with np.errstate(invalid="ignore"):  # before the first trial has ended both are infinite
            gaps = curve - reference
        ends = [10 * mark - 1 for mark in marks]
        cells = [f"{curve[:, end].mean():.4f} {gaps[:, end].mean():+.4f}+-{_error(gaps[:, end]):.4f}" for end in ends]
        print(f"{arm:24}" + "".join(f"{cell:>24}" for cell in cells))


def _error(gaps: np.ndarray) -> float:
    return float(gaps.std(ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")


def _show_cut(compared: Compared) -> None:
    for arm, campaigns in compared.found.items():
        cut = sum(each.share < 1 for spent in campaigns for each in spent)
        good = [top_tenth_cut(spent) for spent in campaigns]
        if cut:
            started = sum(map(len, campaigns))
            print(f"{compared.budget}, {arm}: {cut} of {started} trials cut; of the best tenth of each campaign {good}")


def top_tenth_cut(spent: Sequence[Spent]) -> int:
    """Return how many trials were cut that would have been among the best tenth of the campaign's."""
    values = sorted(each.at_its_end for each in spent if each.at_its_end is not None)
    limit = values[math.ceil(len(values) / 10) - 1] if values else -math.inf
    return sum(each.share < 1 and each.at_its_end is not None and each.at_its_end <= limit for each in spent)


def show_pooled(by_budget: Sequence[Mapping[Key, Ratio]]) -> None:
    """Print the geometric mean of the ratios, and the mean of the trainings, over the budgets."""
    for key in dict.fromkeys(key for each in by_budget for key in each):
        each = [found[key] for found in by_budget if key in found]
        if len(each) > 1:
            arm, mark, overhead = key
            trainings = float(np.mean([one.trainings for one in each]))
            mean = Ratio(
                trainings,
                float(_geometric([one.ratio for one in each])),
                _geometric([one.resampled for one in each]),
                _geometric([one.swapped for one in each]),
            )
            print(f"{arm}, {len(each)} budgets, after {mark}, {overhead:.0%}: {trainings:.1f} ({mean})")


def _geometric(values: Sequence[float] | Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.exp(np.mean(np.log(np.array(values)), axis=0)))
