"""Tells which calls of a file its script does not make with its flags as they are: those of another choice.

`if args.optimizer == "sgd"` is known where the flag has a default. Where a condition is not known and both of its branches make an
optimizer, it counts for neither. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from optimize.script.source_names import is_main
from optimize.script.trees import walk
from optimize.trial import Value

Spot: TypeAlias = tuple[int, int, int | None, int | None]  # lines and columns: each reader has syntax trees of its own


def spot(node: ast.expr | ast.stmt) -> Spot:
    """Return where a node stands."""
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def at_times(tree: ast.Module) -> set[Spot]:
    """Return where the statements stand that a script runs at times only, or more than once: in loops and under conditions.

    `if __name__ == "__main__":` and `if True:` are no conditions, and what stands in `with` or `try` runs; handlers do not.
    """
    inside = (statement for node in walk(tree) for part in _at_times(node) for statement in ast.walk(part))
    return {spot(each) for each in inside if isinstance(each, ast.stmt)}


def _at_times(node: ast.AST) -> Sequence[ast.AST]:
    if isinstance(node, ast.If):
        taken = _is_taken(node)
        return [*(node.body if not taken else ()), *(node.orelse if taken is not False else ())]
    return [node] if isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler | ast.match_case) else []


def _is_taken(node: ast.If) -> bool | None:
    """Return whether a condition always holds in a script that is started, None where that is not known."""
    match node.test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
        case ast.Compare(ops=[ast.NotEq()]) if is_main(node):
            return False
    return True if is_main(node) else None


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
