"""Tables of results from elsewhere, read as candidates for starts: our trials.csv, autoresearch's results.tsv, others like them.

A file is data and may be anything: each of its troubles is one line, and no value of it is taken for a result of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from optimize.errors import SettingsError
from optimize.exchange.taking import value_of
from optimize.exchange.text_file import read_text, settings_in, table_rows
from optimize.search import Candidate
from optimize.trial import Metric, Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError, parse_expression
from storage import one_line

LINES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Table:
    """What a file offers: candidates, the best first, and one line about what could be used and why not the rest."""

    candidates: Sequence[Candidate]
    note: str


class _UnusableError(Exception):
    """Why a row cannot be tried, in a few words."""


def is_file(source: str) -> bool:
    """Whether `source` is a path; else it is the name of a study."""
    return "/" in source or source.lower().endswith((".csv", ".tsv"))


def read_source(source: str) -> str:
    """The text of such a file. Raises SettingsError."""
    return read_text(source, f"--from {source}", "; a study is named without a slash")


def read_table(source: str, space: SearchSpace, metric: Metric) -> Table:
    """The rows of a table that name parameters of the space. Raises SettingsError, one line, if there is none."""
    what = f"--from {source}"
    rows = table_rows(read_source(source), what)
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    columns = _columns(header, source, space, metric)
    found: list[tuple[float, int, dict[str, Value]]] = []
    unusable: Counter[str] = Counter()
    for number, cells in rows:
        try:
            row = _row(cells, header)
            found.append((_value(row, columns.metric), number, columns.params(row, space)))
        except _UnusableError as why:
            unusable[str(why)] += 1
    note = _note(source, [number for _, number, _ in found], unusable)
    if not found:
        raise SettingsError(
            f"{note}. Give a table with a column, or descriptions NAME=value, of the space's parameters."
        )
    found.sort(key=lambda each: (each[0] if metric.direction == "minimize" else -each[0], each[1]))
    return Table([_candidate(source, metric, *each) for each in found], note)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of the file mean what to us."""

    metric: str
    parameters: Mapping[str, str]  # parameter -> column
    description: str | None

    def params(self, row: Mapping[str, str], space: SearchSpace) -> dict[str, Value]:
        if self.parameters:
            given = {name: row[column] for name, column in self.parameters.items() if row[column]}
        else:
            story = row[self.description or ""]
            if story.lower() == "baseline":
                raise _UnusableError("the baseline, which is tried anyway")
            given = settings_in(story)
        known = {name: _parsed(given[name], space[name]) for name in given if name in space.names}
        if not known:
            raise _UnusableError("name no parameter (NAME=value)")
        return {**given, **known}


def _columns(header: Sequence[str], source: str, space: SearchSpace, metric: Metric) -> _Columns:
    if not header:
        raise SettingsError(f"--from {source}: it is empty. Give a table with a header.")
    value = next((name for name in (f"metric_{metric.name}", metric.name) if name in header), None)
    if value is None:
        there = one_line(", ".join(header), 120)
        raise SettingsError(
            f"--from {source}: has no column {metric.name}, which is the workload's metric. It has {there}. "
            "Give a table of the same metric, with a header."
        )
    named = {p.name: next((c for c in (f"param_{p.name}", p.name) if c in header), "") for p in space.parameters}
    parameters = {name: column for name, column in named.items() if column}
    description = "description" if "description" in header else None
    if not parameters and description is None:
        raise SettingsError(
            f"--from {source}: has no column for any parameter of {space.path}, and no description. "
            f"Give a column such as {space.names[0]}."
        )
    needed = [value, *parameters.values(), *([] if parameters else ["description"])]
    if twice := [name for name in needed if header.count(name) > 1]:
        raise SettingsError(f"--from {source}: has the column {twice[0]} twice. Remove one.")
    return _Columns(value, parameters, description)


def _row(cells: Sequence[str], header: Sequence[str]) -> dict[str, str]:
    if len(cells) > len(header):
        raise _UnusableError("with more cells than the header")
    padded = [*cells, *[""] * (len(header) - len(cells))]
    row = dict(zip(header, (cell.strip() for cell in padded), strict=True))
    if row.get("state", "COMPLETE") != "COMPLETE" or row.get("status") in ("crash", "crashed", "failed"):
        raise _UnusableError("not complete")
    return row


def _value(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        raise _UnusableError("without a value") from None
    if not isfinite(value) or value == 0:  # 0.000000 is how autoresearch writes a crash
        raise _UnusableError("without a value")
    return value


def _parsed(text: str, parameter: Parameter) -> Value:
    """A cell as a value near which there is a choice."""
    try:
        value = _literal(text, parameter)
        parameter.nearest(value)
    except SearchSpaceError:
        raise _UnusableError(f"with a {parameter.name} that is like none of its choices") from None
    return value


def _literal(text: str, parameter: Parameter) -> Value:
    sort = parameter.choices[0]
    if isinstance(sort, str):
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1] if quoted else text
    if isinstance(sort, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(sort, tuple):
        return value_of(text, parameter)
    for number in (int, float):
        try:
            value: int | float = number(text)
            return value if isfinite(value) else text
        except (ValueError, OverflowError):
            continue
    return parse_expression(text).evaluate({})  # 2**17


def _candidate(source: str, metric: Metric, value: float, line: int, params: Mapping[str, Value]) -> Candidate:
    title = f"{source} line {line} ({metric.name} {value:g})"
    return Candidate(title, title, params)


def _note(source: str, lines: Sequence[int], unusable: Mapping[str, int]) -> str:
    rows = len(lines) + sum(unusable.values())
    shown = f" (line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))})" if 0 < len(lines) <= LINES_SHOWN else ""
    why = "; ".join(f"{count} {what}" for what, count in unusable.items())
    return f"--from {source}: {len(lines)} of {rows} rows can be tried{shown}" + (f"; not: {why}" if why else "")
