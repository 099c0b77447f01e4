"""Makes trials of one study into trials of another: which parameters fit the other search space, and what is kept.

Whether the values are comparable is decided in `comparable.py`. Nothing is written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimize.config.plan import Plan
from optimize.study.comparable import constants_of
from optimize.trial import BASELINE, TrialStatus, Value
from search_spaces import Parameter, SearchSpaceError, parse_expression
from storage import Stored, WholeTrial, origin_attrs


@dataclass(frozen=True, slots=True)
class Origin:
    """The study that trials come from: its name, its parameters with what its baseline had, and all constants of its scripts."""

    study: str
    baseline: Mapping[str, Any]
    constants: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class RetargetedTrials:
    """The trials for the new study, by their new numbers, and how many were left out for which reason."""

    trials: Sequence[WholeTrial]
    left_out: Mapping[str, int]

    @property
    def finished(self) -> int:
        return sum(trial.state != "WAITING" for trial in self.trials)

    @property
    def why_not(self) -> str:
        """Return the reasons in a line: `2 with DEPTH = 12, which is no choice now; 1 still running`."""
        return "; ".join(f"{count} {why}" for why, count in self.left_out.items())


class _Misfit(Exception):
    """Why a trial is not one of the new space, in a few words."""


def origin_of(study: str, attrs: Mapping[str, Any], plan: Plan) -> Origin:
    """Return the origin for a study with these attributes, whose scripts are the plan's."""
    constants = constants_of(attrs, plan.workload, plan.settings.constants)
    return Origin(study, attrs.get(BASELINE, {}), constants)


def retarget(
    trials: Sequence[WholeTrial], states: Collection[str], origin: Origin, plan: Plan, devices: Collection[str] = ()
) -> RetargetedTrials:
    """Return the trials of `origin` that are in one of these states and are configurations of the plan's search space.

    A trial that ran out of memory or time on a device that is not among `devices` is left out; without `devices`, it is kept.
    """
    space = plan.space
    fitting: list[tuple[WholeTrial, dict[str, Value]]] = []
    left_out: Counter[str] = Counter()
    for trial in trials:
        try:
            if trial.state not in states:
                raise _Misfit(_LEFT_OUT.get(trial.state, "that failed"))
            if devices:
                _refuse_limits_of_others(trial, devices)
            fitting.append((trial, _refit(trial.params, origin, plan)))
        except _Misfit as why:
            left_out[str(why)] += 1
    numbers = {trial.number: number for number, (trial, _) in enumerate(fitting)}
    moved = []
    for trial, params in fitting:
        attrs = _attrs(trial, origin.study, numbers, is_baseline=params == plan.baseline)
        moved.append(trial.moved(space.encode(params), space.stored_choices, attrs))
    return RetargetedTrials(moved, left_out)


def value_of(stored: Stored, parameter: Parameter) -> Value:
    """Return `stored`, of another search space or a table, as a value of the kind that `parameter` has.

    Raises SearchSpaceError if it is no such value.
    """
    if isinstance(parameter.choices[0], tuple) and isinstance(stored, str):
        return parse_expression(stored).evaluate({})
    return stored


_LIMITS: Mapping[str, str] = {TrialStatus.OUT_OF_MEMORY: "memory", TrialStatus.TIMED_OUT: "time"}
_LEFT_OUT = {"RUNNING": "still running", "WAITING": "waiting to be run"}


def _refuse_limits_of_others(trial: WholeTrial, devices: Collection[str]) -> None:
    what, ending = _LIMITS.get(str(trial.attrs.get("status", ""))), trial.attrs.get("ending")
    device = ending.get("device") if isinstance(ending, dict) else None
    if what and device and device not in devices:
        raise _Misfit(f"that ran out of {what} on {device}")


def _refit(params: Mapping[str, Stored], origin: Origin, plan: Plan) -> dict[str, Value]:
    """Return the trial's parameters in the new space. Raises _Misfit if that would not be the same training."""
    if params.keys() != origin.baseline.keys():
        raise _Misfit("of another program")
    # the script has it, and it is the script of the old study; where no parameter names its place, that study's baseline does
    fixed = {**origin.baseline, **plan.constants}
    for name in sorted(params.keys() - set(plan.space.names)):
        if not _same(params[name], fixed[name]):
            raise _Misfit(f"with {name} = {params[name]}, now fixed at {fixed[name]!r}")
    return {p.name: _choice(p, params, origin.constants) for p in plan.space.parameters}


def _choice(parameter: Parameter, params: Mapping[str, Stored], before: Mapping[str, Value]) -> Value:
    name = parameter.name
    try:
        value = value_of(params[name], parameter) if name in params else before[name]
    except SearchSpaceError:
        value = params[name]
    if value not in parameter:
        raise _Misfit(f"with {name} = {value!r}, which is no choice now")
    return next(choice for choice in parameter.choices if choice == value)


def _same(stored: Stored, constant: Value) -> bool:
    """Tell whether a stored choice is the constant's value; tuples are stored as text."""
    if isinstance(constant, tuple) and isinstance(stored, str):
        try:
            return parse_expression(stored).evaluate({}) == constant
        except SearchSpaceError:
            return False
    return stored == constant and isinstance(stored, bool) == isinstance(constant, bool)


def _attrs(trial: WholeTrial, study: str, numbers: Mapping[int | None, int], is_baseline: bool) -> dict[str, Any]:
    """Return its attributes with the new numbers, where it really ran, and whether it is the baseline here."""
    found = trial.attrs.get("origin")
    origin = found if isinstance(found, dict) else {}
    kind = str(origin.get("kind", ""))
    kind = "baseline" if is_baseline else "start" if kind == "baseline" else kind
    ran_here = trial.state == "WAITING"
    where = "" if ran_here else str(origin.get("taken_from") or f"study {study}, trial {trial.number}")
    return {
        **trial.attrs,
        **origin_attrs(
            kind,
            requeue_of=numbers.get(origin.get("requeue_of")),
            attempt=origin.get("attempt", 1),
            owner=str(origin.get("owner", "")),
            alone=origin.get("alone") is True,
            source=str(origin.get("source", "")),
            taken_from=where,
        ),
    }
