"""What a script prints, as far as its text shows it: the words of each line, and the values between them.

It knows print, logging, click.echo, json.dumps and tqdm, with f-strings, `%`, `.format` and sums of text. Nothing is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from optimize.runner.metric_lines import cells_of
from optimize.script.printed_formats import (
    Piece,
    PrintedValue,
    format_of,
    formatted_pieces,
    joined_pieces,
    percent_pieces,
    value_pieces,
)
from optimize.script.printed_texts import PrintedTexts
from optimize.script.source_names import Function, SourceNames, read_names
from optimize.script.trees import MANY_FILES, assigned_values, walk

_LOGS = ("info", "warning", "critical")
_PRINTS = ("echo", "secho", *_LOGS)
_WRITES = ("sys.stdout.write", "sys.stderr.write", "tqdm.write", "tqdm.tqdm.write", "pbar.write")
_AROUND = ("tqdm", "track", "enumerate")  # what a loop runs through
_BARS = ("set_description", "set_description_str", "set_postfix_str")
MOST_LINES = 400
OUTPUT = "its output"  # the "file" of a line that a script has printed


@dataclass(frozen=True)
class PrintedLine:
    """A line that a script prints: words and values in turn."""

    pieces: tuple[Piece, ...]
    file: str
    line: int
    loop: str = ""  # the variable of the loop that it stands in; "?" for a loop without one
    bound: ast.expr | None = None  # how often that loop runs
    function: str = ""
    logged: bool = False  # a time or a level may stand before it
    header: tuple[str, ...] = ()  # the names of its values, where a line of as many words is printed before it
    is_text: bool = False  # its only value is surely no number

    @cached_property
    def values(self) -> tuple[PrintedValue, ...]:
        """The values of the line, in order."""
        return tuple(each for each in self.pieces if isinstance(each, PrintedValue))

    def label(self, index: int) -> str:
        """Return the words between the value before this one, or the line's beginning, and this one."""
        text = ""
        seen = 0
        for piece in self.pieces:
            if isinstance(piece, PrintedValue):
                if seen == index:
                    return text
                seen, text = seen + 1, ""
            else:
                text += piece
        return text

    def sample(self, first: int = 1000) -> tuple[str, tuple[str, ...]]:
        """Return the line with numbers for its values, all different, and these numbers."""
        numbers: list[str] = []
        text = ""
        for piece in self.pieces:
            if isinstance(piece, PrintedValue):
                numbers.append(piece.sample(first + 7 * len(numbers) + 0.5).strip().rstrip("%"))
                text += piece.sample(first + 7 * (len(numbers) - 1) + 0.5)
            else:
                text += piece
        return text, tuple(numbers)

    def shown(self) -> str:
        """Return the line for a person: as it was printed, or with an ellipsis for each value that nobody has seen.

        A value without a word is shown by its expression.
        """
        unseen = self.values[0].expression if len(self.pieces) == 1 and self.values else "…"
        pieces = (piece.seen or unseen if isinstance(piece, PrintedValue) else piece for piece in self.pieces)
        return "".join(pieces).strip()

    @property
    def where(self) -> str:
        """Where the line is printed, or was, for a person."""
        return f"line {self.line} of its output" if self.file == OUTPUT else f"{self.file}:{self.line}"


def printed_lines(files: Mapping[str, str]) -> list[PrintedLine]:
    """Return the lines that these Python files print, in the order of their text."""
    found: list[PrintedLine] = []
    for file, text in files.items():
        found += _lines_of(text, file)
    return found[:MOST_LINES]


@lru_cache(maxsize=MANY_FILES)  # asked for the metric and for the progress
def _lines_of(text: str, file: str) -> tuple[PrintedLine, ...]:
    return tuple(_lines(read_names(text, file), file))


def _lines(names: SourceNames, file: str) -> Iterator[PrintedLine]:
    texts, printers, no_numbers = texts_of(names), _printers(names.tree), PrintedTexts(names)
    header: tuple[str, ...] = ()
    for call, loop, bound, function in sorted(
        calls_in_loops(names.tree), key=lambda each: (each[0].lineno, each[0].col_offset)
    ):
        if ast.unparse(call.func).rpartition(".")[2] in printers:
            continue  # what it prints stands in it
        for pieces in _split(_printed(call, names, texts.get(function, texts[""]))):
            if any(isinstance(each, PrintedValue) for each in pieces):
                logged = ast.unparse(call.func).rpartition(".")[2] in _LOGS
                is_text = len(pieces) == len(call.args) == 1 and no_numbers.has(call.args[0])
                line = PrintedLine(tuple(pieces), file, call.lineno, loop, bound, function, logged, is_text=is_text)
                yield replace(line, header=header) if len(header) == len(line.values) else line
            elif len(cells := cells_of("".join(map(str, pieces)))) > 1:
                header = cells


def loop_bounds(files: Mapping[str, str]) -> dict[str, ast.expr]:
    """Return how often each loop runs, by the name of its variable: `for epoch in range(epochs)`."""
    found: dict[str, ast.expr] = {}
    for file, text in files.items():
        for node in walk(read_names(text, file).tree):
            if isinstance(node, ast.For | ast.While):
                variable, bound = _counted(node)
                if variable and bound is not None:
                    found.setdefault(variable, bound)
            match node:
                case ast.If(
                    test=ast.Compare(left=ast.Name(id=name), ops=[ast.Gt() | ast.GtE()], comparators=[last]),
                    body=[ast.Break()],
                ):
                    found.setdefault(name, last)
    return found


def _printed(call: ast.Call, names: SourceNames, texts: Mapping[str, ast.expr]) -> list[Piece]:
    name = names.qualified(call.func)
    last = name.rpartition(".")[2]
    words = {each.arg: each.value for each in call.keywords}
    if last == "set_postfix":
        pairs = [
            (each.arg, each.value) for each in call.keywords if each.arg and each.arg not in ("refresh", "ordered_dict")
        ]
        if call.args and isinstance(call.args[0], ast.Dict):
            keyed = zip(call.args[0].keys, call.args[0].values, strict=True)
            pairs += [(str(k.value), v) for k, v in keyed if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        return [piece for key, value in pairs for piece in (f"{key}=", *value_pieces(value), ", ")]
    if name == "json.dump" and len(call.args) > 1 and ast.unparse(call.args[1]) in ("sys.stdout", "sys.stderr"):
        return _json(call, texts)
    if last in _BARS or name in _WRITES:
        return _pieces(call.args[0], names, texts) if call.args else []
    is_log = last in _PRINTS and (last in ("echo", "secho") or "." in name)
    if not call.args or not ("print" in last.lower() or is_log):
        return []
    first = call.args[0]
    if is_log and len(call.args) > 1 and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return percent_pieces(first.value, call.args[1:])
    given = words.get("sep")
    separator = given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else " "
    found: list[Piece] = []
    for argument in call.args:
        found += [*([separator] if found else []), *_pieces(argument, names, texts)]
    return found


def _pieces(node: ast.expr, names: SourceNames, texts: Mapping[str, ast.expr], depth: int = 6) -> list[Piece]:
    """Return words and values of an expression that is printed."""
    match node:
        case ast.Constant(value=value):
            return [str(value)]
        case ast.JoinedStr(values=parts):
            return [piece for part in parts for piece in joined_pieces(part)]
        case ast.BinOp(left=left, op=ast.Mod(), right=right) if text := format_of(left, texts):
            return percent_pieces(text, right.elts if isinstance(right, ast.Tuple) else [right])
        case ast.BinOp(op=ast.Add(), left=left, right=right) if depth and _joins(node, texts):
            return [*_pieces(left, names, texts, depth - 1), *_pieces(right, names, texts, depth - 1)]
        case ast.Call(func=ast.Attribute(value=given, attr="format")) if text := format_of(given, texts):
            return formatted_pieces(text, node)
        case ast.Call(func=func, args=[_, *_]) if names.qualified(func) == "json.dumps":
            return _json(node, texts)
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(text)), attr="join"),
            args=[ast.GeneratorExp(elt=each) | ast.ListComp(elt=each)],
        ) if depth:
            return [*_pieces(each, names, texts, depth - 1), text]
        case ast.Dict():
            return _table(node, "'")
        case ast.Name(id=name) if name in texts and depth:
            return _pieces(texts[name], names, texts, depth - 1)
    return value_pieces(node)


def _table(node: ast.Dict, quote: str, indented: bool = False) -> list[Piece]:
    found: list[Piece] = ["{\n  " if indented else "{"]
    between = ",\n  " if indented else ", "
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant):
            found += [f"{'' if len(found) == 1 else between}{quote}{key.value!s}{quote}: ", *value_pieces(value)]
    return [*found, "\n}" if indented else "}"]


def _joins(node: ast.expr, texts: Mapping[str, ast.expr]) -> bool:
    """Return whether a sum is one of texts, as far as one of its parts shows: not one of numbers."""
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _joins(left, texts) or _joins(right, texts)
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.Call(func=ast.Name(id="str" | "repr")):
            return True
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "ljust" | "rjust")):
            return True
        case ast.BinOp(op=ast.Mod(), left=left):
            return bool(format_of(left, texts))
        case ast.Name(id=name):
            return name in texts
    return False


def _json(call: ast.Call, texts: Mapping[str, ast.expr]) -> list[Piece]:
    given, indented = call.args[0], any(each.arg == "indent" for each in call.keywords)
    table = texts.get(given.id) if isinstance(given, ast.Name) else given
    return _table(table, '"', indented) if isinstance(table, ast.Dict) else value_pieces(call)


def _split(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces of each line, words beside one another as one."""
    current: list[Piece] = []
    for piece in pieces:
        lines = re.split(r"[\r\n]", piece) if isinstance(piece, str) else [piece]
        for index, part in enumerate(lines):
            if index:
                yield current
                current = []
            if isinstance(part, str) and current and isinstance(current[-1], str):
                current[-1] += part
            elif part != "":
                current.append(part)
    yield current


def _printers(tree: ast.Module) -> set[str]:
    """Return the functions whose name says that they print, and which have words of their own for that."""
    defined = [node for node in walk(tree) if isinstance(node, Function) and "print" in node.name.lower()]
    return {each.name for each in defined if any(_has_words(node) for node in ast.walk(each))}


def _has_words(node: ast.AST) -> bool:
    """Return whether this prints a text of several words, or one with values."""
    if not isinstance(node, ast.Call) or "print" not in ast.unparse(node.func).lower():
        return False
    inside = [each for argument in node.args for each in ast.walk(argument)]
    texts = [each.value for each in inside if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return len(inside) > 1 and any(re.search(r"[A-Za-z]{2}", text) for text in texts)


def texts_of(names: SourceNames) -> dict[str, dict[str, ast.expr]]:
    """Return the text or dictionary that each name is given, by function; "": what is given in one place only of the file."""
    found: dict[str, list[ast.expr]] = {}
    inside: dict[str, dict[str, list[ast.expr]]] = {}
    for node in walk(names.tree):
        for name, value in assigned_values(node):
            found.setdefault(name, []).append(_returned(value, names))
    for function in (node for node in walk(names.tree) if isinstance(node, Function)):
        own = inside.setdefault(function.name, {})
        for node in ast.walk(function):
            for name, value in assigned_values(node):
                own.setdefault(name, []).append(_returned(value, names))
    everywhere = _texts(found)
    return {"": everywhere, **{function: {**everywhere, **_texts(own)} for function, own in inside.items()}}


def _texts(given: Mapping[str, list[ast.expr]]) -> dict[str, ast.expr]:
    return {name: values[0] for name, values in given.items() if len(values) == 1 and _is_text(values[0])}


def _returned(node: ast.expr, names: SourceNames) -> ast.expr:
    """Return the dictionary that a function of the file returns, if that is what an expression calls; else the expression."""
    function = names.functions.get(ast.unparse(node.func)) if isinstance(node, ast.Call) else None
    returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)] if function else []
    return returned[0] if len(returned) == 1 and isinstance(returned[0], ast.Dict) else node


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Dict(keys=keys):
            return any(isinstance(key, ast.Constant) for key in keys)
        case ast.Constant(value=str(text)):
            return "%" in text or "{" in text
        case ast.JoinedStr() | ast.BinOp(left=ast.Constant(value=str()), op=ast.Mod()):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="format")):
            return True
        case ast.BinOp(op=ast.Add() | ast.Mult() | ast.Mod(), left=left):
            return _is_text(left)
    return False


def calls_in_loops(tree: ast.Module) -> Iterator[tuple[ast.Call, str, ast.expr | None, str]]:
    """Yield each call with the variable and the bound of its innermost counting loop, and its function."""
    waiting: list[tuple[ast.AST, str, ast.expr | None, str]] = [(tree, "", None, "")]
    while waiting:
        node, loop, bound, function = waiting.pop()
        if isinstance(node, ast.Call):
            yield node, loop, bound, function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            loop, bound, function = "", None, node.name
        if isinstance(node, ast.For | ast.While):
            variable, count = _counted(node)
            if variable or not loop:
                loop, bound = variable or "?", count
        waiting += [(child, loop, bound, function) for child in ast.iter_child_nodes(node)]


def _counted(node: ast.For | ast.While) -> tuple[str, ast.expr | None]:
    """Return variable and number of rounds of `for step in range(n)`, also through tqdm, trange or enumerate."""
    if isinstance(node, ast.While):
        match node.test:
            case ast.Compare(left=ast.Name(id=name), ops=[ast.Lt() | ast.LtE()], comparators=[bound]):
                return name, bound
        return "", None
    target = node.target.elts[0] if isinstance(node.target, ast.Tuple) and node.target.elts else node.target
    made = node.iter
    while isinstance(made, ast.Call) and made.args and ast.unparse(made.func).rpartition(".")[2] in _AROUND:
        made = made.args[0]
    if isinstance(made, ast.Call) and ast.unparse(made.func).rpartition(".")[2] in ("range", "trange") and made.args:
        bound = made.args[0] if len(made.args) == 1 else made.args[1]
        if isinstance(bound, ast.BinOp) and isinstance(bound.op, ast.Add) and ast.unparse(bound.right) == "1":
            bound = bound.left
        return ast.unparse(target), bound
    return (
        (ast.unparse(target), None)
        if isinstance(node.iter, ast.Call) and "enumerate" in ast.unparse(node.iter)
        else ("", None)
    )
