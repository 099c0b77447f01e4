"""The numbers behind every figure of a study: from trial records to histories, costs, curves, slices and noise.

All are pure functions. They take the records of any Optuna study, in any order, unfinished ones among them. Nothing is drawn
or read here, and no number is made up: a trial without a value has no point on the metric's axis.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean, median

from optimize.reporting.figures.style import in_order
from optimize.trial import Metric
from storage import Stored, TrialRecord

MOST_VALUES = 12  # of a parameter without listed choices; with more, it is drawn on an axis of numbers
DECADES = 1.5  # powers of ten that a parameter has to span for a logarithmic axis
Choices = Mapping[str, Sequence[Stored]]
"""Parameter -> its choices in the search space's order, tuples as text; no choices: a range of numbers, or not known."""

_NOT_YET = datetime.max.replace(tzinfo=UTC)


def ending_of(record: TrialRecord) -> str:
    """Return how a trial ended: its status, or for another program's trial and while it runs, Optuna's state in lower case."""
    return record.status or record.state.lower()


# --- best so far ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A trial that has ended, beside those that ended before it."""

    record: TrialRecord
    order: int  # of ending: 1 is the first
    best: float | None  # best value so far, this trial included
    improved: bool
    # what differs from the best before it: name -> (before, after); empty for the first trial with a value
    changed: Mapping[str, tuple[Stored, Stored]]

    @property
    def number(self) -> int:
        """Return the trial's number."""
        return self.record.number

    @property
    def value(self) -> float | None:
        """Return the trial's value."""
        return self.record.value

    @property
    def ending(self) -> str:
        """Return how the trial ended."""
        return ending_of(self.record)


@dataclass(frozen=True, slots=True)
class History:
    """All that a plot of an optimization history shows: every trial that has ended, the improvements, the baseline."""

    points: tuple[HistoryPoint, ...]  # by order of ending
    baseline: float | None

    @property
    def steps(self) -> tuple[HistoryPoint, ...]:
        """Return the improvements, the first value among them: each (order, best) is the corner of a stair."""
        return tuple(each for each in self.points if each.improved)

    @property
    def best(self) -> HistoryPoint | None:
        """Return the latest improvement."""
        return self.steps[-1] if self.steps else None


def history(records: Sequence[TrialRecord], metric: Metric) -> History:
    """Return the finished trials in the order in which they ended, as `results.tsv` lists them, with the best value so far."""
    ended = sorted((r for r in records if r.is_finished), key=lambda r: (r.finished or _NOT_YET, r.number))
    points: list[HistoryPoint] = []
    best: TrialRecord | None = None
    for order, record in enumerate(ended, 1):
        improved = record.value is not None and (
            best is None or best.value is None or metric.better(record.value, than=best.value)
        )
        changed = _changed(best, record) if improved and best else {}
        best = record if improved else best
        points.append(HistoryPoint(record, order, best.value if best else None, improved, changed))
    baseline = next((r.value for r in ended if r.kind == "baseline" and r.value is not None), None)
    return History(tuple(points), baseline)


def _changed(before: TrialRecord, after: TrialRecord) -> dict[str, tuple[Stored, Stored]]:
    names = {**before.params, **after.params}
    pairs = {name: (before.params.get(name), after.params.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# --- cost -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EndingCost:
    """What the trials of one ending cost."""

    ending: str
    trials: int
    hours: float  # of a device: a GPU, or a core


def cost(records: Sequence[TrialRecord], devices: float = 1.0) -> list[EndingCost]:
    """Return device-hours by ending, in the order of legends. A trial occupies so many `devices`, such as 2 GPUs or 0.5.

    Trials that were copied from another study cost this one nothing; running trials are not counted.
    """
    hours: dict[str, float] = defaultdict(float)
    trials: Counter[str] = Counter()
    for record in records:
        if record.is_finished and not record.taken_from:
            trials[ending_of(record)] += 1
            hours[ending_of(record)] += devices * (record.seconds or 0.0) / 3600
    return [EndingCost(ending, trials[ending], hours[ending]) for ending in in_order(trials)]


# --- learning curves --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The train loss of one trial at percents of its budget; for another program's trial, what it reported at its steps."""

    number: int
    ending: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]  # finite


def curves(records: Sequence[TrialRecord]) -> list[LearningCurve]:
    """Return the curve of every trial that has one, by number; running trials are among them."""
    found = []
    for record in sorted(records, key=lambda record: record.number):
        points = [(step, loss) for step, loss in sorted(record.curve.items()) if math.isfinite(loss)]
        if points:
            steps, losses = zip(*points, strict=True)
            found.append(LearningCurve(record.number, ending_of(record), steps, losses))
    return found


# --- one parameter at a time ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dot:
    """A completed trial on a slice: `at` is the index of its choice, or the number itself where there are no choices."""

    number: int
    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The metric over one parameter: what a slice plot shows."""

    name: str
    choices: tuple[Stored, ...]  # in the search space's order; the label of each index. Empty: `at` is a number
    dots: tuple[Dot, ...]
    medians: tuple[float | None, ...]  # one for each choice; None where no trial has completed
    counts: tuple[int, ...]  # completed trials with each choice
    logarithmic: bool = False  # without choices: the axis that suits the numbers

    def index(self, value: Stored) -> float | None:
        """Return where a value stands on this slice's axis; None if it is not on it."""
        if not self.choices:
            return _number(value)
        return next((float(i) for i, choice in enumerate(self.choices) if _same(choice, value)), None)


def slices(records: Sequence[TrialRecord], choices: Choices) -> list[Slice]:
    """Return one slice for each parameter, in the order of `choices`, then of appearance; of completed trials only.

    For a parameter without listed choices, its values are the choices, sorted, if they are few or not numbers.
    """
    complete = [record for record in records if record.value is not None]
    names = dict.fromkeys([*choices, *(name for record in complete for name in record.params)])
    return [_slice(name, complete, tuple(choices.get(name, ()))) for name in names]


def _slice(name: str, complete: Sequence[TrialRecord], listed: tuple[Stored, ...]) -> Slice:
    pairs = [(r.number, r.params[name], r.value) for r in complete if name in r.params and r.value is not None]
    choices = listed or _choices_of([value for _, value, _ in pairs])
    axis = Slice(name, choices, (), (), ())
    placed = [(number, axis.index(param), value) for number, param, value in pairs]
    dots = tuple(Dot(number, at, value) for number, at, value in placed if at is not None)
    groups = [[dot.value for dot in dots if dot.at == i] for i in range(len(choices))]
    medians = tuple(median(group) if group else None for group in groups)
    logarithmic = not choices and _spans_decades([dot.at for dot in dots])
    return Slice(name, choices, dots, medians, tuple(map(len, groups)), logarithmic)


def _choices_of(values: Sequence[Stored]) -> tuple[Stored, ...]:
    distinct = list(dict.fromkeys(values))
    numbers = {value: number for value in distinct if (number := _number(value)) is not None}
    if len(numbers) < len(distinct):
        return tuple(sorted(distinct, key=str))
    return tuple(sorted(numbers, key=lambda value: numbers[value])) if len(numbers) <= MOST_VALUES else ()


def _spans_decades(numbers: Sequence[float]) -> bool:
    return bool(numbers) and min(numbers) > 0 and math.log10(max(numbers) / min(numbers)) >= DECADES


def _number(value: Stored) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _same(one: Stored, other: Stored) -> bool:
    return (
        isinstance(one, bool) == isinstance(other, bool) and one == other
    )  # in Python 1 == True, but they are two choices


# --- noise ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noise:
    """How far values of equal parameters are apart."""

    deviation: float  # standard deviation, pooled over the parameters that were tried more than once
    groups: int  # such parameters
    trials: int  # completed trials with them


def noise(records: Sequence[TrialRecord]) -> Noise | None:
    """Return the noise among completed trials of equal parameters; None where nothing was tried twice.

    A study seldom repeats on purpose: replicates of the winners are in the child study of a confirmation.
    """
    groups: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(list)
    for record in records:
        if record.value is not None:
            groups[tuple(sorted((name, repr(value)) for name, value in record.params.items()))].append(record.value)
    repeated = [values for values in groups.values() if len(values) > 1]
    if not repeated:
        return None
    apart = math.hypot(*(value - fmean(values) for values in repeated for value in values))  # squares may overflow
    trials = sum(map(len, repeated))
    return Noise(apart / math.sqrt(trials - len(repeated)), len(repeated), trials)
