"""Reads a script's module constants, and writes values over them, exactly.

A constant is a name with exactly one assignment at module level. Only the bytes of a value
change, so comments and layout stay. Nothing is executed, and no expression ever reaches a script: values are written as
literals and read back before they are accepted.
"""

from __future__ import annotations

import ast
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from optimize.errors import RenderError
from optimize.script.bindings import encoding_of, module_bindings, parse, star_imports
from optimize.script.newer_syntax import read_around
from optimize.script.trees import assigned_values, cached_by_text, trees_kept, walk
from optimize.text import one_line
from optimize.trial import Value
from search_spaces import SearchSpaceError, parse_expression

MAX_INT_BITS = 10_000  # Python writes at most 4,300 digits
VALUE_CHARS = 60  # of a value in a message


@dataclass(frozen=True, slots=True)
class Constant:
    """A module-level assignment `name = expression`, or a call `name(expression)` that seeds.

    `start` and `end` are byte offsets of the expression.
    """

    name: str
    expression: str
    line: int
    start: int
    end: int


@cached_by_text  # the same scripts are read for every trial
def read_constants(text: str, where: str) -> Mapping[str, Constant]:
    """Return each name of `text` that has exactly one assignment at module level. Raises RenderError if it is not Python."""
    bound = Counter(binding.name for binding in module_bindings(text, where))
    last_star = max((line for line, _ in star_imports(text, where)), default=0)
    found = _assignments(parse(text, where), text.encode())
    return MappingProxyType({c.name: c for c in found if bound[c.name] == 1 and c.line > last_star})


Finder: TypeAlias = Callable[[str, str], Mapping[str, Constant]]
"""Finds the values that may be written over in a script's text, by the name of their parameter; it can be hashed."""


def render(text: str, values: Mapping[str, Value], where: str, find: Finder = read_constants) -> str:
    """Return `text` with each named value that `find` finds in it replaced, unless it stands there already.

    Raises RenderError with a line for each value that cannot be written exactly.
    """
    constants = find(text, where)
    problems = [why_not(text, name, where) for name in values if name not in constants]
    problems += [
        f"{where}: {name}: {_shown(value)} is not a literal. Use numbers, strings, booleans or tuples of them."
        for name, value in values.items()
        if not is_literal(value)
    ]
    if problems:
        raise RenderError(*problems)
    literals = tuple((name, repr(value)) for name, value in values.items() if not _stands_there(constants[name], value))
    return _rendered(text, literals, where, find) if literals else text


def _stands_there(constant: Constant, value: Value) -> bool:
    """Tell whether the script has this value already, in whatever form: `3e-4`, `2**19`. Then its text stays."""
    try:
        return repr(parse_expression(constant.expression).evaluate({})) == repr(value)
    except SearchSpaceError:
        return False


def comment_on(text: str, constant: Constant) -> str:
    """Return the comment behind a constant's value on the same line, "" if there is none."""
    rest = text.encode()[constant.end :].splitlines()
    return rest[0].decode().strip().lstrip("#").strip() if rest and rest[0].strip().startswith(b"#") else ""


def why_not(text: str, name: str, where: str) -> str:
    """Return the line that tells a user why `name` is not a constant of this script."""
    bound = [each for each in module_bindings(text, where) if each.name == name]
    plain, hidden = [each.line for each in bound if not each.how], [each for each in bound if each.how]
    lines = sorted(set(plain))
    if plain and hidden:
        return (
            f"{where}: {name}: assigned in line {lines[0]}, and bound again in line {hidden[0].line} {hidden[0].how}. "
            "Leave exactly one assignment: the script would replace a trial's value."
        )
    if len(plain) > 1:
        numbers = ", ".join(map(str, lines))
        return f"{where}: {name}: assigned {len(lines)} times at module level (lines {numbers}). Leave exactly one assignment."
    stars = [star for star in star_imports(text, where) if plain and star[0] > plain[0]]
    if stars:
        return (
            f"{where}: {name}: line {stars[0][0]}, `from {stars[0][1]} import *`, may replace it. "
            "Import before the assignment, or name what is imported."
        )
    if plain:
        return f"{where}: {name}: line {lines[0]} is not a plain `{name} = value` at module level. Make it one."
    return _not_at_module_level(text, name, where)


def _not_at_module_level(text: str, name: str, where: str) -> str:
    nodes = (node for node in walk(parse(text, where)) if isinstance(node, ast.Name))
    inside = sorted({node.lineno for node in nodes if node.id == name and _stores(node)})
    if inside:
        numbers = ", ".join(map(str, inside))
        how = f'Make it a module constant, or name its place: {{ local = "FUNCTION.{name}" }}.'
        return f"{where}: {name}: assigned only inside a function (line {numbers}). {how}"
    return (
        f"{where}: {name}: the script has no such constant. Add `{name} = ...` at module level or drop the parameter."
    )


def bound_names(text: str, where: str) -> frozenset[str]:
    """Return each name that the script binds at module level, in whatever way."""
    return frozenset(binding.name for binding in module_bindings(text, where))


# Python -> whether its `ast.dump` shows `type_params`, and fields that are empty lists; 3.13 stands for those after it, too
PYTHONS: Mapping[str, tuple[bool, bool]] = {"3.11": (False, True), "3.12": (True, True), "3.13": (True, False)}


@lru_cache(maxsize=8)  # asked for several times while a study is opened
def files_fingerprint(told: str, files: tuple[tuple[str, str], ...], folder: Path, python: str = "") -> str:
    """Return a hash of `told`, of the syntax trees of Python files as a Python shows them, and of other files' texts."""
    digest = hashlib.sha256(told.encode())
    for file, text in files:
        with trees_kept():
            tree = syntax_fingerprint(text, str(folder / file), python) if file.endswith(".py") else text
        digest.update(f"{file}\0{tree}\0".encode())
    return digest.hexdigest()[:16]


def syntax_fingerprint(text: str, where: str, python: str = "") -> str:
    """Return the script's syntax tree as text: equal for scripts that differ in comments, layout and docstrings only.

    Each Python gives another text: this one, or the one of PYTHONS that is named. In rare f-strings 3.12 differs further.
    A script that our Python cannot read as a whole is its own text.
    """
    tree = parse(text, where)
    if read_around(text)[1]:
        return text
    with _without_docstrings(tree):
        return _dump(tree, *PYTHONS[python]) if python else ast.dump(tree)


@contextmanager
def _without_docstrings(tree: ast.Module) -> Iterator[None]:
    """Take the docstrings out of a tree, which others may hold as well, until the end."""
    scopes = [
        n for n in walk(tree) if isinstance(n, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    ]
    whole = [(node, node.body) for node in scopes]
    try:
        for node, body in whole:
            node.body = [s for s in body if not _is_docstring(s)] or [ast.Pass()]
        yield
    finally:
        for node, body in whole:
            node.body = body


def _dump(node: object, type_params: bool, empty: bool) -> str:
    """Return what `ast.dump` does on another Python."""
    if isinstance(node, list):
        return f"[{', '.join(_dump(each, type_params, empty) for each in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: getattr(node, name, None) for name in node._fields}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        last = fields.pop("type_params", [])
        fields |= {"type_params": last} if type_params else {}
    shown = [
        f"{name}={_dump(value, type_params, empty)}"
        for name, value in fields.items()
        if not (value is None and getattr(type(node), name, ...) is None) and (empty or value != [])
    ]
    return f"{type(node).__name__}({', '.join(shown)})"


def is_literal(value: object) -> bool:
    """Return whether `repr(value)` reads back as the same value: not so for nan, inf, or anything that is not data.

    Values of derived types, such as numpy's, are none: their text is no literal.
    """
    if type(value) is tuple:
        return all(map(is_literal, value))
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return value.bit_length() <= MAX_INT_BITS
    return value is None or type(value) in (bool, str)


def _shown(value: object) -> str:
    try:
        return one_line(repr(value), VALUE_CHARS)
    except ValueError:
        return "a number of thousands of digits"


def line_offsets(source: bytes) -> list[int]:
    """Return the byte offset at which each line begins."""
    # bytes.splitlines cuts at \n, \r and \r\n only, as Python's own tokenizer does; str.splitlines cuts at more
    return [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]


def _assignments(tree: ast.Module, source: bytes) -> Iterator[Constant]:
    """Yield each plain assignment at module level, also of names that have several."""
    offsets = line_offsets(source)
    for name, value in (each for statement in tree.body for each in assigned_values(statement)):
        start, end = span_of(value, offsets)
        yield Constant(name, source[start:end].decode(), value.lineno, start, end)


def span_of(node: ast.expr, offsets: list[int]) -> tuple[int, int]:
    """Return the byte offsets of an expression."""
    start = offsets[node.lineno - 1] + node.col_offset
    return start, offsets[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@lru_cache(maxsize=64)  # a file that holds no parameter, but constants of the study, is the same in every trial
def _rendered(text: str, literals: tuple[tuple[str, str], ...], where: str, find: Finder) -> str:
    constants = [find(text, where)[name] for name, _ in literals]
    rest, wanted = around(text.encode(), constants), dict(literals)
    encoding = encoding_of(text)  # in one of ASCII, a literal has escapes
    values = [
        literal.encode(encoding, "backslashreplace")
        for _, (_, literal) in sorted(zip((c.start for c in constants), literals, strict=True))
    ]
    rendered = b"".join(chain.from_iterable(zip_longest(rest, values, fillvalue=b""))).decode()
    _check(rendered, wanted, rest, where, find)
    return rendered


def _check(rendered: str, literals: Mapping[str, str], rest: list[bytes], where: str, find: Finder) -> None:
    """Read the rendered script back. Raises RenderError unless the values are there exactly, and the rest as it was."""
    source, again = rendered.encode(), find(rendered, where)
    found = {name: again[name] for name in literals if name in again}
    if {name: repr(ast.literal_eval(c.expression)) for name, c in found.items()} != literals:
        raise RenderError(f"{where}: {', '.join(literals)}: a value did not survive rendering. Report this as a bug.")
    if around(source, found.values()) != rest:
        raise RenderError(f"{where}: rendering changed more than the parameters. Report this as a bug.")


def around(source: bytes, values: Iterable[Constant]) -> list[bytes]:
    """Return what stands before, between and after these values."""
    spans = sorted((each.start, each.end) for each in values)
    starts, ends = [*(start for start, _ in spans), len(source)], [0, *(end for _, end in spans)]
    return [source[end:start] for end, start in zip(ends, starts, strict=True)]
