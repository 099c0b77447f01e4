"""Tables of a configuration object while statements are followed, and the entries that come of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from optimize.text import one_line
from optimize.trial import Value

EXPRESSION_CHARS = 80


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """An entry of a configuration object: its path of keys, and the value that it has when nothing else is said."""

    path: str
    value: Value
    readable: bool
    expression: str
    is_list: bool  # written as a list, which some libraries do not take in a tuple's place
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class ConfigObject:
    """A configuration object: its entries in order, and the statements (file, line) that were followed to find them."""

    entries: tuple[ConfigEntry, ...] = ()
    built: frozenset[tuple[str, int]] = frozenset()


class ConfigTable(dict[str, "ConfigTable | Leaf"]):
    """A table of entries. `loose`: it was handed on in a way that is not followed, so that its values are not known any more."""

    loose = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is no table: a value, or an expression whose value the text does not tell."""

    node: ast.expr
    file: str
    line: int
    value: Value = None
    readable: bool = False


Object: TypeAlias = ConfigTable | Leaf


def entries_of(
    table: ConfigTable, above: str = "", loose: bool = False, around: frozenset[int] = frozenset()
) -> Iterator[ConfigEntry]:
    """Yield the entries of a table and of those in it, in order; `above` is the path of keys to it.

    `around` has the ids of the tables that it lies in: one that contains itself is not entered again.
    """
    loose, around = loose or table.loose, around | {id(table)}
    for key, each in table.items():
        path = f"{above}{key}"
        if isinstance(each, ConfigTable):
            if id(each) not in around:
                yield from entries_of(each, f"{path}.", loose, around)
        elif key.isidentifier():
            text = one_line(ast.unparse(each.node), EXPRESSION_CHARS)
            yield ConfigEntry(
                path,
                each.value,
                each.readable and not loose,
                text,
                isinstance(each.node, ast.List),
                each.file,
                each.line,
            )
