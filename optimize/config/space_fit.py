"""Compares a search space with the script that it is for: types, baseline, rules. It finds every mistake and starts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optimize.config.settings import Settings
from optimize.script.workload import Workload
from optimize.trial import Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError


def with_baselines(space: SearchSpace, constants: Mapping[str, Value]) -> SearchSpace:
    """Return the space with the script's own value among the choices of each range."""
    own = ((p, constants.get(p.name) if p.ranged else None) for p in space.parameters)
    return replace(space, parameters=tuple(p if value is None else p.including(value) for p, value in own))


def misfits(parameter: Parameter, now: Value, settings: Settings, space: SearchSpace, workload: Workload) -> list[str]:
    """Return a line for each reason why the choices of a parameter do not fit what the script has now."""
    where = f"{space.path}: {parameter.name}"
    lines = [
        f"{where}: choice {choice!r} is not {_kind(now)}, the script has {parameter.name} = {now!r}. Use the script's type."
        for choice in _strange(parameter.choices, now)
    ]
    lines += [
        f"{where}: choice {choice!r}: {why}. Correct it."
        for choice in parameter.choices
        if parameter.name in workload.places.placed and (why := workload.places.refused(parameter.name, choice))
    ]
    if parameter.baseline is not None and parameter.baseline != now:
        lines.append(f"{where}: baseline {parameter.baseline!r} is not what the script has: {now!r}. Leave it out.")
    if not lines and now not in parameter.choices:
        lines.append(
            f"{where}: the baseline {now!r} is not among the choices. Add it, or set another baseline under "
            f"[constants] in profile {settings.profile}."
        )
    return lines


def _strange(choices: Sequence[Value], now: Value) -> list[Value]:
    """Return the choices of another type than the script's. Of whole numbers that a fraction made fractions, only that one."""
    found = [choice for choice in choices if not _fits(choice, now)]
    fractions: list[Value] = [choice for choice in found if isinstance(choice, float) and not choice.is_integer()]
    return fractions if fractions and type(now) is int else found


def _fits(choice: Value, now: Value) -> bool:
    if isinstance(now, bool) or isinstance(choice, bool):
        return type(choice) is type(now)
    if isinstance(now, float):
        return isinstance(choice, int | float)
    if isinstance(choice, float) and now in (0, 1):
        return True  # 0 and 1 are how people write 0.0 and 1.0, where other choices are fractions
    if isinstance(now, tuple):
        return isinstance(choice, tuple)
    return now is None or type(choice) is type(now)


def _kind(value: Value) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a string", tuple: "an array"}
    return names.get(type(value), "of the script's type")


def bad_rules(space: SearchSpace, constants: Mapping[str, Value], settings: Settings) -> list[str]:
    """Return a line for each rule that cannot be kept, or that the baseline breaks."""
    unknown = space.unknown_names(constants)
    if unknown:
        return [
            f"{space.path}: rules: {name} is neither a parameter nor a constant of the script. Correct the rule."
            for name in unknown
        ]
    try:
        broken = space.broken_rules({name: constants[name] for name in space.names}, constants)
        if broken:
            return [
                f"{space.path}: the baseline breaks the rule {rule.text} ({rule.why}). Change profile {settings.profile}."
                for rule in broken
            ]
        if space.count_feasible(constants) == 0:
            return [f"{space.path}: no configuration keeps every rule. Add choices or drop a rule."]
    except SearchSpaceError as error:
        return list(error.problems)
    return []
