"""Exact, checked edits of a script's module constants: `read_constants` finds them, `render` writes values over them.

A constant is a name with exactly one assignment at module level. Only the bytes of its value change, so comments and layout stay.
Nothing is executed, and no expression ever reaches a script: values are written as literals and read back before they are accepted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType

from optimize.errors import RenderError
from optimize.trial import Value


@dataclass(frozen=True, slots=True)
class Constant:
    """One module-level assignment `name = expression`; `start` and `end` are byte offsets of the expression."""

    name: str
    expression: str
    line: int
    start: int
    end: int


@lru_cache(maxsize=64)  # the same scripts are read for every trial
def read_constants(text: str, where: str) -> Mapping[str, Constant]:
    """Every name of `text` that has exactly one assignment at module level. Raises RenderError if it is not Python."""
    tree, source = _parse(text, where), text.encode()
    bound = list(_module_bindings(tree.body))
    offsets = _line_offsets(source)
    constants = {}
    for statement in tree.body:
        name, value = _simple_assignment(statement)
        if name is None or value is None or bound.count(name) != 1:
            continue
        start = offsets[value.lineno - 1] + value.col_offset
        end = offsets[(value.end_lineno or value.lineno) - 1] + (value.end_col_offset or 0)
        constants[name] = Constant(name, source[start:end].decode(), value.lineno, start, end)
    return MappingProxyType(constants)


def render(text: str, values: Mapping[str, Value], where: str) -> str:
    """`text` with each named constant set to its value. Raises RenderError naming every value that cannot be written exactly."""
    constants = read_constants(text, where)
    problems = [why_not(text, name, where) for name in values if name not in constants]
    problems += [f"{where}: {name}: {value!r} is not a literal. Use numbers, strings, booleans or tuples of them."
                 for name, value in values.items() if not is_literal(value)]  # fmt: skip
    if problems:
        raise RenderError(*problems)
    source = text.encode()
    for constant in sorted((constants[name] for name in values), key=lambda c: c.start, reverse=True):
        source = source[: constant.start] + repr(values[constant.name]).encode() + source[constant.end :]
    rendered = source.decode()
    _check(text, rendered, values, where)
    return rendered


def why_not(text: str, name: str, where: str) -> str:
    """The line that tells a user why `name` is not a constant of this script."""
    tree = _parse(text, where)
    count = list(_module_bindings(tree.body)).count(name)
    inside = sorted({n.lineno for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name and _stores(n)})
    lines = ", ".join(map(str, inside))
    if count > 1:
        return f"{where}: {name}: assigned {count} times at module level (lines {lines}). Leave exactly one assignment."
    if count == 1:
        return f"{where}: {name}: line {lines} is not a plain `{name} = value` at module level. Make it one."
    if inside:
        return f"{where}: {name}: assigned only inside a function (line {lines}). Make it a module constant."
    return (
        f"{where}: {name}: the script has no such constant. Add `{name} = ...` at module level or drop the parameter."
    )


def syntax_fingerprint(text: str, where: str) -> str:
    """The script's syntax tree as text: equal for scripts that differ in comments, layout and docstrings only."""
    tree = _parse(text, where)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            body = [s for s in node.body if not _is_docstring(s)]
            node.body = body or [ast.Pass()]
    return ast.dump(tree)


def is_literal(value: object) -> bool:
    """Whether `repr(value)` reads back as the same value: not so for nan, inf, or anything that is not data."""
    if isinstance(value, tuple):
        return all(map(is_literal, value))
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return value is None or type(value) in (bool, int, str)


def _parse(text: str, where: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise RenderError(f"{where}{line}: not Python that can be read: {reason}. Fix the script.") from None


def _line_offsets(source: bytes) -> list[int]:
    # bytes.splitlines cuts at \n, \r and \r\n only, as Python's own tokenizer does; str.splitlines cuts at more
    return [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]


def _simple_assignment(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            return name, value
    return None, None


def _module_bindings(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names bound at module level, once per binding, those under `if`, `for`, `with` and `try` included."""
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, scopes):
            yield node.name
        elif isinstance(node, ast.Name) and _stores(node):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            waiting.extend(ast.iter_child_nodes(node))


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _check(before: str, after: str, values: Mapping[str, Value], where: str) -> None:
    """Read the rendered script back: the values must be there exactly, and nothing else may have changed."""
    tree = _parse(after, where)
    for name, value in map(_simple_assignment, tree.body):
        if name is not None and name in values and value is not None and not _holds(value, values[name]):
            raise RenderError(f"{where}: {name}: {values[name]!r} did not survive rendering. Report this as a bug.")
    if _skeleton(tree, frozenset(values)) != _skeleton_of(before, frozenset(values), where):
        raise RenderError(f"{where}: rendering changed more than the parameters. Report this as a bug.")


@lru_cache(maxsize=64)
def _skeleton_of(text: str, names: frozenset[str], where: str) -> str:
    return _skeleton(_parse(text, where), names)


def _skeleton(tree: ast.Module, names: frozenset[str]) -> str:
    """The syntax tree as text, without the values of `names`."""
    for statement in tree.body:
        name, value = _simple_assignment(statement)
        if name in names and value is not None:
            statement.value = ast.Constant(None)  # type: ignore[attr-defined]
    return ast.dump(tree)


def _holds(written: ast.expr, value: Value) -> bool:
    return _same(ast.literal_eval(written), value)


def _same(left: object, right: object) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)
