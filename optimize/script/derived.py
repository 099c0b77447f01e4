"""Quantities that follow from a script's constants, such as the width of a model: settings that agree in them are one run.

`workload.toml` says what they are; here they are read, checked and computed. What is proposed is the search's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from optimize.toml import Table
from optimize.trial import Value
from search_spaces import Expression, SearchSpaceError, parse_expression


@dataclass(frozen=True, slots=True)
class Derived:
    """A name for an expression; `replaces` are the constants that act on the script through it alone."""

    name: str
    expression: Expression
    replaces: tuple[str, ...]

    def value(self, values: Mapping[str, Value]) -> float | None:
        """Its value, None where these values allow none, as with a division by zero."""
        try:
            return number(self.expression, values)
        except SearchSpaceError:
            return None


def read_derived(table: Table) -> tuple[Derived, ...]:
    """The entries of the table [derived], each `name = { expression = "...", replaces = ["..."] }`."""
    found = []
    for name, entry in table.tables().items():
        text, replaces = entry.text("expression", ""), entry.words("replaces", ())
        entry.finish()
        if not text:
            table.problems.append(f"{entry.where}: it has no expression. Give it one, as text.")
        elif expression := read_expression(text, f"{table.where} {name}", table.problems):
            found.append(Derived(name, expression, replaces))
    for name in table.literals():
        table.problems.append(f'{table.where} {name}: is no table. Write {{ expression = "...", replaces = ["..."] }}.')
    return tuple(found)


def read_expression(text: str, where: str, problems: list[str]) -> Expression | None:
    """The expression in `text`, None if there is none or, with a problem noted, if it is no arithmetic."""
    try:
        return parse_expression(text, where) if text else None
    except SearchSpaceError as error:
        problems.extend(error.problems)
        return None


def mistakes(derived: Sequence[Derived], memory: Expression | None, constants: Mapping[str, Value]) -> list[str]:
    """One line for each name that is not known and each expression that gives no number for these constants."""
    lines = []
    for each in derived:
        where = each.expression.where
        if each.name in constants:
            lines.append(f"{where}: {each.name} is a constant of the script already. Use another name.")
        for name in each.replaces:
            if name not in constants:
                lines.append(f"{where}: replaces: {name} is no constant of the script. Correct the name.")
            elif name not in each.expression.names:
                lines.append(f"{where}: replaces: {name} does not occur in its expression. Correct one of them.")
        lines += no_number(each.expression, constants)
    if memory:
        lines += no_number(memory, with_derived(derived, constants), [each.name for each in derived])
    return lines


def with_derived(derived: Sequence[Derived], values: Mapping[str, Value]) -> dict[str, Value]:
    """`values` and what follows from them, as far as they allow it."""
    computed = {each.name: each.value(values) for each in derived}
    return {**values, **{name: value for name, value in computed.items() if value is not None}}


def same_run(derived: Sequence[Derived], constants: Mapping[str, Value]) -> Callable[[Mapping[str, Value]], Hashable]:
    """The identity of parameters: they themselves, but what a derived quantity replaces gives way to its value.

    Where that value cannot be computed, the replaced parameters stay: better to try a run twice than never.
    """

    def identity(params: Mapping[str, Value]) -> Hashable:
        kept: dict[str, Value] = dict(params)
        values = {**constants, **params}
        for each in derived:
            value = each.value(values)
            if value is not None:
                for name in each.replaces:
                    kept.pop(name, None)
                kept[each.name] = value
        return tuple(sorted(kept.items(), key=_name))

    return identity


def scorer(
    memory: Expression | None, derived: Sequence[Derived], constants: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], float | None] | None:
    """What the memory expression gives for parameters: None where it gives nothing above 0."""
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
    """The expression's value. Raises SearchSpaceError, also if it is no number."""
    value = expression.evaluate(values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SearchSpaceError(
            f"{expression.where}: `{expression.text}`: gives {value!r:.60}. Give it a number's value."
        )
    return value


def no_number(expression: Expression, values: Mapping[str, Value], declared: Sequence[str] = ()) -> list[str]:
    """Why it gives no number for these values: one line for each name that is not known, or what went wrong."""
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
