"""Finds the number that a script prints without a word: `print(hist[-1])`. Its expression is all that names it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from optimize.runner.metric_lines import BARE
from optimize.runner.numbers import compile_pattern
from optimize.script.metric_guess import MetricGuess, guess_metrics, is_bare, is_exact
from optimize.script.metric_words import NEITHER, direction_of, same_name, words_in
from optimize.script.printed import PrintedLine
from optimize.script.printed_by_calls import lines_by_calls
from optimize.script.source_names import read_names
from optimize.script.trees import walk
from optimize.text import without_colours

_UNNAMED = "result"
_NO_METRIC = re.compile(r"\b(?:len|time|perf_counter|type|shape|size|numel|exit|parse_args)\b")


def likely_metrics(files: Mapping[str, str], log: str = "") -> list[MetricGuess]:
    """Return what may be the metric, the likeliest first, by what Python files print and by a log of what they printed.

    A number without a word counts where it is the last line, and nothing else could be the metric, or the log ends with it.
    """
    found = guess_metrics(files, log)
    ends = ends_with_number(log)
    if (found and not ends) or any(guess.regex == BARE for guess in found):
        return found
    lines = lines_by_calls(files)
    bare = _bare(lines)
    if len(bare) == 1 and (ends or _is_last(bare[0], lines, files)):
        guess = _guess(bare[0], _names(bare[0])[0], lines)
        return [*found, guess] if guess else found
    return [*found, MetricGuess(_UNNAMED, BARE, "", ends, "its last line")] if ends else found


def bare_number_named(files: Mapping[str, str], name: str) -> MetricGuess | None:
    """Return the number without a word whose expression has this name, None if no line prints one, or several do."""
    lines = lines_by_calls(files)
    bare = _bare(lines)
    named = [line for line in bare if any(same_name(each, name) for each in _names(line))]
    return _guess(named[0], name, lines) if len(named) == 1 and named[0] is bare[-1] else None


def ends_with_number(log: str) -> str:
    """Return the last line of a log if it is a number and nothing else, "" for any other."""
    lines = [line for line in re.split(r"[\r\n]+", without_colours(log)) if line.strip()]
    return lines[-1].strip() if lines and compile_pattern(BARE).match(lines[-1][:400]) else ""


def _guess(line: PrintedLine, name: str, lines: Sequence[PrintedLine]) -> MetricGuess | None:
    if not is_exact(BARE, line, 0, lines):
        return None
    return MetricGuess(name, BARE, direction_of(name), line.shown(), line.where)


def _bare(lines: Sequence[PrintedLine]) -> list[PrintedLine]:
    """Return the lines that are a value and nothing else, but for those that say how long or how many."""
    bare = [line for line in lines if is_bare(line)]
    return [line for line in bare if not _NO_METRIC.search(line.values[0].expression) and not _words_of(line) & NEITHER]


def _words_of(line: PrintedLine) -> set[str]:
    """Return the words of the names in a line's expression."""
    return {word for name in _names(line)[:1] for word in words_in(name)}


def _is_last(line: PrintedLine, lines: Sequence[PrintedLine], files: Mapping[str, str]) -> bool:
    """Return whether nothing is printed and nothing runs again behind this line of its file."""
    later = any(each.file == line.file and each.line > line.line for each in lines)
    loops = (
        node for node in walk(read_names(files[line.file], line.file).tree) if isinstance(node, ast.For | ast.While)
    )
    return not line.loop and not later and not any(loop.lineno > line.line for loop in loops)


def _names(line: PrintedLine) -> list[str]:
    """Return the names in the expression of a bare line, the most telling first: `np.mean(stats["final"])` -> final, stats."""
    try:
        tree = ast.parse(line.values[0].expression, mode="eval")
    except (SyntaxError, ValueError):
        return [_UNNAMED]
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
    return [*keys, *attributes, *plain] or [_UNNAMED]
