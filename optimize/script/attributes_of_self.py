"""Finds the value of an attribute that a class gives its objects when they are made, and what would replace it afterwards.

`Agent.gamma` is `self.gamma = 0.95` in `Agent.__init__`. It has to be the only assignment: any other one, to what may be an
object of this class, is an objection. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import pairwise

from optimize.script.aliases import last_name
from optimize.script.bindings import DICT_WRITERS, Scopes
from optimize.script.file_scopes import FileScopes, Function, file_scopes
from optimize.script.replacing import kept_for_files
from optimize.script.trees import assigned_attributes

_SETS = ("setattr", "delattr", "__setattr__", "__delattr__")


def maker_of(owner: ast.ClassDef) -> tuple[Function | None, str]:
    """Return the method that makes objects of a class, and what it calls the object; None and "" without one."""
    made = [each for each in owner.body if isinstance(each, Function) and each.name == "__init__"]
    given = [*made[0].args.posonlyargs, *made[0].args.args] if len(made) == 1 else []
    return (made[0], given[0].arg) if given else (None, "")


def attributes_of(owner: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    """Return the attributes that a class gives its objects in plain statements of `__init__`, with their values."""
    maker, own = maker_of(owner)
    return [each for statement in maker.body for each in assigned_attributes(statement, own)] if maker else []


def attribute_of(owner: ast.ClassDef, name: str) -> ast.expr | None:
    """Return the value that `__init__` gives an attribute; None where it gives none, or several, or the class has such a name."""
    if any(name == getattr(each, "id", "") for statement in owner.body for each in _bound(statement)):
        return None
    found = [value for each, value in attributes_of(owner) if each == name]
    return found[0] if len(found) == 1 else None


def _bound(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the names that a statement of a class binds itself."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from (
            each for each in ast.walk(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        )


@kept_for_files
def replaced_attribute(files: Mapping[str, str], owner: str, name: str, own: tuple[str, int, int]) -> Iterator[str]:
    """Yield `file:line: statement` for each that may give the attribute another value.

    `own` is the file, line and column of its value: the statement there is no objection.
    """
    python = {file: file_scopes(text, file) for file, text in files.items() if file.endswith(".py")}
    family = _family((own[0], owner), python)
    for file, scopes in python.items():
        first = own[1:] if file == own[0] else (0, 0)
        ours = {id(target) for node, _ in scopes.nodes for target in _targets(node, first)}
        of_file = {each for where, each in family if where == file}
        for node, around in scopes.nodes:
            if id(node) not in ours and _replaces(node, around, name, of_file):
                yield f"{file}:{getattr(node, 'lineno', 0)}: `{ast.unparse(node).splitlines()[0]:.60}`"


def _family(owner: tuple[str, str], python: Mapping[str, FileScopes]) -> set[tuple[str, str]]:
    """Return file and name of a class, of those that it may be made of, and of those that may be made of it."""
    classes = [
        (file, node) for file, each in python.items() for node, _ in each.nodes if isinstance(node, ast.ClassDef)
    ]
    bases = [((file, each.name), {last_name(base) for base in each.bases}) for file, each in classes]
    above, below = {owner}, {owner}
    while True:
        named = {name for one, found in bases if one in above for name in found}
        more = above | {one for one, _ in bases if one[1] in named}
        down = below | {one for one, found in bases if found & {name for _, name in below}}
        if (more, down) == (above, below):
            return above | below
        above, below = more, down


def _targets(node: ast.AST, own: tuple[int, ...]) -> Iterator[ast.AST]:
    """Yield the targets of the statement whose value, or a part of it, stands at a line and column."""
    value = getattr(node, "value", None) if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if value is not None and any(
        (getattr(each, "lineno", 0), getattr(each, "col_offset", 0)) == own for each in ast.walk(value)
    ):
        yield from ast.walk(node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", node))


def _replaces(node: ast.AST, scopes: Scopes, name: str, family: set[str]) -> bool:
    match node:
        case ast.Attribute(value=base, attr=attribute, ctx=ast.Store() | ast.Del()):
            return attribute in (name, "__dict__") and not _is_other(base, scopes, family)
        case ast.Call(func=called, args=[base, key, *_]) if last_name(called) in _SETS:
            may_be = not isinstance(key, ast.Constant) or key.value == name
            return may_be and not _is_other(base, scopes, family)
        case ast.Call(func=ast.Attribute(value=base, attr=writes)) if writes in DICT_WRITERS:
            return (whose := _of_names(base)) is not None and not _is_other(whose, scopes, family)
        case ast.Subscript(value=base, ctx=ast.Store() | ast.Del()):
            return (whose := _of_names(base)) is not None and not _is_other(whose, scopes, family)
        case ast.FunctionDef(name=defined) | ast.AsyncFunctionDef(name=defined) if scopes:
            of_class = getattr(scopes[-1], "name", "") if isinstance(scopes[-1], ast.ClassDef) else ""
            return of_class in family and defined in (name, "__setattr__")
    return False


def _of_names(node: ast.expr) -> ast.expr | None:
    """Return the object whose attributes an expression is the dictionary of: `self.__dict__`, `vars(self)`."""
    match node:
        case ast.Attribute(value=base, attr="__dict__") | ast.Call(func=ast.Name(id="vars"), args=[base]):
            return base
    return None


def _is_other(node: ast.expr, scopes: Scopes, family: set[str]) -> bool:
    """Return whether an expression is the object of a method of another class."""
    for above, inside in pairwise(scopes):
        if isinstance(above, ast.ClassDef) and isinstance(inside, Function) and above.name not in family:
            given = [*inside.args.posonlyargs, *inside.args.args]
            return bool(given) and isinstance(node, ast.Name) and node.id == given[0].arg
    return False
