"""Where the best trial lies at an end of its choices, so that better ones may lie beyond; and which choices those could be.

Of many parameters, the best of a few trials lies at some end by luck alone. So a parameter counts only if trials were the better,
the nearer to that end they were, and the more surely the more such parameters there are. Nothing is written or shown here.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean

from optimize.config.space_fit import with_baselines
from optimize.errors import OptimizeError
from optimize.script.load_workload import load_workload
from optimize.study.best import BestTrial
from optimize.study.comparable import ABOUT, CONSTANTS, FINGERPRINT, constants_of, device_batch_of
from optimize.study.kept_space import kept_space
from optimize.study.stopping import COUNTED
from optimize.text import short
from optimize.trial import BASELINE, Metric, Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError, further_choices, load_space, widened
from storage import Stored, TrialRecord

LEAST = 6  # ended trials, or all that the space has: fewer say nothing of where to look
BY_LUCK = 0.5  # how many ends at most, on average, would be named if no parameter mattered
RECENT = 1_000  # trials that are looked at
MORE, LOOKED_AT = 2, 8  # choices beyond an end: that are proposed, that are compared with the rules
SHOWN = 12  # choices


@dataclass(frozen=True, slots=True)
class Edge:
    """An ordered parameter whose best value is its smallest or largest choice, and the choices beyond."""

    parameter: Parameter  # as it is
    value: Value  # of the best trial
    further: tuple[Value, ...]  # the nearest first
    wider: Parameter  # with these as well

    def __str__(self) -> str:
        numbers = [each for each in self.parameter.choices if isinstance(each, int | float)]
        which = "largest" if self.value == max(numbers) else "smallest"
        now, wider = _listed(self.parameter), _listed(self.wider)
        end = f"{self.parameter.name} = {short(self.value)} is the {which} of {now}"
        return f"{end}: better ones may lie beyond. Wider: {wider}"


def find_edges(
    best: BestTrial | None,
    records: Sequence[TrialRecord],
    choices: Mapping[str, Sequence[Stored]],
    attrs: Mapping[str, object],
    metric: Metric,
) -> list[Edge]:
    """Return the parameters at an end of whose choices the best trial lies, as far as the records speak for it.

    `attrs` are the study's. None where the best is the baseline, where hardly a trial has ended, and where the study's search
    space is not known.
    """
    if best is None or is_baseline(best.record, attrs) or not attrs.get(FINGERPRINT):
        return []
    ended = [r for r in records if r.state in COUNTED and r.params][-RECENT:]
    if len(ended) < min(LEAST, math.prod(max(len(each), 1) for each in choices.values())):
        return []
    ordered = [p for name, each in choices.items() if (p := Parameter(name, tuple(each))).ordered]
    at_end = [p for p in ordered if best.record.params.get(p.name) in (p.choices[0], p.choices[-1])]
    found = []
    for parameter in at_end:
        value = best.record.params[parameter.name]
        if _by_luck(parameter, best.record, ended, metric) <= BY_LUCK / len(at_end):
            found.append(_further(parameter, value, further_choices(parameter, value, LOOKED_AT)))
    return [
        _further(edge.parameter, edge.value, edge.further[:MORE]) for edge in _feasible(found, attrs) if edge.further
    ]


def space_of(attrs: Mapping[str, object]) -> tuple[SearchSpace, Mapping[str, Value]] | None:
    """Return the search space that a study with these attributes began with, and its scripts' constants, as far as they are here.

    None if the space is neither here nor kept by the study, or has changed.
    """
    about, stored = attrs.get(ABOUT), attrs.get(FINGERPRINT)
    if not isinstance(about, dict) or not isinstance(stored, dict):
        return None
    constants: Mapping[str, Value] = {}
    try:
        space: SearchSpace | None = load_space(str(about.get("search_space", "")))
    except SearchSpaceError:
        space = kept_space(attrs)
    if space is None:
        return None
    with suppress(OptimizeError, SearchSpaceError):
        workload = load_workload(str(about.get("workload", ""))).with_space(space)
        constants = constants_of({CONSTANTS: attrs.get(CONSTANTS)}, workload, {})
    batch = device_batch_of(attrs)
    whole = with_baselines(space, {**constants, batch.name: batch.own} if batch else constants)
    return (whole, constants) if whole.fingerprint() == stored.get("search space") else None


def is_baseline(best: TrialRecord, attrs: Mapping[str, object]) -> bool:
    """Return whether a trial is the baseline, or has its parameters; `attrs` are the study's."""
    return best.kind == "baseline" or (bool(best.params) and best.params == attrs.get(BASELINE))


def _by_luck(parameter: Parameter, best: TrialRecord, ended: Sequence[TrialRecord], metric: Metric) -> float:
    """Return how probable it is that trials are better towards the best's end by so much, if the parameter is of no effect.

    It is Spearman's rank correlation, whose variance is 1 / (n - 1), against the normal distribution. The best trial itself is
    left out, because it was chosen. A pruned trial is worse than any with a value. 0 where nobody looked elsewhere any more.
    """
    others = [r for r in ended if r.number != best.number and r.params.get(parameter.name) in parameter.choices]
    if len(others) < 2:
        return 1.0
    away = [abs(_place(parameter, r) - _place(parameter, best)) for r in others]
    loss = [math.inf if r.value is None else metric.sign * r.value for r in others]
    if not any(away):
        return 0.0
    return 1 - NormalDist().cdf(_correlation(_ranks(away), _ranks(loss)) * math.sqrt(len(others) - 1))


def _place(parameter: Parameter, record: TrialRecord) -> int:
    return parameter.choices.index(record.params[parameter.name])


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value; equal ones share their mean rank."""
    ordered = sorted(values)
    return [(bisect_left(ordered, each) + bisect_right(ordered, each) - 1) / 2 for each in values]


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    mean_one, mean_other = fmean(one), fmean(other)
    spread = math.hypot(*(a - mean_one for a in one)) * math.hypot(*(b - mean_other for b in other))
    return sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True)) / spread if spread else 0.0


def _further(parameter: Parameter, value: Value, further: tuple[Value, ...]) -> Edge:
    return Edge(parameter, value, further, widened(parameter, value, further))


def _feasible(edges: Sequence[Edge], attrs: Mapping[str, object]) -> list[Edge]:
    """Return the edges without choices that the space's rules always forbid, as far as its rules are known here."""
    known = space_of(attrs) if edges else None
    if known is None or not known[0].rules:
        return list(edges)
    space, constants = known
    wider = {e.parameter.name: widened(space[e.parameter.name], e.value, e.further) for e in edges}
    space = replace(space, parameters=tuple(wider.get(p.name, p) for p in space.parameters))
    try:
        dead = set(space.dead_choices(constants))
    except SearchSpaceError:  # the script is not here, or has lost a constant
        return list(edges)
    alive = ((e, tuple(each for each in e.further if (e.parameter.name, each) not in dead)) for e in edges)
    return [_further(edge.parameter, edge.value, further) for edge, further in alive]


def _listed(parameter: Parameter) -> str:
    shown = [short(each) for each in parameter.choices]
    half = SHOWN // 2
    return ", ".join(shown if len(shown) <= SHOWN else [*shown[:half], "...", *shown[-half:]])
