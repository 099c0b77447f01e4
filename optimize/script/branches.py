"""Tells which calls of a file its script does not make with its flags as they are: those of another choice.

`if args.optimizer == "sgd"` is known where the flag has a default. Where a condition is not known and both of its branches make an
optimizer, it counts for neither. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from optimize.script.trees import walk
from optimize.trial import Value

Spot: TypeAlias = tuple[int, int, int | None, int | None]  # lines and columns: each reader has syntax trees of its own


def spot(node: ast.expr | ast.stmt) -> Spot:
    """Return where a node stands."""
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def calls_not_made(
    tree: ast.Module, defaults: Mapping[str, Value], alike: Callable[[ast.Call], bool]
) -> dict[Spot, ast.Call]:
    """Return the calls of another choice by where they stand.

    `defaults`: of flags, by the name of their attribute. `alike`: whether a call makes what there is one of, an optimizer.
    """
    found: dict[Spot, ast.Call] = {}
    for node in walk(tree):
        if isinstance(node, ast.If):
            found |= {spot(call): call for call in _left_out(node, defaults, alike)}
    return found


def _left_out(node: ast.If, defaults: Mapping[str, Value], alike: Callable[[ast.Call], bool]) -> Iterator[ast.Call]:
    holds = _holds(node.test, defaults)
    if holds is not None:
        yield from _calls(node.orelse if holds else node.body)
        return
    sides = [[call for call in _calls(part) if alike(call)] for part in (node.body, node.orelse)]
    yield from (call for side in sides for call in side if all(sides))


def _holds(test: ast.expr, defaults: Mapping[str, Value]) -> bool | None:
    """Return whether a comparison of a flag with a text holds for its default, None where that is not known."""
    match test:
        case ast.Compare(left=ast.Attribute(attr=name), ops=[ast.Eq()], comparators=[ast.Constant(value=str(text))]):
            return defaults[name] == text if isinstance(defaults.get(name), str) else None
        case ast.Compare(
            left=ast.Attribute(attr=name), ops=[ast.In()], comparators=[ast.Tuple() | ast.List() as texts]
        ):
            known = [each.value for each in texts.elts if isinstance(each, ast.Constant)]
            every = isinstance(defaults.get(name), str) and len(known) == len(texts.elts)
            return defaults[name] in known if every else None
    return None


def _calls(part: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    yield from (node for each in part for node in ast.walk(each) if isinstance(node, ast.Call))
