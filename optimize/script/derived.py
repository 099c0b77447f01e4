"""Reads, checks and computes quantities that follow from a script's constants, such as the width of a model.

`workload.toml` defines them. Parameters that agree in them train the same model. This module proposes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from optimize.toml import Table
from optimize.trial import Value
from search_spaces import Expression, Rule, SearchSpaceError, parse_expression


@dataclass(frozen=True, slots=True)
class Derived:
    """A named expression. `replaces` are the constants that affect the script through it alone."""

    name: str
    expression: Expression
    replaces: tuple[str, ...]

    def value(self, values: Mapping[str, Value]) -> float | None:
        """Return its value, None where there is none, as with a division by zero."""
        try:
            return number(self.expression, values)
        except SearchSpaceError:
            return None


def read_derived(table: Table) -> tuple[Derived, ...]:
    """Return the entries of the table [derived], each `name = { expression = "...", replaces = ["..."] }`."""
    found = []
    for name, entry in table.tables().items():
        text, replaces = entry.text("expression", ""), entry.words("replaces", ())
        entry.finish()
        if not text:
            table.problems.append(f"{entry.where}: it has no expression. Write one as a string.")
        elif expression := read_expression(text, f"{table.where} {name}", table.problems):
            found.append(Derived(name, expression, replaces))
    for name in table.literals():
        table.problems.append(
            f'{table.where} {name}: is not a table. Write {{ expression = "...", replaces = ["..."] }}.'
        )
    return tuple(found)


def read_expression(text: str, where: str, problems: list[str]) -> Expression | None:
    """Return the expression in `text`, None if it is empty. One that is no arithmetic is None, and a line in `problems`."""
    try:
        return parse_expression(text, where) if text else None
    except SearchSpaceError as error:
        problems.extend(error.problems)
        return None


def mistakes(derived: Sequence[Derived], memory: Expression | None, constants: Mapping[str, Value]) -> list[str]:
    """Return a line for each unknown name and each expression that has no number as its value for these constants."""
    lines: list[str] = []
    for i, each in enumerate(derived):
        where = each.expression.where
        if each.name in constants:
            lines.append(f"{where}: {each.name} is a constant of the script already. Use another name.")
        for name in each.replaces:
            if name not in constants:
                lines.append(f"{where}: replaces: {name} is no constant of the script. Correct the name.")
            elif name not in each.expression.names:
                lines.append(f"{where}: replaces: {name} does not occur in its expression. Correct one of them.")
        above = derived[:i]
        lines += no_number(each.expression, with_derived(above, constants), [other.name for other in above])
    if memory:
        lines += no_number(memory, with_derived(derived, constants), [each.name for each in derived])
    return lines


def with_derived(derived: Sequence[Derived], values: Mapping[str, Value]) -> dict[str, Value]:
    """Return `values` with the derived quantities that can be computed from them."""
    found = dict(values)
    for each in derived:  # in their order: one may use those above it
        value = each.value(found)
        if value is not None:
            found[each.name] = value
    return found


def effective(
    conditions: Mapping[str, Rule], values: Mapping[str, Value], baseline: Mapping[str, Value]
) -> dict[str, Value]:
    """Return `values` with that of the baseline for each parameter whose condition does not hold: it has no effect there.

    A condition sees the others as they are then, so one that hangs on a parameter without effect follows it. Raises
    SearchSpaceError where a condition cannot be computed.
    """
    found = dict(values)
    for _ in conditions:
        idle = [name for name, condition in conditions.items() if not condition.holds({**baseline, **found})]
        changed = {name: baseline[name] for name in idle if name in found and found[name] != baseline[name]}
        if not changed:
            break
        found |= changed
    return found


def same_run(
    derived: Sequence[Derived], constants: Mapping[str, Value], conditions: Mapping[str, Rule] = MappingProxyType({})
) -> Callable[[Mapping[str, Value]], Hashable]:
    """Return a function that maps parameters to an identity, which is equal for parameters that train the same model.

    A derived quantity stands for the parameters that it replaces. Where it cannot be computed they stay themselves: better to
    try the same model twice than never. `constants` are those of the baseline.
    """

    def identity(params: Mapping[str, Value]) -> Hashable:
        with suppress(SearchSpaceError):
            params = effective(conditions, params, constants)
        kept: dict[str, Value] = dict(params)
        values = with_derived(derived, {**constants, **params})
        for each in derived:
            value = values.get(each.name)
            if value is not None:
                for name in each.replaces:
                    kept.pop(name, None)
                kept[each.name] = value
        return tuple(sorted(kept.items(), key=_name))

    return identity


def measure_of(
    derived: Sequence[Derived], memory: Expression | None, constants: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], list[float | None]]:
    """Return a function that computes each derived quantity and the memory expression; None is what has no value."""
    score = scorer(memory, derived, constants)

    def measure(params: Mapping[str, Value]) -> list[float | None]:
        values = with_derived(derived, {**constants, **params})
        return [*(_number_or_none(values.get(each.name)) for each in derived), *([score(params)] if score else [])]

    return measure


def _number_or_none(value: Value | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def scorer(
    memory: Expression | None, derived: Sequence[Derived], constants: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], float | None] | None:
    """Return a function that computes the memory expression for parameters, None where its value is not above 0."""
    if memory is None:
        return None

    def score(params: Mapping[str, Value]) -> float | None:
        try:
            found = number(memory, with_derived(derived, {**constants, **params}))
        except SearchSpaceError:
            return None
        return found if found > 0 else None

    return score


def number(expression: Expression, values: Mapping[str, Value]) -> float:
    """Return the expression's value. Raises SearchSpaceError, also if it is not a number."""
    value = expression.evaluate(values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SearchSpaceError(
            f"{expression.where}: `{expression.text}`: its value is {value!r:.60}, not a number. Correct it."
        )
    return value


def no_number(expression: Expression, values: Mapping[str, Value], declared: Sequence[str] = ()) -> list[str]:
    """Return why its value is not a number: a line for each unknown name that is not `declared`, or what went wrong."""
    unknown = sorted(expression.names - set(values))
    if unknown:  # a declared one that has no value has a line of its own
        return [
            f"{expression.where}: {name} is neither a parameter nor a constant of the script. Correct the name."
            for name in unknown
            if name not in declared
        ]
    try:
        number(expression, values)
    except SearchSpaceError as error:
        return list(error.problems)
    return []


def _name(item: tuple[str, Value]) -> str:
    return item[0]
