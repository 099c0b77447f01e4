"""Rows of a table from elsewhere as candidates for starts: our trials.csv, autoresearch's results.tsv, others like them.

No value of theirs is taken for a result of ours. How a table is read is `intake`'s to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimize.errors import SettingsError
from optimize.exchange.taking import value_of
from optimize.intake.past import Row, value_in
from optimize.intake.tables import LINES_SHOWN, read_table
from optimize.intake.text_file import number_in, read_text
from optimize.search import Candidate
from optimize.trial import Metric, Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError
from storage import one_line

HINT = "; a study is named without a slash"


@dataclass(frozen=True, slots=True)
class Offer:
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
    return read_text(source, _what(source), HINT)


def read_offer(source: str, space: SearchSpace, metric: Metric) -> Offer:
    """The rows of a table that name parameters of the space. Raises SettingsError, with a line for each trouble."""
    advice = "Give a table of the workload's metric, with a header."
    table = read_table(source, _what(source), metric.name, space.names, hint=HINT, advice=advice)
    found: list[tuple[float, int, Candidate]] = []
    unusable: Counter[str] = Counter()
    for row in table.rows:
        try:
            value = _value(row, metric)
            title = f"{source} line {row.line} ({metric.name} {value:g})"
            found.append((value, row.line, Candidate(title, title, _params(row, space))))
        except _UnusableError as why:
            unusable[str(why)] += 1
    note = _note(_what(source), [line for _, line, _ in found], unusable)
    if not found:
        raise SettingsError(
            f"{note}. Give a table with a column, or descriptions NAME=value, of the space's parameters."
        )
    found.sort(key=lambda each: (each[0] if metric.direction == "minimize" else -each[0], each[1]))
    return Offer([candidate for *_, candidate in found], note)


def _what(source: str) -> str:
    return f"--from {one_line(source, 200)}"


def _value(row: Row, metric: Metric) -> float:
    value = value_in(row, metric.direction)
    if value is None:
        raise _UnusableError("not complete with a value")
    return value


def _params(row: Row, space: SearchSpace) -> dict[str, Value]:
    given = {one_line(name, 60): str(text) for name, text in row.params.items()}
    known = {name: _parsed(given[name], space[name]) for name in given if name in space.names}
    if known:
        return {**given, **known}
    if not given and row.text("description").lower() == "baseline":
        raise _UnusableError("the baseline, which is tried anyway")
    raise _UnusableError("name no parameter of the space (NAME=value)")


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
    number = number_in(text)  # 2**17 as well
    return text if number is None or isinstance(number, tuple) else number


def _note(what: str, lines: Sequence[int], unusable: Mapping[str, int]) -> str:
    rows = len(lines) + sum(unusable.values())
    shown = f" (line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))})" if 0 < len(lines) <= LINES_SHOWN else ""
    why = "; ".join(f"{count} {reason}" for reason, count in unusable.items())
    return f"{what}: {len(lines)} of {rows} rows can be tried{shown}" + (f"; not: {why}" if why else "")
