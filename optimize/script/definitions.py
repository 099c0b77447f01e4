"""Finds where a dotted name is defined in a script's files: a function, a method of a class, or the module of an object.

Imports are followed from file to file, a package's `__init__.py` included. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optimize.script.file_imports import is_module
from optimize.script.source_names import Function, SourceNames, read_names

MOST_STEPS = 12  # from one file to the next


@dataclass(frozen=True, slots=True)
class Definition:
    """Where a name is defined: a function, or the module that holds an object of the name."""

    file: str
    node: ast.AST
    name: str


def find_definition(files: Mapping[str, str], name: str, file: str, steps: int = MOST_STEPS) -> Definition | None:
    """Return where a name that a file uses is defined, None where these files do not tell."""
    names = read_names(files[file], file)
    root, _, rest = name.partition(".")
    here = _defined(names, name, file)
    if here is not None or not steps:
        return here
    whole = f"{names.imports[root]}.{rest}".rstrip(".") if root in names.imports else name
    module, inner = whole, ""
    while "." in module.lstrip("."):
        module, _, last = module.rpartition(".")
        inner = f"{last}.{inner}" if inner else last
        for where in files:
            if where != file and is_module(module or ".", file, where):
                found = find_definition(files, inner, where, steps - 1)
                if found is not None:
                    return found
    return None


def callers_of(files: Mapping[str, str], name: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield file and call of each call of a function of this name."""
    for file, text in files.items():
        for call, _ in read_names(text, file).calls():
            if isinstance(call.func, ast.Name | ast.Attribute) and ast.unparse(call.func).split(".")[-1] == name:
                yield file, call


def functions_around(tree: ast.Module, line: int) -> list[Function]:
    """Return the functions that a line stands in, the innermost first."""
    found = [n for n in ast.walk(tree) if isinstance(n, Function) and n.lineno <= line <= (n.end_lineno or line)]
    return sorted(found, key=lambda each: -each.lineno)


def parameter_names(function: Function) -> list[str]:
    """Return the names of the parameters that may be given by their place."""
    return [each.arg for each in (*function.args.posonlyargs, *function.args.args)]


def _defined(names: SourceNames, name: str, file: str) -> Definition | None:
    owner, _, method = name.partition(".")
    if not method and owner in names.functions:
        return Definition(file, names.functions[owner], owner)
    for each in names.classes[owner].body if method and owner in names.classes else ():
        if isinstance(each, Function) and each.name == method:
            return Definition(file, each, method)
    held = not method and any(
        isinstance(n, ast.Name) and n.id == owner and isinstance(n.ctx, ast.Store)
        for each in names.tree.body
        if isinstance(each, ast.Assign | ast.AnnAssign)
        for n in ast.walk(each)
    )
    return Definition(file, names.tree, owner) if held else None
