"""What the model is told: the space, the trials so far, and what the sampler would try next.

Nothing else leaves the machine: no paths, no host names, no log, no reason of a failure. docs/advisor.md shows an example.
Give the text a new VERSION when you change it.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean

from optimize.advisor.answer import Proposal
from optimize.advisor.client import Message
from optimize.trial import Metric, Value
from search_spaces import SearchSpace, SearchSpaceError
from storage import TrialRecord, one_line

VERSION = 1
BEST, LAST, RUNNING = 10, 15, 16  # trials that are shown
ENOUGH, LATEST = 10, 1_000  # trials from which effects are computed: at least, and at most
COMMENT = 120  # characters

_SYSTEM = """\
You help to tune the constants of a machine-learning training script. A trial trains once with one configuration and \
ends with one number. A sampler proposes most trials; now and then you are asked. Propose configurations that you expect \
to be better than the best so far, or that settle a question that matters, by what you know of training neural networks \
and by what the trials show.
Every value must be one of the parameter's choices, as written. Break no rule. Never repeat a configuration that was \
tried or is running. A parameter that you leave out has its baseline value.
Answer with JSON and nothing else, the most promising proposal first: {"proposals": [{"NAME": value, ...}, ...]}"""


@dataclass(frozen=True, slots=True)
class Brief:
    """What every question about a study begins with. `constants` are those that its rules name."""

    metric: Metric
    space: SearchSpace
    baseline: Mapping[str, Value]
    constants: Mapping[str, Value] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)  # the script's, on the lines of the parameters


@dataclass(frozen=True, slots=True)
class StudyView:
    """The study as it is when a question is asked."""

    records: Sequence[TrialRecord]  # finished, by number
    running: Sequence[Mapping[str, Value]] = ()
    sampler_next: Mapping[str, Value] | None = None  # what it would propose now; None if it does not learn


def render_question(
    brief: Brief, view: StudyView, wanted: int, refused: Sequence[tuple[Proposal, str]] = ()
) -> list[Message]:
    """Return the messages of one question, which asks for `wanted` proposals.

    `refused` are proposals of the last answer, each with the reason.
    """
    metric, records = brief.metric, view.records
    ranked = sorted((r for r in records if r.value is not None), key=lambda r: metric.sign * (r.value or 0.0))
    parts = [
        f"Metric: {one_line(metric.name, 60)}, {metric.direction} it.",
        _part("Parameters: choices in their order, baseline", (brief_line(brief, name) for name in brief.space.names)),
        _part("Rules", (f"{rule.text}  ({one_line(rule.why, COMMENT)})" for rule in brief.space.rules)),
        _part("Constants in the rules", (f"{name} = {_json(value)}" for name, value in brief.constants.items())),
        _part("Best trials, as differences to the baseline", (trial_line(r, brief) for r in ranked[:BEST])),
        _part("Last trials", (trial_line(r, brief) for r in records[-LAST:])),
        _part("Running", (_json(differences(each, brief)) for each in view.running[:RUNNING])),
        _part(
            "How much of the differences in rank each parameter explains alone, and its best choice so far",
            (f"{name}: {share:.0%}, {_json(best)}" for name, share, best in effects(records, brief)),
        ),
        _part(
            "The sampler would try next", [_json(differences(view.sampler_next, brief))] if view.sampler_next else []
        ),
        _part("Refused of your last answer", (f"{_json(p)}: {one_line(why, 300)}" for p, why in refused)),
        f"Give {wanted} proposal{'s' if wanted > 1 else ''}.",
    ]
    user = "\n\n".join(part for part in parts if part)
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": user}]


def brief_line(brief: Brief, name: str) -> str:
    """Return `DEPTH: [2, 3, 4], baseline 2  (number of layers)`."""
    parameter, comment = brief.space[name], one_line(brief.comments.get(name, ""), COMMENT)
    choices = f"{name}: {_json(parameter.choices)}, baseline {_json(brief.baseline[name])}"
    return choices + (f"  ({comment})" if comment else "")


def trial_line(record: TrialRecord, brief: Brief) -> str:
    """Return `#12 {"DEPTH": 3} 2.101234`; without a value, how the trial ended."""
    ending = f"{record.value:.6f}" if record.value is not None else record.status or record.state.lower()
    return f"#{record.number} {_json(differences(_decoded(record, brief.space), brief))} {ending}"


def differences(params: Mapping[str, object], brief: Brief) -> dict[str, object]:
    """Return the parameters in which a trial differs from the baseline, without those of another space."""
    return {name: params[name] for name in brief.space.names if name in params and params[name] != brief.baseline[name]}


def effects(records: Sequence[TrialRecord], brief: Brief) -> list[tuple[str, float, Value]]:
    """Return each parameter's name, the share of the variance of the trials' ranks that it explains, and its best choice.

    The share is the epsilon squared of a one-way analysis of variance (T. L. Kelley, 1935); parameters at or below 0 are
    left out. Bad parameters rank last. Each parameter is taken alone, so this is a hint, not an importance.
    """
    judged = [
        r for r in records[-LATEST:] if r.state in ("COMPLETE", "PRUNED") and r.params.keys() >= set(brief.space.names)
    ]
    if len(judged) < ENOUGH:
        return []
    rated = [inf if r.value is None else brief.metric.sign * r.value for r in judged]
    ordered = sorted(rated)
    ranks = [
        (bisect_left(ordered, each) + bisect_right(ordered, each)) / 2 for each in rated
    ]  # equal ones share theirs
    found = []
    for parameter in brief.space.parameters:
        groups: dict[object, list[float]] = {}
        for rank, record in zip(ranks, judged, strict=True):
            groups.setdefault(record.params[parameter.name], []).append(rank)
        share = _explained(list(groups.values()))
        if share > 0:
            best = min(groups, key=lambda choice: fmean(groups[choice]))
            found.append((parameter.name, share, _decode(parameter.name, best, brief.space)))
    return sorted(found, key=lambda effect: -effect[1])


def _explained(groups: Sequence[Sequence[float]]) -> float:
    ranks = [rank for group in groups for rank in group]
    mean, within = fmean(ranks), sum((rank - fmean(group)) ** 2 for group in groups for rank in group)
    total, free = sum((rank - mean) ** 2 for rank in ranks), len(ranks) - len(groups)
    if not total or free < 1 or len(groups) < 2:
        return 0.0
    return 1 - within / free * (len(ranks) - 1) / total


def _decoded(record: TrialRecord, space: SearchSpace) -> dict[str, object]:
    return {name: _decode(name, record.params[name], space) for name in space.names if name in record.params}


def _decode(name: str, stored: object, space: SearchSpace) -> Value:
    try:
        return space[name].decode(stored)  # type: ignore[arg-type]
    except SearchSpaceError:  # of an older space
        return str(stored)


def _part(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return f"{title}:\n{body}" if body else ""


def _json(value: object) -> str:
    return json.dumps(value, default=str)
