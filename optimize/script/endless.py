"""Tells whether a script trains for ever, and which of its options would end it: `while True` that only `--max-steps -1` leaves.

The text alone tells; nothing is run.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from optimize.script.aliases import last_name
from optimize.script.parsers import flags_by_file
from optimize.script.source_names import UnreadableValue, read_names
from optimize.script.trees import walk

_BUDGET = re.compile(r"max|steps?|iter|epoch|time|budget|total|updates|frames|limit", re.IGNORECASE)
_TRAINS = re.compile(r"\bloss|backward\(|\.step\(|optimi[sz]er|\btrain|\.update\(", re.IGNORECASE)
_STEPS = re.compile(r"backward\(|\.step\(")  # of a loop in another file than the script
_EXITS = ("exit", "_exit", "quit")
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class _Option:
    """An option that is off: its name for a person, and what it is now."""

    shown: str
    value: object

    @property
    def advice(self) -> str:
        """Say how a person switches it on."""
        if self.shown.startswith("-"):
            return f'Write it into `command` in workload.toml, such as "{self.shown}=1000"'
        return f"Give {self.shown} a number in the script"


def endless_note(files: Mapping[str, str], words: Sequence[str] = ()) -> str:
    """Return a line on a loop without an end that trains, "" if these files, the script first, have none; `words`: its command."""
    options, script = _options_off(files, words), next(iter(files), "")
    for file, text in files.items():
        trains = _TRAINS if file == script else _STEPS
        for node in walk(read_names(text, file).tree):
            if _is_endless(node) and trains.search(ast.unparse(node)) and not _yields(node):
                ends = [_switch(tests, options) for tests in _ends(node)]
                if all(ends):
                    found = next((each for each in ends if each), None)
                    return _line(f"{file}:{getattr(node, 'lineno', 0)}", found or _likeliest(options))
    return ""


def _line(where: str, option: _Option | None) -> str:
    why = f", since {option.shown} is {option.value}" if option else ""
    advice = option.advice if option else "Give it one, such as `for step in range(1000)`"
    return f"{where}: this loop has no end{why}: a trial would run into its time limit, and have no value. {advice}"


def _likeliest(options: Mapping[str, _Option]) -> _Option | None:
    return next((each for each in options.values() if each.shown.startswith("-")), None)


def _is_endless(node: ast.AST) -> bool:
    if isinstance(node, ast.While):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    if not isinstance(node, ast.For):
        return False
    over = node.iter
    while isinstance(over, ast.Call) and last_name(over.func) in ("tqdm", "enumerate", "track") and over.args:
        over = over.args[0]
    return isinstance(over, ast.Call) and last_name(over.func) in ("count", "repeat") and len(over.args) < 2


def _yields(loop: ast.AST) -> bool:
    return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(loop))


def _ends(loop: ast.AST) -> Iterator[list[ast.expr]]:
    """Yield the conditions of each statement that leaves a loop, the outermost first; none for what only a person does."""
    waiting: list[tuple[ast.AST, list[ast.expr], bool]] = [(each, [], True) for each in getattr(loop, "body", [])]
    while waiting:
        node, tests, own = waiting.pop()
        leaves = isinstance(node, ast.Return | ast.Raise) or (isinstance(node, ast.Break) and own)
        if leaves or (isinstance(node, ast.Call) and last_name(node.func) in _EXITS):
            yield tests
        if isinstance(node, _SCOPES) or _is_interrupt(node):
            continue
        if isinstance(node, ast.If):
            waiting += [(each, [*tests, node.test], own) for each in node.body]
            waiting += [(each, tests, own) for each in node.orelse]
            continue
        own = own and not isinstance(node, ast.For | ast.While | ast.AsyncFor)
        waiting += [(each, tests, own) for each in ast.iter_child_nodes(node)]


def _is_interrupt(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and node.type is not None and "Interrupt" in ast.unparse(node.type)


def _switch(tests: Sequence[ast.expr], options: Mapping[str, _Option]) -> _Option | None:
    """Return the option that is off and without which these conditions never hold; None where they may."""
    parts = [part for test in tests for part in _parts(test)]
    for part in parts:
        names = [each for each in _names(part) if each in options]
        if names and _never_holds(part, options[names[0]].value, len(_names(part)) == 1):
            return options[names[0]]
    return None


def _parts(test: ast.expr) -> list[ast.expr]:
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]


def _never_holds(part: ast.expr, value: object, alone: bool) -> bool:
    """Return whether a condition on an option of this value, alone or beside a counter, is false for ever."""
    if isinstance(part, ast.Compare) and len(part.ops) == 1:
        right = part.comparators[0]
        if not alone:
            return value == math.inf or (isinstance(part.ops[0], ast.Eq) and value == -1)
        if isinstance(part.ops[0], ast.IsNot):
            return value is None
        if isinstance(right, ast.Constant | ast.UnaryOp) and isinstance(value, int | float):
            with suppress(ValueError, SyntaxError, TypeError):
                than = float(ast.literal_eval(right))
                match part.ops[0]:
                    case ast.Gt():
                        return value <= than
                    case ast.GtE():
                        return value < than
                    case ast.NotEq():
                        return value == than
        return False
    return alone and isinstance(part, ast.Name | ast.Attribute) and not value


def _names(node: ast.expr) -> list[str]:
    """Return the names of a condition: the last of a dotted one."""
    inner = {id(each.value) for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    found = (each for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute) and id(each) not in inner)
    return list(dict.fromkeys(each.id if isinstance(each, ast.Name) else each.attr for each in found))


def _options_off(files: Mapping[str, str], words: Sequence[str]) -> dict[str, _Option]:
    """Return the options that end a training and are off, by the last name that the script has for them."""
    found: dict[str, _Option] = {}
    for file, text in files.items():
        for node in walk(read_names(text, file).tree):
            for name, value in _given(node):
                if _BUDGET.search(name) and value is not None and (off := _off(value)):
                    found.setdefault(name, _Option(name, off[0]))
    given = {word.partition("=")[0] for word in words}
    for _, flags in flags_by_file(files, words):
        for flag in flags:
            if _BUDGET.search(flag.dest) and flag.readable and _is_off(flag.default):
                found[flag.dest] = _Option(flag.names[0], flag.default)
            if given.intersection(flag.names):
                found.pop(flag.dest, None)
    return found


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            yield name, value


def _off(node: ast.expr) -> list[object]:
    """Return the value of an expression in a list if it stands for no limit, else an empty list."""
    text = ast.unparse(node)
    if re.fullmatch(r"float\('\+?inf(inity)?'\)|(math|np|numpy|torch)\.inf", text):
        return [math.inf]
    if isinstance(node, ast.Constant) and node.value is None:
        return [None]
    with suppress(UnreadableValue, ValueError, SyntaxError, TypeError):
        value = ast.literal_eval(node)
        return [value] if _is_off(value) else []
    return []


def _is_off(value: object) -> bool:
    return value is None or (type(value) in (int, float) and value in (0, -1, math.inf))
