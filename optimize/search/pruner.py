"""When a running trial is hopeless, and what pruning saved.

A trial's train loss at a percent of the budget is compared with that of finished trials at the same percent. `Pruner` learns
from finished trials and judges running ones. It stops nothing and stores nothing: `study/study.py` keeps its decisions, the
loop acts on them. `summarize_pruning` counts afterwards what they saved and how often they were wrong.

A ridge regression predicts the final value by a parabola in the loss, corrected by the parameters: two trials with the
same loss half way do not end alike if one still has a long warmdown before it. How wrong such predictions are is measured,
not assumed: each finished trial is predicted by the others, at every percent afresh, so a percent that says little prunes
nothing. Late bloomers exist, so a trial must be hopeless at two percents in a row.

`benchmarks/pruning.py` measured it on 261 recorded trials of the samplers random and auto, in random orders: it saves 35 % of
the training and prunes none of the top quarter. With one percent instead of two in a row, it saves 40 % and prunes 0.5 % of
the top quarter. In orders that nobody would choose (--variants) it prunes up to 1.5 % of the top quarter where trials are
sorted by one parameter, and 5 % with all the best first. A good sampler proposes little that is hopeless: of the trials
of `auto`, in their own order, it saves 3 %.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from optimize.trial import Metric, TrialStatus
from storage import TrialRecord

Array = NDArray[np.float64]
Params = Mapping[str, Hashable]

FINISHED = 16  # complete trials at a percent before anything is pruned there
NEAREST = 60  # finished trials of the most similar loss, with which a trial is compared; others say nothing about it
TOP = 0.25  # the share of the best that must not be lost
CAUTION = 1.64  # standard errors by which the top quarter is taken as larger, because few trials define it
DEVIATIONS = 2.0  # root mean square errors that the margin has at least: the largest of few errors is not large yet
IN_A_ROW = 2  # percents at which a trial must be hopeless
SPARED = 0.07  # share of the hopeless trials that run on, to show how often the decision is wrong
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)  # on what the parameters explain; the one that predicts best is taken
CONFIDENCE = 0.95  # with which the share of wrong decisions is bounded
FAR = 3.0  # half spreads beyond the median at which losses are clipped: one loss of 40 must not bend the line for all others


class Hopeless(Protocol):
    """A decision that a running trial is hopeless; its text says why."""

    @property
    def spared(self) -> bool:
        """Whether it runs on all the same."""


class Judge(Protocol):
    """What decides on a study's running trials."""

    def ended(self, record: TrialRecord) -> None:
        """Learn from a trial that has ended."""

    def judge(self, number: int, params: Params, curve: Mapping[int, float]) -> Hopeless | None:
        """Return why a running trial is hopeless by its curve so far; None if it is not, or if there is too little to tell."""


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """Why a trial is hopeless, in units of the metric."""

    metric: Metric
    percent: int
    loss: float
    expected: float
    margin: float  # no expectation of a good trial was too bad by more
    bound: float  # where the top quarter ends
    spared: bool  # runs on all the same

    def __str__(self) -> str:
        side = "below" if self.metric.direction == "minimize" else "above"
        return (
            f"train loss {self.loss:.3f} at {self.percent} %: expected {self.metric.name} {self.expected:.3f} "
            f"+- {self.margin:.3f}, the top quarter is {side} {self.bound:.3f}"
        )


class Pruner:
    """Judge the running trials of one study. The same seed and trials give the same decisions, also after a restart."""

    def __init__(self, metric: Metric, seed: int) -> None:
        self._metric, self._seed = metric, seed
        self._sign = metric.sign
        # Values are smaller the better. Both stay sorted, so that a decision among thousands of trials costs what it does
        # among sixty.
        self._values: list[float] = []
        # Names of parameters and a percent -> finished trials: loss there, value, order of ending, parameters.
        self._at: dict[tuple[frozenset[str], int], list[tuple[float, float, int, Params]]] = {}
        self._cut = 0

    def ended(self, record: TrialRecord) -> None:
        """Learn from a trial that completed, and count one that was pruned."""
        if record.value is not None:
            self.completed(record.params, record.curve, record.value)
        elif record.status == TrialStatus.HOPELESS:
            self.cut()

    def completed(self, params: Params, curve: Mapping[int, float], value: float) -> None:
        """Learn from a trial that ran to its end. `curve` maps percents of the budget to train losses."""
        params, value = dict(params), self._sign * value
        insort(self._values, value)
        for percent, loss in curve.items():
            known = self._at.setdefault((frozenset(params), percent), [])
            insort(known, (loss, value, len(self._values), params))

    def cut(self) -> None:
        """Count a trial that was pruned. Its value stays unknown; it counts as outside the top quarter."""
        self._cut += 1

    def judge(self, number: int, params: Params, curve: Mapping[int, float]) -> PruneDecision | None:
        """Return why a running trial is hopeless by its curve so far; None if it is not, or if there is too little to tell."""
        latest = sorted(curve)[-IN_A_ROW:]
        found = [self._judge_at(number, params, percent, curve[percent]) for percent in latest]
        return found[-1] if len(found) == IN_A_ROW and all(found) else None

    def _judge_at(self, number: int, params: Params, percent: int, loss: float) -> PruneDecision | None:
        bound = self._bound()
        known = self._at.get((frozenset(params), percent), [])
        if bound is None or len(known) < FINISHED:
            return None
        here = bisect_left(known, loss, key=lambda each: each[0])
        around = sorted(
            known[max(here - NEAREST, 0) : here + NEAREST], key=lambda each: (abs(each[0] - loss), *each[:2])
        )
        comparable = around[:NEAREST]
        losses = np.array([each[0] for each in comparable])
        values = np.array([each[1] for each in comparable])
        good = values <= max(bound, float(np.median(values)))
        if loss <= np.median(losses[good]) or np.ptp(losses) == 0:
            return None  # its loss is no worse than that of good trials, or says nothing
        columns = _columns([*(each[-1] for each in comparable), params])
        expected, margin = _predict(np.append(losses, loss), columns, values, good)
        if not expected - margin > bound:
            return None
        spared = random.Random(f"{self._seed} spares {number}").random() < SPARED
        shown = (self._sign * expected, margin, self._sign * bound)
        return PruneDecision(self._metric, percent, loss, *shown, spared)

    def _bound(self) -> float | None:
        """Return the worst value that may be in the top quarter; None while any value may be.

        Pruned trials count too: a quarter of the finished ones alone would get ever stricter, the more it prunes.
        """
        trials = len(self._values) + self._cut
        rank = math.ceil(TOP * trials + CAUTION * math.sqrt(TOP * (1 - TOP) * trials))
        return self._values[rank - 1] if 0 < rank < len(self._values) else None


def _predict(losses: Array, columns: Array, values: Array, good: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the last trial's expected value, and by how much the expectations of good trials were too bad at most."""
    line = _scaled(losses)
    matrix = np.column_stack([np.ones_like(line), line, line**2, *_centred(columns).T])
    known, asked, wanted = matrix[:-1], matrix[-1], _capped(values)
    fits = [_fit(known, asked, wanted, penalty) for penalty in PENALTIES]
    _, expected, errors, reach = min(fits, key=lambda fit: fit[0])
    usual = math.sqrt(float(np.mean(errors[good] ** 2)))
    return expected, reach * max(float(np.max(errors[good])), DEVIATIONS * usual)


def _fit(known: Array, asked: Array, wanted: Array, penalty: float) -> tuple[float, float, Array, float]:
    """Fit a ridge regression in which a constant and the loss are free.

    Returns its mean squared error when each trial is predicted by the others; what it expects of `asked`; the errors of
    those predictions in units of the noise; and that of `asked` in the same units. Both grow away from what is known.
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
    """Return parameters as numbers: a number's rank among the values tried; for other values a column for each of them."""
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
    """Return the median, and how far the best tenth is from it."""
    middle = float(np.median(numbers))
    return middle, max(middle - float(np.quantile(numbers, 0.1)), 1e-9)


@dataclass(frozen=True, slots=True)
class PruningSummary:
    """What pruning did in a study."""

    cut: int  # trials that were stopped
    saved_s: float
    ran_on: int  # hopeless trials that ran to their end: they were spared, or ended before they could be stopped
    missed: int  # of these, those in the top quarter

    @property
    def at_most(self) -> float:
        """Return an upper bound of the share of hopeless trials that belong to the top quarter, with CONFIDENCE."""
        return upper_bound(self.missed, self.ran_on)


def summarize_pruning(records: Sequence[TrialRecord], metric: Metric) -> PruningSummary:
    """Count what pruning did. The top quarter is one of all trials that completed or were stopped as hopeless."""
    complete = [record for record in records if record.value is not None]
    cut = [record for record in records if record.status == TrialStatus.HOPELESS]
    ran_on = [record for record in complete if record.condemned]
    sign = metric.sign
    ranked = sorted(sign * record.value for record in complete if record.value is not None)
    quarter = math.ceil((len(complete) + len(cut)) / 4)
    last = ranked[min(quarter, len(ranked)) - 1] if ranked else -math.inf
    missed = sum(sign * record.value <= last for record in ran_on if record.value is not None)
    whole = median([record.seconds or 0.0 for record in complete]) if complete else 0.0
    return PruningSummary(len(cut), sum(_saved_s(record, whole) for record in cut), len(ran_on), missed)


def _saved_s(record: TrialRecord, whole: float) -> float:
    """Return the seconds that were left of the trial: by its own pace, or up to the usual time, whichever is less."""
    seconds, reached = record.seconds or 0.0, max(record.curve, default=100) / 100
    return max(0.0, min(whole, seconds / reached) - seconds)


def upper_bound(hits: int, of: int) -> float:
    """Return the largest share that makes so few hits at least as likely as 1 - CONFIDENCE.

    The exact binomial bound of C. J. Clopper and E. S. Pearson, Biometrika 26(4), 1934.
    """
    low, high = 0.0, 1.0
    if hits >= of:
        return 1.0
    for _ in range(50):
        share = (low + high) / 2
        likely = sum(_chance(k, of, share) for k in range(hits + 1))
        low, high = (share, high) if likely > 1 - CONFIDENCE else (low, share)
    return high


def _chance(hits: int, of: int, share: float) -> float:
    """Return the probability of exactly so many; by logarithms, since the coefficients of a thousand trials overflow."""
    ways = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    return math.exp(ways + hits * math.log(share) + (of - hits) * math.log1p(-share))
