"""Finds what would replace a class's field or a dictionary's entry when a script runs, as far as its text shows it.

Names count in whatever function they stand: a name that is used twice for different things gives one objection too many. An
object that a function gets under another name is not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from optimize.script.bindings import DICT_WRITERS, parse

_CHANGING = (*DICT_WRITERS, "merge_update", "update_from_flattened_dict")  # the last are ml_collections'


def replaced_field(
    files: Mapping[str, str], owner: str, name: str, position: int, own: tuple[str, int, int]
) -> Iterator[str]:
    """Yield `file:line: statement` for each that gives the field `name` of class `owner` another value.

    `position` is the field's place among the arguments of the class. `own` is the file, line and column of the value itself: a
    call that holds it replaces nothing.
    """
    for file, tree in _trees(files):
        instances = {owner, *_made_by(tree, owner)}
        for node in ast.walk(tree):
            if _sets_field(node, owner, instances, name, position) and not _holds(node, file, own):
                yield _line(file, node)


def _holds(node: ast.AST, file: str, own: tuple[str, int, int]) -> bool:
    inside = (each for each in ast.walk(node) if isinstance(each, ast.expr))
    return isinstance(node, ast.Call) and any((file, each.lineno, each.col_offset) == own for each in inside)


def _sets_field(node: ast.AST, owner: str, instances: set[str], name: str, position: int) -> bool:
    match node:
        case ast.Call(func=func, args=args, keywords=keywords) if ast.unparse(func).split(".")[-1] == owner:
            starred = any(isinstance(each, ast.Starred) for each in args)
            named = any(each.arg in (name, None) for each in keywords)
            return starred or named or len(args) > position
        case ast.Attribute(value=base, attr=attr, ctx=ast.Store() | ast.Del()) if attr == name:
            return _root(base) in instances
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[base, key, *_]) if _root(base) in instances:
            return not isinstance(key, ast.Constant) or key.value == name
        case ast.Call(func=func, args=[base, *_], keywords=keywords) if ast.unparse(func) in _REPLACE:
            made = isinstance(base, ast.Call) and ast.unparse(base.func).split(".")[-1] == owner
            return (made or _root(base) in instances) and any(each.arg in (name, None) for each in keywords)
        case ast.ClassDef(name=own, bases=bases, body=body):
            of_owner = own == owner or any(ast.unparse(base).split(".")[-1] == owner for base in bases)
            return of_owner and any(_binds_in_class(each, name, own == owner) for each in body)
    return False


_REPLACE = ("replace", "dataclasses.replace", "copy.replace")


def _binds_in_class(statement: ast.stmt, name: str, is_owner: bool) -> bool:
    """A subclass gives the field another value, or a method of the class does so on `self`."""
    if isinstance(statement, ast.FunctionDef):
        stores = (n for n in ast.walk(statement) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
        return any(n.attr == name and _root(n.value) in ("self", "cls") for n in stores)
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return not is_owner and any(isinstance(each, ast.Name) and each.id == name for each in targets)


def replaced_entry(files: Mapping[str, str], name: str, keys: Sequence[str]) -> Iterator[str]:
    """Yield `file:line: statement` for each that changes the dictionary `name` so that the entry may have another value."""
    for file, tree in _trees(files):
        roots = {name, *_aliases(tree, name)}
        for node in ast.walk(tree):
            if _changes_entry(node, roots, keys):
                yield _line(file, node)


def _changes_entry(node: ast.AST, roots: set[str], keys: Sequence[str]) -> bool:
    match node:
        case ast.Subscript(value=base, slice=key, ctx=ast.Store() | ast.Del()) if _root(base) in roots:
            return not isinstance(key, ast.Constant) or str(key.value) in keys
        case ast.Attribute(value=base, attr=attr, ctx=ast.Store() | ast.Del()) if _root(base) in roots:
            return attr in keys
        case ast.Call(func=ast.Attribute(value=base, attr=method), args=args, keywords=given) if method in _CHANGING:
            return _root(base) in roots and _may_touch(args, given, keys)
        case ast.AugAssign(target=ast.Name(id=target)):
            return target in roots
        case ast.Call(func=ast.Name(id="setattr"), args=[base, key, *_]) if _root(base) in roots:
            return not isinstance(key, ast.Constant) or key.value in keys
    return False


def _may_touch(args: Sequence[ast.expr], given: Sequence[ast.keyword], keys: Sequence[str]) -> bool:
    """Whether arguments of `update` and its like may hold one of the keys; a dictionary that is written out tells."""
    for arg in args[:1]:
        if isinstance(arg, ast.Constant):
            return str(arg.value) in keys
        if not isinstance(arg, ast.Dict) or not all(isinstance(key, ast.Constant) for key in arg.keys):
            return True
        if any(str(key.value) in keys for key in arg.keys if isinstance(key, ast.Constant)):
            return True
    return not (args or given) or any(each.arg is None or each.arg in keys for each in given)


def _trees(files: Mapping[str, str]) -> Iterator[tuple[str, ast.Module]]:
    return ((file, parse(text, file)) for file, text in files.items() if file.endswith(".py"))


def _line(file: str, node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return f"{file}:{getattr(node, 'lineno', 0)}: `{text[:60]}`"


def _root(node: ast.expr) -> str:
    """Return the name that an expression such as `config.model["x"]` begins with, "" if it begins with none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _made_by(tree: ast.Module, owner: str) -> set[str]:
    """Return the names that hold an instance of the class, or are declared as one."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func)):
                found |= {name} if ast.unparse(func).split(".")[-1] == owner else set()
            case ast.AnnAssign(target=ast.Name(id=name), annotation=declared) | ast.arg(arg=name, annotation=declared):
                found |= {name} if declared is not None and owner in ast.unparse(declared) else set()
    return found | {alias for each in found for alias in _aliases(tree, each)}


def _aliases(tree: ast.Module, name: str) -> set[str]:
    """Return names that stand for the same object, or for a part of it: `model = config["model"]`."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=alias)], value=ast.Name() | ast.Attribute() | ast.Subscript() as value
            ):
                found |= {alias} if _root(value) == name else set()
    return found - {name}
