"""Tells which keys the dictionary has that a function returns, where its text shows all of them. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from optimize.script.definitions import find_definition
from optimize.script.source_names import Function, read_names

MOST_CALLS = 8  # from one function to the next


def keys_of_call(files: Mapping[str, str], file: str, call: ast.expr, steps: int = MOST_CALLS) -> set[str] | None:
    """Return the keys of the dictionary that a call returns, None where the text does not show all of them."""
    if not isinstance(call, ast.Call) or not steps:
        return None
    found = find_definition(files, read_names(files[file], file).qualified(call.func), file)
    if found is None or not isinstance(found.node, Function):
        return None
    inside = list(ast.walk(found.node))
    returned = [node.value for node in inside if isinstance(node, ast.Return)]
    if len(returned) != 1 or found.node.decorator_list:
        return None
    value = returned[0]
    return _of_variable(files, found.file, inside, value, steps) if isinstance(value, ast.Name) else _written(value)


def _of_variable(
    files: Mapping[str, str], file: str, inside: list[ast.AST], name: ast.Name, steps: int
) -> set[str] | None:
    """Return the keys of a dictionary that a function holds under a name until it returns it."""
    known: set[str] = set()
    uses = {id(node) for node in inside if isinstance(node, ast.Name) and node.id == name.id} - {id(name)}
    for node in inside:
        more: set[str] | None = None
        match node:
            case ast.Assign(targets=[ast.Name() as target], value=value) if id(target) in uses:
                more, used = _written(value), target
            case ast.Call(func=ast.Attribute(value=ast.Name() as used, attr="update"), args=args) if id(used) in uses:
                more = _given(files, file, node, args, steps)
            case ast.Subscript(value=ast.Name() as used, slice=ast.Constant(value=str(key))) if id(used) in uses:
                more = {key}
            case _:
                continue
        if more is None:
            return None
        known |= more
        uses.discard(id(target if isinstance(node, ast.Assign) else used))
    return known if not uses else None


def _given(files: Mapping[str, str], file: str, call: ast.Call, args: list[ast.expr], steps: int) -> set[str] | None:
    if any(each.arg is None for each in call.keywords) or len(args) > 1:
        return None
    known = {each.arg for each in call.keywords if each.arg}
    for each in args:
        is_function = isinstance(each, ast.Call) and ast.unparse(each.func) != "dict"
        more = keys_of_call(files, file, each, steps - 1) if is_function else _written(each)
        if more is None:
            return None
        known |= more
    return known


def _written(node: ast.expr | None) -> set[str] | None:
    match node:
        case ast.Dict(keys=keys):
            texts = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            return set(texts) if len(texts) == len(keys) else None
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=given):
            words = [each.arg for each in given if each.arg]
            return set(words) if len(words) == len(given) else None
    return None
