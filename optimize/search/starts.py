"""Known-good parameters fitted into a search space: what is tried before the sampler is asked, and what was moved.

It reads no file and no database; `study/resume.py` puts what is planned here into the study's queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optimize.trial import Value
from search_spaces import Rule, SearchSpace, SearchSpaceError, Start

SHOWN = 8  # of the names that a candidate has and the space has not


@dataclass(frozen=True, slots=True)
class Candidate:
    """Parameters that did well somewhere.

    Before it is fitted, names may be unknown to the space, and missing ones take the baseline's value.
    """

    title: str  # says where it comes from; once it is planned, what was moved as well
    source: str  # kept with the trial
    params: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Target:
    """What candidates are fitted into."""

    space: SearchSpace
    constants: Mapping[str, Value]
    baseline: Mapping[str, Value]

    def broken_rules(self, params: Mapping[str, Value]) -> tuple[Rule, ...]:
        """Return the rules that these parameters break, the baseline's where they name none. Raises SearchSpaceError."""
        return self.space.broken_rules({**self.baseline, **params}, self.constants)


@dataclass(frozen=True, slots=True)
class Starts:
    """Whole configurations to try, in this order, and a line for each candidate that was left out, with the reason."""

    planned: tuple[Candidate, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return a line for each candidate."""
        return (*(start.title for start in self.planned), *self.left_out)


def plan_starts(target: Target) -> Starts:
    """Plan the space's own starts, the best first. Raises SearchSpaceError with a line for each that itself breaks a rule."""
    numbered = list(enumerate(target.space.starts, 1))
    problems = [line for number, start in numbered for line in _broken(number, start, target)]
    if problems:
        raise SearchSpaceError(*problems)
    best_first = sorted(numbered, key=lambda each: (each[1].val_bpb is None, each[1].val_bpb))
    return fit([_candidate(*each) for each in best_first], target)


def fit(candidates: Iterable[Candidate], target: Target, most: int | None = None) -> Starts:
    """Plan the first `most` candidates that become different configurations of the space, none of them the baseline."""
    planned: list[Candidate] = []
    left_out: list[str] = []
    taken: dict[tuple[Value, ...], str] = {tuple(target.baseline.values()): "the baseline"}
    for each in candidates:
        if len(planned) == most:
            break
        params, what = fitted(each, target)
        if params is None:
            left_out.append(f"{each.title}: left out: {what}")
        elif (same := taken.setdefault(tuple(params[name] for name in target.baseline), each.title)) != each.title:
            left_out.append(f"{each.title}: {what}; the same as {same}, which is tried once")
        else:
            planned.append(Candidate(f"{each.title}: {what}", each.source, params))
    return Starts(tuple(planned), tuple(left_out))


def fitted(each: Candidate, target: Target) -> tuple[dict[str, Value] | None, str]:
    """Return the configuration and what was moved, or None and why there is none."""
    space = target.space
    given = {name: value for name, value in each.params.items() if name in space.names}
    whole = {**target.baseline, **given}
    try:
        nearest, _ = space.nearest(whole)
        params = space.nearest_feasible(whole, target.constants)
    except SearchSpaceError as error:
        return None, error.problems[0]
    if params is None:
        return None, "no configuration near it keeps every rule"
    moved = [f"{name} {whole[name]!r} -> {params[name]!r}" for name in space.names if params[name] != whole[name]]
    notes = [", ".join(moved) or "as it is"]
    if params != nearest:
        notes.append("moved on to keep every rule")
    if len(given) < len(space.names):
        notes.append("the rest as in the baseline")
    if unknown := sorted(set(each.params) - set(given)):
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        notes.append(f"without {', '.join(unknown[:SHOWN])}{more}, no parameter here")
    return params, "; ".join(notes)


def _candidate(number: int, start: Start) -> Candidate:
    measured = "" if start.val_bpb is None else f", val_bpb {start.val_bpb!r}"
    source = f"{start.source}{measured}{f' on {start.script}' if start.script else ''}"
    return Candidate(f"start {number} ({source})", source, start.params)


def _broken(number: int, start: Start, target: Target) -> list[str]:
    where = f"{target.space.path}: start {number}"
    try:
        broken = target.broken_rules(start.params)
    except SearchSpaceError as error:
        return [f"{where}: {problem}" for problem in error.problems]
    return [
        f"{where}: breaks the rule {rule.text} ({rule.why}). Correct it, or leave the starts out: --no-starts."
        for rule in broken
    ]
