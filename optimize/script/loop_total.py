"""Finds how many rounds the loop has whose lines tell the progress: a constant, a flag, or a name that is given one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from optimize.script.parsers import find_flag
from optimize.script.process_parameters import as_given
from optimize.script.progress_guess import ProgressGuess
from optimize.script.source_names import SourceNames, UnreadableValue, read_names
from optimize.script.trees import assigned_values, walk


def total_of(progress: ProgressGuess | None, files: Mapping[str, str], script: str, words: Sequence[str] = ()) -> str:
    """Return the number of steps as workload.toml takes it: a constant of the script, or the number that it is now.

    `words`: the command.
    """
    if progress is None or progress.total is None:
        return ""
    names = read_names(files[script], script, files)
    node = progress.total
    if isinstance(node, ast.Name) and node.id in names.constants:
        with suppress(UnreadableValue):
            return node.id if isinstance(names.value(node), int | float) else ""
    value = _number(_given(node, files), names, files, words)
    return f"{value:.12g}" if value is not None and value > 0 else ""


def _given(node: ast.expr, files: Mapping[str, str]) -> ast.expr:
    """Return what a name is given where the files give it one thing only: `epochs = args.epochs`; else the node itself."""
    if not isinstance(node, ast.Name):
        return node
    trees = [read_names(text, file).tree for file, text in files.items()]
    values = [each for tree in trees for statement in walk(tree) for each in _values(node.id, statement)]
    return values[0] if len({ast.dump(each) for each in values}) == 1 else node


def _values(name: str, statement: ast.AST) -> Iterator[ast.expr]:
    """Yield what a statement gives a name; the name itself where only running the script shows it, as with a parameter."""
    yield from (value for target, value in assigned_values(statement) if target == name)
    given = dict(assigned_values(statement))
    match statement:
        case ast.Name(id=other, ctx=ast.Del()) if other == name:
            yield statement
        case ast.AugAssign(target=ast.Name(id=other)) if other == name:
            yield statement.target
        case ast.For(target=target) if name in _names(target):
            yield target
        case ast.Assign(targets=targets) if name not in given and any(name in _names(each) for each in targets):
            yield targets[0]
        case ast.arg(arg=other) if other == name:
            yield ast.Name(name)


def _names(target: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(target) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def _number(node: ast.expr, names: SourceNames, files: Mapping[str, str], words: Sequence[str]) -> float | None:
    with suppress(UnreadableValue):
        value = names.value(node)
        return float(value) if isinstance(value, int | float) else None
    if isinstance(node, ast.Attribute):
        for flag in (f"--{node.attr}", f"--{node.attr.replace('_', '-')}"):
            found = find_flag(files, flag, words)
            if found and isinstance(now := as_given(found, words).default, int | float):
                return float(now)
        for name in names.classes:
            for field in names.fields(name):
                if field.name == node.attr and field.default is not None:
                    with suppress(UnreadableValue):
                        value = names.value(field.default)
                        return float(value) if isinstance(value, int | float) else None
    return None
