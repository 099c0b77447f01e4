"""What a script prints, each line with what the calls of its function say: the loop that they stand in, the words that they give.

One call is followed: `train(epoch)` in a loop prints `Epoch: [...]` once a round, and `report(loader, "test")` prints its word.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest

from optimize.script.printed import PrintedLine, calls_in_loops, printed_lines
from optimize.script.printed_formats import Piece, PrintedValue
from optimize.script.source_names import Function, read_names
from optimize.script.trees import walk

MOST_CALLS = 8  # of a function that prints the words that it is given
_METHODS = ("self", "cls")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a function: what its parameters are given, and the loop that it stands in."""

    given: Mapping[str, ast.expr]
    loop: str
    bound: ast.expr | None

    def word(self, value: PrintedValue) -> str | None:
        """Return the text that a value of the function is printed as, None where the call does not say it."""
        try:
            node = ast.parse(value.expression, mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            return None
        parts = [self._text(each) for each in (node.values if isinstance(node, ast.JoinedStr) else [node])]
        if any(each is None for each in parts):
            return None
        text = "".join(each for each in parts if each is not None)
        with suppress(ValueError):
            return format(text, value.spec)
        return text

    def _text(self, node: ast.expr) -> str | None:
        plain = isinstance(node, ast.FormattedValue) and node.format_spec is None
        node = node.value if isinstance(node, ast.FormattedValue) and plain else node
        given = self.given.get(node.id) if isinstance(node, ast.Name) else node
        return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def lines_by_calls(files: Mapping[str, str]) -> list[PrintedLine]:
    """Return the lines that these Python files print, in the order of their text; one for each call that gives it words."""
    lines = printed_lines(files)
    calls = _calls(files, {line.function for line in lines} - {""})
    return [found for line in lines for found in _followed(line, calls.get(line.function, ()))]


def _calls(files: Mapping[str, str], names: set[str]) -> dict[str, list[_Call]]:
    """Return the calls of those of these functions that are defined once."""
    trees = [read_names(text, file).tree for file, text in files.items()]
    nodes = [node for tree in trees for node in walk(tree) if isinstance(node, Function)]
    defined = [node for node in nodes if node.name in names]
    once = {node.name: node for node in defined if sum(each.name == node.name for each in defined) == 1}
    found: dict[str, list[_Call]] = {}
    for tree in trees:
        for call, loop, bound, _ in calls_in_loops(tree):
            name = ast.unparse(call.func).rpartition(".")[2]
            if name in once:
                found.setdefault(name, []).append(_Call(_given(call, once[name]), loop, bound))
    return found


def _given(call: ast.Call, function: Function) -> dict[str, ast.expr]:
    parameters = [*function.args.posonlyargs, *function.args.args]
    defaults = zip(reversed(parameters), reversed(function.args.defaults), strict=False)
    found = {each.arg: default for each, default in defaults}
    own = parameters[1:] if parameters and parameters[0].arg in _METHODS else parameters
    if not any(isinstance(each, ast.Starred) for each in call.args):
        found |= {each.arg: value for each, value in zip_longest(own, call.args) if each and value}
    return found | {each.arg: each.value for each in call.keywords if each.arg}


def _followed(line: PrintedLine, calls: Sequence[_Call]) -> Iterator[PrintedLine]:
    looped = next((each for each in calls if each.loop), None)
    if looped is not None and not line.loop:
        rounds = next((name for name, value in looped.given.items() if _names(value) & {looped.loop}), "?")
        line = replace(line, loop=rounds, bound=looped.bound if rounds != "?" else None)
    printed = [each for each in line.values if all(call.word(each) is not None for call in calls)]
    if not calls or not printed or len(calls) > MOST_CALLS:
        yield line
        return
    for pieces in dict.fromkeys(tuple(_with_words(line.pieces, call)) for call in calls):
        yield replace(line, pieces=pieces, header=())


def _with_words(pieces: Sequence[Piece], call: _Call) -> Iterator[Piece]:
    """Yield the pieces with the words of a call, those beside one another as one."""
    words = ""
    for piece in pieces:
        word = piece if isinstance(piece, str) else call.word(piece)
        if word is None:
            yield from ([words] if words else [])
            yield piece
            words = ""
        else:
            words += word
    yield from ([words] if words else [])


def _names(node: ast.expr) -> set[str]:
    return set(re.findall(r"\w+", ast.unparse(node)))
