"""When a running trial is hopeless: its train loss at a fixed percent of the budget, against finished trials at that percent.

It is told what finished and asked about what runs. It stops nothing and stores nothing: `study.py` keeps its verdicts, the
loop acts on them. What a study says of its cuts afterwards is in `cuts.py`.

The final value is predicted by a bent line in the loss, corrected by the parameters (a ridge regression): two trials
with the same loss half way do not end alike if one has a long warmdown behind it, and the parameters say so without
anybody naming them. How wrong such predictions are is measured, not assumed: each finished trial is predicted by the
others, at every percent afresh, so a percent that says little condemns nobody. And one bad moment is not enough: late
bloomers exist, so a trial must be hopeless at two percents in a row.

Measured on 261 recorded trials, random's and auto's in random orders, by `benchmarks/pruning.py`: 35 % of the training
saved, none of the top quarter cut. If one percent were enough, 40 % and 0.5 %. In orders that nobody would choose (--variants),
by one parameter, up to 1.5 % of the top quarter are cut, and with all the best first 5 %. Where a good sampler proposes, little
is hopeless: of `auto`'s own trials, in their order, 3 % are saved.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from optimize.trial import Metric, TrialStatus
from storage import TrialRecord

Array = NDArray[np.float64]
Params = Mapping[str, Hashable]

FINISHED = 16  # complete trials at a percent before anything is condemned there
NEAREST = (
    60  # finished trials, of the most similar loss, that one is compared with: what others do teaches nothing here
)
TOP = 0.25  # what must not be lost
CAUTION = 1.64  # standard errors by which the top quarter is taken larger than it looks: it is known from few trials
DEVIATIONS = 2.0  # root mean square errors that the margin has at least: the largest of few errors is not large yet
IN_A_ROW = 2  # percents at which a trial must be hopeless
SPARED = 0.07  # share of the condemned that run on, to show how often the verdict is wrong
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)  # on what the parameters explain; the one that predicts best is taken
FAR = 3.0  # half spreads beyond the median where bad is bad: one loss of 40 must not bend the line for all others


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """Why a trial is hopeless, in the metric's own numbers."""

    metric: Metric
    percent: int
    loss: float
    expected: float
    margin: float  # by more it was never wrong for a good trial
    bound: float  # where the top quarter ends
    spared: bool  # it may run on all the same

    def __str__(self) -> str:
        side = "below" if self.metric.direction == "minimize" else "above"
        return (
            f"train loss {self.loss:.3f} at {self.percent} %: expected {self.metric.name} {self.expected:.3f} "
            f"+- {self.margin:.3f}, the top quarter is {side} {self.bound:.3f}"
        )


@dataclass(frozen=True, slots=True)
class _Finished:
    params: Params
    curve: Mapping[int, float]
    value: float  # the smaller the better


class Pruner:
    """One study's. The same seed and trials give the same verdicts, also after a restart."""

    def __init__(self, metric: Metric, seed: int) -> None:
        self._metric, self._seed = metric, seed
        self._sign = 1.0 if metric.direction == "minimize" else -1.0
        # kept sorted, so that a verdict among thousands of trials costs what it does among sixty
        self._values: list[float] = []
        self._at: dict[tuple[frozenset[str], int], list[tuple[float, float, int, _Finished]]] = {}
        self._cut = 0

    def completed(self, params: Params, curve: Mapping[int, float], value: float) -> None:
        """A trial ran to its end."""
        trial = _Finished(dict(params), dict(curve), self._sign * value)
        insort(self._values, trial.value)
        for percent, loss in curve.items():
            known = self._at.setdefault((frozenset(params), percent), [])
            insort(known, (loss, trial.value, len(self._values), trial))

    def cut(self) -> None:
        """A trial ended as hopeless. Its value is not known and never made up; it counts as none of the top quarter."""
        self._cut += 1

    def judge(self, number: int, params: Params, curve: Mapping[int, float]) -> PruneDecision | None:
        """The verdict on a running trial, by its curve so far; None if there is hope, or too little to tell."""
        latest = sorted(curve)[-IN_A_ROW:]
        looks = [self._look(number, params, percent, curve[percent]) for percent in latest]
        return looks[-1] if len(looks) == IN_A_ROW and all(looks) else None

    def _look(self, number: int, params: Params, percent: int, loss: float) -> PruneDecision | None:
        bound = self._bound()
        known = self._at.get((frozenset(params), percent), [])
        if bound is None or len(known) < FINISHED:
            return None
        here = bisect_left(known, loss, key=lambda each: each[0])
        around = [trial for *_, trial in known[max(here - NEAREST, 0) : here + NEAREST]]
        around.sort(key=lambda trial: (abs(trial.curve[percent] - loss), trial.curve[percent], trial.value))
        comparable = around[:NEAREST]
        losses = np.array([t.curve[percent] for t in comparable])
        values = np.array([t.value for t in comparable])
        good = values <= max(bound, float(np.median(values)))
        if loss <= np.median(losses[good]) or np.ptp(losses) == 0:
            return None  # its curve has nothing to do with it
        columns = _columns([*(t.params for t in comparable), params])
        expected, margin = _predict(np.append(losses, loss), columns, values, good)
        if not expected - margin > bound:
            return None
        spared = random.Random(f"{self._seed} spares {number}").random() < SPARED
        shown = (self._sign * expected, margin, self._sign * bound)
        return PruneDecision(self._metric, percent, loss, *shown, spared)

    def _bound(self) -> float | None:
        """The worst value that may be in the top quarter; None while that may be anyone's.

        Cut trials are counted: a quarter of those that were left to finish would be ever stricter, and feed on itself.
        """
        trials = len(self._values) + self._cut
        rank = math.ceil(TOP * trials + CAUTION * math.sqrt(TOP * (1 - TOP) * trials))
        return self._values[rank - 1] if 0 < rank < len(self._values) else None


def _predict(losses: Array, columns: Array, values: Array, good: NDArray[np.bool_]) -> tuple[float, float]:
    """The last one's expected value, and by how much expectations of good trials were too bad at most."""
    line = _scaled(losses)
    matrix = np.column_stack([np.ones_like(line), line, line**2, *_centred(columns).T])
    known, asked, wanted = matrix[:-1], matrix[-1], _capped(values)
    fits = [_fit(known, asked, wanted, penalty) for penalty in PENALTIES]
    _, expected, errors, reach = min(fits, key=lambda fit: fit[0])
    usual = math.sqrt(float(np.mean(errors[good] ** 2)))
    return expected, reach * max(float(np.max(errors[good])), DEVIATIONS * usual)


def _fit(known: Array, asked: Array, wanted: Array, penalty: float) -> tuple[float, float, Array, float]:
    """A ridge regression in which a constant and the loss are free.

    Returns its mean squared error when each is predicted by the others; what it expects of `asked`; the errors of those
    predictions in units of the noise; and that of `asked` in the same units (both grow away from what is known).
    """
    ridge = np.full(known.shape[1], penalty)
    ridge[:2] = 1e-9
    inverse = np.linalg.inv(known.T @ known + np.diag(ridge))
    weights = inverse @ known.T @ wanted
    left = np.maximum(1 - np.einsum("ij,jk,ik->i", known, inverse, known), 1e-3)
    errors = known @ weights - wanted
    squared = float(np.mean((errors / left) ** 2))
    return squared, float(asked @ weights), errors / np.sqrt(left), math.sqrt(1 + asked @ inverse @ asked)


def _columns(params: Sequence[Params]) -> Array:
    """Parameters as numbers: the rank of its value among those tried, or for what has no order one column a value."""
    columns = []
    for name in params[0]:
        values = [each[name] for each in params]
        if all(isinstance(value, int | float) for value in values):
            ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}  # type: ignore[type-var]
            columns.append([float(ranks[value]) for value in values])
        else:
            columns += [[float(value == choice) for value in values] for choice in sorted(set(values), key=repr)[1:]]
    return np.array(columns).reshape(len(columns), len(params)).T


def _centred(columns: Array) -> Array:
    return np.asarray((columns - columns.mean(axis=0)) / (columns.std(axis=0) + 1e-9))


def _scaled(losses: Array) -> Array:
    middle, half = _spread(losses[:-1])
    return np.asarray(np.clip((losses - middle) / half, -FAR, FAR))


def _capped(values: Array) -> Array:
    middle, half = _spread(values)
    return np.minimum(values, middle + FAR * half)


def _spread(numbers: Array) -> tuple[float, float]:
    """The median, and how far the best tenth is from it."""
    middle = float(np.median(numbers))
    return middle, max(middle - float(np.quantile(numbers, 0.1)), 1e-9)


@dataclass(frozen=True, slots=True)
class PruningSummary:
    """`ran_on` were condemned and spared, or faster than their end; `missed` of them came into the top quarter."""

    cut: int
    saved_s: float
    ran_on: int
    missed: int

    @property
    def at_most(self) -> float:
        """The share of the condemned that belong to the top quarter is below this, with a confidence of 95 %."""
        return upper_bound(self.missed, self.ran_on)


def summarize_pruning(records: Sequence[TrialRecord], metric: Metric) -> PruningSummary:
    """The top quarter is one of all that completed or was cut."""
    complete = [record for record in records if record.value is not None]
    cut = [record for record in records if record.status == TrialStatus.HOPELESS]
    ran_on = [record for record in complete if record.condemned]
    sign = 1.0 if metric.direction == "minimize" else -1.0
    ranked = sorted(sign * record.value for record in complete if record.value is not None)
    quarter = math.ceil((len(complete) + len(cut)) / 4)
    last = ranked[min(quarter, len(ranked)) - 1] if ranked else -math.inf
    missed = sum(sign * record.value <= last for record in ran_on if record.value is not None)
    whole = median([record.seconds or 0.0 for record in complete]) if complete else 0.0
    return PruningSummary(len(cut), sum(_saved_s(record, whole) for record in cut), len(ran_on), missed)


def _saved_s(record: TrialRecord, whole: float) -> float:
    """What was left of the trial: by its own pace, or up to the usual time, whichever is less."""
    seconds, reached = record.seconds or 0.0, max(record.curve, default=100) / 100
    return max(0.0, min(whole, seconds / reached) - seconds)


def upper_bound(hits: int, of: int, confidence: float = 0.95) -> float:
    """The largest share that makes so few hits at least as likely as 1 - confidence: Clopper and Pearson, 1934."""
    low, high = 0.0, 1.0
    if hits >= of:
        return 1.0
    for _ in range(50):
        share = (low + high) / 2
        likely = sum(_chance(k, of, share) for k in range(hits + 1))
        low, high = (share, high) if likely > 1 - confidence else (low, share)
    return high


def _chance(hits: int, of: int, share: float) -> float:
    """Of exactly so many; in logarithms, because the coefficients of a thousand trials are no floats."""
    ways = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    return math.exp(ways + hits * math.log(share) + (of - hits) * math.log1p(-share))
