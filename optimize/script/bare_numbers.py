"""Finds the number that a script prints without a word: `print(hist[-1])`. Its expression is all that names it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from optimize.runner.metric_lines import BARE, LINE_CHARS
from optimize.runner.numbers import compile_pattern
from optimize.script.metric_guess import MetricGuess, guess_metrics, is_bare, is_exact
from optimize.script.metric_words import NEITHER, direction_of, is_object, same_name, words_in
from optimize.script.printed import PrintedLine
from optimize.script.printed_by_calls import lines_by_calls
from optimize.script.source_names import read_names
from optimize.script.trees import walk
from optimize.text import without_colours

UNNAMED = "result"
_NO_METRIC = re.compile(r"\b(?:len|time|perf_counter|type|shape|size|numel|exit|parse_args)\b")


def likely_metrics(files: Mapping[str, str], log: str = "") -> list[MetricGuess]:
    """Return what may be the metric, the likeliest first, by what Python files print and by a log of what they printed.

    A number without a word counts where nothing else could be the metric and no training follows it, or where the log has it.
    """
    found = guess_metrics(files, log)
    seen = bare_number_in(log)
    if (found and not seen) or any(guess.regex == BARE for guess in found):
        return found
    lines = lines_by_calls(files)
    bare = _bare(lines)
    if len(bare) == 1 and (seen or _is_result(bare[0], lines, files)):
        guess = _guess(bare[0], _names(bare[0])[0], lines)
        return [*found, guess] if guess else found
    return [*found, MetricGuess(UNNAMED, BARE, "", seen, "its output")] if seen else found


def bare_number_named(files: Mapping[str, str], name: str) -> MetricGuess | None:
    """Return the number without a word whose expression has this name, None if no line prints one, or others may follow it."""
    lines = lines_by_calls(files)
    named = _named(name, lines)
    return _guess(named[-1], name, lines) if named and not _numbers_behind(named[-1], lines) else None


def bare_numbers_offered(files: Mapping[str, str]) -> list[MetricGuess]:
    """Return the numbers without a word that could be taken by their names: for a person, where nothing is a likely metric."""
    lines = lines_by_calls(files)
    bare = _bare(lines)
    of_last = [name for line in bare[-1:] for name in _names(line)]  # the others have a number behind them
    names = dict.fromkeys(name for line in bare for name in _names(line)[:1] if name != UNNAMED)
    likely = [name for name in names if any(same_name(each, name) for each in of_last)]
    return [guess for name in likely if (guess := bare_number_named(files, name))]


def why_not_taken(files: Mapping[str, str], name: str) -> str:
    """Return why the number without a word of this name cannot be the metric; "" if no line prints one, or it can."""
    lines = lines_by_calls(files)
    named = _named(name, lines)
    others = _numbers_behind(named[-1], lines) if named else []
    if not others:
        return ""
    one, other = named[-1], others[-1]
    return (
        f"{one.where} prints {name} without a word, and {other.where} may print a number so as well, which no regex tells apart. "
        f"Print it with one: print('{name}:', {one.values[0].expression})"
    )


def bare_number_in(log: str) -> str:
    """Return the last line of a log that is a number and nothing else, "" if there is none that may be a result.

    A whole number may be one of anything, unless the log ends with it.
    """
    pattern = compile_pattern(BARE)
    lines = [line.strip() for line in re.split(r"[\r\n]+", without_colours(log)) if line.strip()]
    numbers = [line for line in lines if pattern.match(line[:LINE_CHARS])]
    told = [line for line in numbers if not line.isdecimal() and any(map(str.isdigit, line))]
    return lines[-1] if numbers and numbers[-1] is lines[-1] else told[-1] if told else ""


def _named(name: str, lines: Sequence[PrintedLine]) -> list[PrintedLine]:
    return [line for line in _bare(lines) if any(same_name(each, name) for each in _names(line))]


def _numbers_behind(line: PrintedLine, lines: Sequence[PrintedLine]) -> list[PrintedLine]:
    """Return the lines behind this one that may be a number and nothing else as well."""
    return [each for each in lines[lines.index(line) + 1 :] if is_bare(each)]


def _guess(line: PrintedLine, name: str, lines: Sequence[PrintedLine]) -> MetricGuess | None:
    if not is_exact(BARE, line, 0, lines):
        return None
    return MetricGuess(name, BARE, direction_of(name), line.shown(), line.where)


def _bare(lines: Sequence[PrintedLine]) -> list[PrintedLine]:
    """Return the lines that are a value and nothing else, but for those that say how long or how many."""
    bare = [line for line in lines if is_bare(line)]
    bare = [line for line in bare if line.values[0].spec or not is_object(line.values[0].expression)]
    return [line for line in bare if not _NO_METRIC.search(line.values[0].expression) and not _words_of(line) & NEITHER]


def _words_of(line: PrintedLine) -> set[str]:
    """Return the words of the names in a line's expression."""
    return {word for name in _names(line)[:1] for word in words_in(name)}


def _is_result(line: PrintedLine, lines: Sequence[PrintedLine], files: Mapping[str, str]) -> bool:
    """Return whether no number may follow this line of its file, and no loop but those that print what was learned."""
    if line.loop or _numbers_behind(line, lines):
        return False
    nodes = walk(read_names(files[line.file], line.file).tree)
    loops = [node for node in nodes if isinstance(node, ast.For | ast.While) and node.lineno > line.line]
    texts = [each.line for each in lines if each.file == line.file and each.is_text]
    telling = [loop for loop in loops if any(text in _span(loop) for text in texts) and not _uses(loop, line)]
    return all(any(loop.lineno in _span(each) for each in telling) for loop in loops)


def _span(node: ast.For | ast.While) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _uses(loop: ast.For | ast.While, line: PrintedLine) -> bool:
    """Return whether a loop has a variable of what this line prints."""
    return bool({each.id for each in ast.walk(loop) if isinstance(each, ast.Name)} & {*_names(line)})


def _names(line: PrintedLine) -> list[str]:
    """Return the names in the expression of a bare line, the most telling first: `np.mean(stats["final"])` -> final, stats."""
    try:
        tree = ast.parse(line.values[0].expression, mode="eval")
    except (SyntaxError, ValueError):
        return [UNNAMED]
    called = {id(node) for call in ast.walk(tree) if isinstance(call, ast.Call) for node in ast.walk(call.func)}
    keys = [
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in called]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    plain = [node.id for node in names if id(node) not in called] or [node.id for node in names]
    return [*keys, *attributes, *plain] or [UNNAMED]
