"""Parses Python texts into syntax trees, each once where many readers ask for the same files. Nothing is executed.

Trees are shared, so nobody may change one.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import TypeVar

from optimize.errors import RenderError

T = TypeVar("T")
MANY_FILES = 2048  # of a workload's folder: what is found in each is asked for again and again
ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)  # of `ast.parse`


@dataclass(frozen=True, slots=True)
class _Kept:
    trees: dict[str, ast.Module] = field(default_factory=dict)
    nodes: dict[int, list[ast.AST]] = field(default_factory=dict)  # of each tree, by its identity


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


def parse_text(text: str) -> ast.Module:
    """Return the syntax tree of a Python text. Raises one of ERRORS if our Python cannot parse it."""
    kept = _kept.get()
    if kept is None:
        return ast.parse(text)
    if text not in kept.trees:
        kept.trees[text] = ast.parse(text)
    return kept.trees[text]


def walk(tree: ast.Module) -> Iterable[ast.AST]:
    """Return every node of a file's tree, as `ast.walk` does. While trees are kept they are listed once."""
    kept = _kept.get()
    if kept is None:
        return ast.walk(tree)
    if id(tree) not in kept.nodes:
        kept.nodes[id(tree)] = list(ast.walk(tree))  # its first is the tree, which so lives as long
    return kept.nodes[id(tree)]


@contextmanager
def trees_kept() -> Iterator[None]:
    """Keep every tree that is parsed until the end: a tree takes some forty times the memory of its text.

    Python's garbage collector waits meanwhile. It would walk all trees over and over: that took two thirds of the time of parsing
    300 files.
    """
    if _kept.get() is not None:
        yield
        return
    collects, token = gc.isenabled(), _kept.set(_Kept())
    gc.disable()
    try:
        yield
    finally:
        _kept.reset(token)
        if collects:
            gc.enable()


def cached_by_text(find: Callable[[str, str], T]) -> Callable[[str, str], T]:
    """Keep what `find` returns for a file's text: the name of the file, its second argument, only stands in errors."""
    cached = lru_cache(maxsize=MANY_FILES)(lambda text: find(text, ""))

    @wraps(find)
    def of_text(text: str, where: str) -> T:
        try:
            return cached(text)
        except RenderError:
            return find(text, where)

    return of_text


def assigned_values(statement: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield each name that a statement gives a value of its own, with it: `x = 1`, `x: int = 1`, `x, (y, z) = 1, (2, 3)`."""
    for target, value in _assigned(statement):
        if isinstance(target, ast.Name):
            yield target.id, value


def assigned_attributes(statement: ast.AST, owner: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield each attribute of the object `owner` that a statement gives a value of its own, with it: `self.x, self.y = 1, 2`."""
    for target, value in _assigned(statement):
        match target:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == owner:
                yield attribute, value


def _assigned(statement: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match statement:
        case ast.Assign(targets=[target], value=value):
            yield from _unpacked(target, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    match target, value:
        case ((ast.Tuple(elts=names) | ast.List(elts=names)), (ast.Tuple(elts=values) | ast.List(elts=values))):
            starred = any(isinstance(each, ast.Starred) for each in (*names, *values))
            for one, other in zip(names, values, strict=True) if len(names) == len(values) and not starred else ():
                yield from _unpacked(one, other)
        case _:
            yield target, value
