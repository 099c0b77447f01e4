"""The values in what a script prints, and the words between them, as f-strings, `%` and `.format` put them together."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_PERCENT = re.compile(r"%(?:\((\w+)\))?([#0\- +]*\d*(?:\.\d+)?)[hlL]?([diouxXeEfFgGcrsa%])")
MOST_REPEATS = 50  # of one part of a format


@dataclass(frozen=True, slots=True)
class PrintedValue:
    """A value in a printed line: its expression, and how it is formatted."""

    expression: str
    spec: str = ""
    seen: str = ""  # what was printed here, of a line that has been printed

    def sample(self, number: float) -> str:
        """Return a number as this place prints one."""
        for value in (number, int(number)):
            try:
                return format(value, self.spec)
            except (ValueError, TypeError):
                continue
        return str(number)


Piece: TypeAlias = str | PrintedValue


def value_pieces(node: ast.expr, spec: str = "") -> list[Piece]:
    """Return words and values of an expression that is printed by itself."""
    match node:
        case ast.JoinedStr(values=parts):
            return [piece for part in parts for piece in joined_pieces(part)]
        case ast.Call(func=ast.Name(id="str" | "round"), args=[first, *_]):
            return value_pieces(first)
    return [PrintedValue(ast.unparse(node), spec)]


def joined_pieces(part: ast.expr) -> list[Piece]:
    """Return words and values of a part of an f-string."""
    if isinstance(part, ast.Constant):
        return [str(part.value)]
    if isinstance(part, ast.FormattedValue):
        spec = part.format_spec
        parts = spec.values if isinstance(spec, ast.JoinedStr) else []
        plain = "".join(str(each.value) for each in parts if isinstance(each, ast.Constant))
        return value_pieces(part.value, plain if len(parts) == 1 else "")
    return []


def percent_pieces(text: str, values: Sequence[ast.expr]) -> list[Piece]:
    """Return words and values of `text % values`."""
    found: list[Piece] = []
    place, waiting = 0, list(values)
    for each in _PERCENT.finditer(text):
        found.append(text[place : each.start()])
        place = each.end()
        if each[3] == "%":
            found.append("%")
        else:
            found += _percent_value(waiting.pop(0) if waiting else ast.Name("value"), each[2], each[3])
    return [*found, text[place:]]


def _percent_value(node: ast.expr, flags: str, conversion: str) -> list[Piece]:
    if conversion in "sr" and isinstance(node, ast.Constant):
        return [f"%{flags}s" % node.value]
    if isinstance(node, ast.JoinedStr):
        return value_pieces(node)
    kind = conversion if conversion in "eEfFgGd" else "d" if conversion == "i" else ""
    return [PrintedValue(ast.unparse(node), f"{flags.replace('-', '<') if kind else ''}{kind}")]


def format_of(node: ast.expr, texts: Mapping[str, ast.expr]) -> str:
    """Return the text that literals stand for, their sums and multiples, and names of such; "" for any other expression."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = format_of(left, texts), format_of(right, texts)
            return "".join(parts) if all(parts) else ""
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(count))) if count <= MOST_REPEATS:
            return format_of(left, texts) * count
        case ast.Name(id=name) if name in texts:
            return format_of(texts[name], {key: each for key, each in texts.items() if key != name})
    return ""


def formatted_pieces(text: str, call: ast.Call) -> list[Piece]:
    """Return words and values of `text.format(...)`."""
    words = {each.arg: each.value for each in call.keywords}
    found: list[Piece] = []
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return [text]
    count = 0
    for words_before, name, spec, _ in parts:
        found.append(words_before)
        if name is None:
            continue
        root = re.split(r"[.\[]", name)[0]
        index = int(root) if root.isdecimal() else count
        count += root == ""
        node = (
            words.get(root) if root and not root.isdecimal() else (call.args[index] if index < len(call.args) else None)
        )
        found.append(PrintedValue(ast.unparse(node) if node is not None else name or "value", spec or ""))
    return found
