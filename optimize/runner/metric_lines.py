"""Finds a metric in a line that is written for people: coloured, indented, behind a prefix or a progress bar, with a unit.

Where the line says nothing else, its number counts. Any other line is only quoted when a script ends without a result, with the
regex for workload.toml that finds the number in it: `best val_bpb: 1.2` may be the result, or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from optimize.runner.numbers import NUMBER, compile_pattern, whole_number
from optimize.text import one_line

LINE_CHARS = 400  # of a line that is looked at: the cost of a regex may grow with a power of the length
SHOWN_CHARS = 60  # of a quoted line: the reason of a trial has 300
WRITE = "In workload.toml write:"
MOST_NAMES, MOST_LINES = 6, 2  # that are named where a script did not tell its metric
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
# As torchrun, Slurm or a logger's format put in front: `[rank0]:`, `[default0]:`, `[node-1/0] `.
_RANK = r"(?:\[[\w./:-]{1,40}\]:?\s*)?"
_BETWEEN = r"[\s:=|(\[\"'*\->]{1,12}"  # a name and its number
_TENSOR = r"tensor\("
# A line that is a number and nothing else; a tensor or a list of one number is printed in brackets.
BARE = r"^\s*\[?(?:tensor\()?{number}(?:, [a-z].*|[\])])?\s*$"
_BAR = re.compile(r"\d%\||\d+it \[\d|━━")  # as tqdm and rich draw one
_MARKS = ("|", "│", ";", ",")  # between the cells of a table


class MetricLine:
    """A metric's name as people print it."""

    def __init__(self, name: str) -> None:
        self._name = name
        words = re.findall(r"[^\s_-]+", name) or [name]
        spelled = r"[\s_-]{0,3}".join(map(re.escape, words))
        self._word = max(words, key=len).encode().lower()  # of bytes, as the line's: only ASCII has two cases there
        self._alone = re.compile(
            rf"\s*{_RANK}{re.escape(name)}\s*[:=]\s*(?:{_TENSOR}({NUMBER})(?:,[^()]*)?\)|({NUMBER}))\s*"
        )
        self._beside = re.compile(rf"(?<!\w)({spelled})((?:\[\d+\])?{_BETWEEN}(?:{_TENSOR})?)({NUMBER})", re.IGNORECASE)

    def may_be_in(self, line: bytes) -> bool:
        """Return whether the longest word of the name is in this line: a quick test."""
        return self._word in line.lower()

    def number(self, text: str) -> str:
        """Return the number of a line that says nothing but the metric, "" if it is no such line."""
        found = self._alone.fullmatch(text[:LINE_CHARS])
        return whole_number(text, *found.span(1 if found[1] else 2)) if found else ""

    def quote(self, text: str) -> str:
        """Return a line that has the metric beside a number, and the regex that finds it; "" for any other line."""
        text = text[:LINE_CHARS]
        found = self._beside.search(text)
        if found is None:
            return ""
        inner = r"\b" if text[: found.start()].endswith(('"', "'")) else ""  # "accuracy", and not "train_accuracy"
        regex = f"{inner}{_escaped(found[1])}{_escaped(found[2])}{{number}}"
        matched = compile_pattern(regex).search(text)
        if matched is None or matched.span(1) != found.span(3):
            return ""
        start = found.start() if found.end() > SHOWN_CHARS else 0
        return _advice("This line of it has one", self._name, f"{'…' if start else ''}{text[start:]}", regex)


class MetricColumn:
    """A metric that is a column of a table, whose first line has its name."""

    def __init__(self, name: str) -> None:
        self._name, self._header, self._row = name, tuple[str, ...](), ""

    def read(self, text: str) -> None:
        """Take the next line of the output."""
        text = text[:LINE_CHARS]
        cells = cells_of(text)
        if self._name in cells and len(cells) > 1 and not any(re.fullmatch(NUMBER, each) for each in cells):
            self._header = cells
        elif (
            self._header
            and len(self._header) == len(cells)
            and re.fullmatch(NUMBER, cells[self._header.index(self._name)])
        ):
            self._row = text

    def quote(self) -> str:
        """Return the last line of the table, and the regex that finds the metric in it; "" if there is no table."""
        if not self._row:
            return ""
        place = self._header.index(self._name)
        regex = column_regex(self._row, place)
        matched = compile_pattern(regex).search(self._row)
        if matched is None or matched[1] != cells_of(self._row)[place]:
            return ""
        return _advice("This line of it is of a table that has one", self._name, self._row, regex)


def cells_of(text: str) -> tuple[str, ...]:
    """Return the cells of a table's line: by bars, commas or semicolons, else by blanks; no dashes of a rule."""
    marks = next((mark for mark in _MARKS if mark in text), None)
    cells = [each.strip() for each in (text.strip(f"{marks} ").split(marks) if marks else text.split())]
    return tuple(cells) if all(any(map(str.isalnum, each)) for each in cells) else ()


def column_regex(row: str, place: int) -> str:
    """Return the regex of one column, counted from 0, in lines such as this one."""
    mark = next((mark for mark in _MARKS if mark in row), "")
    if not mark:
        return rf"^\s*(?:\S+\s+){{{place}}}{{number}}"
    before = place + (1 if row.lstrip().startswith(mark) else 0)
    return rf"^(?:[^{mark}]*{re.escape(mark)}){{{before}}}\s*{{number}}"


def _advice(what: str, name: str, text: str, regex: str) -> str:
    metric = f"metric = {{ name = {json.dumps(name, ensure_ascii=False)}, regex = {_quoted(regex)} }}"
    return f"{what}: `{one_line(text, SHOWN_CHARS)}`. {WRITE} {metric}"


def quote_last(name: str, lines: Sequence[str]) -> str:
    """Return the last line with a number if it has no word, and what workload.toml needs to take it; "" for any other."""
    said = [line for line in _without_bars(lines) if line.strip()]
    bare = compile_pattern(BARE)
    last = next(
        (line[:LINE_CHARS] for line in reversed(said) if _DIGIT.search(line) or bare.match(line[:LINE_CHARS])), ""
    )
    if not bare.match(last):
        return ""
    regex = "^{number}$" if re.fullmatch(NUMBER, last) else BARE
    what = "Its last line is a number" if last == said[-1][:LINE_CHARS] else "Its last number stands alone"
    return _advice(what, name, last, regex)


def _without_bars(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines that are no progress bar; all of them if there is nothing else."""
    return [line for line in lines if not _BAR.search(line[:LINE_CHARS])] or lines


def told_instead(names: Sequence[str], lines: Sequence[str]) -> str:
    """Return which numbers a script told that did not tell its metric: their names in its summary, or its last lines with one."""
    if names:
        return f"Its numbers are {', '.join(names[:MOST_NAMES])}"
    lines = _without_bars(lines)
    numbers = [line for line in lines if _DIGIT.search(line[:LINE_CHARS]) and _tells(line[:LINE_CHARS])]
    shown = ", ".join(f"`{one_line(line.strip(), SHOWN_CHARS)}`" for line in numbers[-MOST_LINES:])
    return f"Its last lines with a number: {shown}" if shown else ""


def _tells(line: str) -> bool:
    """Return whether a line with a digit may tell a result: it has a word, or a number alone that is no whole one."""
    return bool(_LETTER.search(line) or (compile_pattern(BARE).match(line) and not line.strip().isdecimal()))


def _escaped(text: str) -> str:
    """Return a regex for a text, a single blank as it is."""
    runs = re.findall(r"\s+|\S", text)
    return "".join(run if run == " " else r"\s+" if run.isspace() else re.escape(run) for run in runs)


def _quoted(regex: str) -> str:
    """Return it as TOML."""
    return f"'{regex}'" if "'" not in regex else json.dumps(regex, ensure_ascii=False)
