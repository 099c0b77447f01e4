"""Reads tables of trials: autoresearch's results.tsv, our trials.csv, Optuna's dataframe as CSV, and others like them.

Each line becomes a Row; lines with more cells than the header are reported, all at once. Whether a row becomes a trial to
look at or parameters to try is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from optimize.errors import SettingsError
from optimize.importing.cells import (
    MEANING,
    NAME_IT,
    metric_among,
    parameters_among,
    read_text,
    settings_in,
    table_rows,
)
from optimize.importing.rows import Row
from storage import from_cell, one_line

MOST_ROWS, LINES_SHOWN = 100_000, 8
_FIVE = ("commit", "memory_gb", "status", "description")  # of autoresearch's columns; the other one is the metric


@dataclass(frozen=True, slots=True)
class TableContents:
    """The rows of a file, in their order, and the metric of their values."""

    metric: str
    rows: Sequence[Row]


def read_table(
    source: str, what: str, metric: str | None, named: Collection[str], *, hint: str = "", advice: str = NAME_IT
) -> TableContents:
    """Return the rows of a table. Raises SettingsError with a line for each problem.

    Where the header has spaces around a name, those around cells are layout too. `what` begins every message, such as
    `--from ./results.tsv`. `hint` ends the one for a path that does not exist, `advice`
    the one for a table without the metric. `named` are columns that are parameters, whatever they are called.
    """
    lines = table_rows(read_text(source, what, hint), what)
    names = next(lines, (0, []))[1]
    header = [from_cell(cell.strip()) for cell in names]
    if not header:
        raise SettingsError(f"{what}: it is empty. Give a table with a header.")
    columns = _columns(header, metric, named, what, advice)
    is_laid_out = any(name != name.strip() for name in names)
    rows: list[Row] = []
    problems = []
    for number, cells in lines:
        cells = _fitted(cells, header)
        if len(cells) > len(header):
            problems.append(f"{what}: line {number} has {len(cells)} cells, the header {len(header)}. Correct it.")
        elif len(rows) == MOST_ROWS:
            raise SettingsError(f"{what}: more than {MOST_ROWS:,} rows. Cut it down.")
        else:
            padded = [*cells, *[""] * (len(header) - len(cells))]
            exact = dict(zip(header, map(str.strip, padded) if is_laid_out else padded, strict=True))
            rows.append(_row(number, exact, columns))
    if problems:
        raise SettingsError(*first_of(problems, what))
    if not rows:
        raise SettingsError(f"{what}: has a header and no row. Give a table with rows.")
    return TableContents(columns.name, rows)


def first_of(problems: Sequence[str], what: str) -> list[str]:
    """Return the first LINES_SHOWN problems, and how many more there are."""
    more = len(problems) - LINES_SHOWN
    return [*problems[:LINES_SHOWN], *([f"{what}: and {more} more such lines. Correct them."] if more > 0 else [])]


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the columns of the file mean."""

    name: str  # of the metric
    metric: str  # its column
    params: Mapping[str, str]  # column -> parameter
    known: Mapping[str, str]  # column -> what it means
    ours: bool  # all other columns are figures that the script printed
    is_results: bool  # results.tsv, ours or autoresearch's


def _columns(header: Sequence[str], metric: str | None, named: Collection[str], what: str, advice: str) -> _Columns:
    problems = [
        f"{what}: has the column {one_line(name, 60)!r} twice. Remove one."
        for name in dict.fromkeys(filter(None, header))
        if header.count(name) > 1
    ]
    name = column = ""
    if len(header) == 5 and set(_FIVE) < set(header) and metric is None:
        (name,) = set(header) - set(_FIVE)
        column = name
    else:
        try:
            name, column = metric_among(header, metric, what, advice)
        except SettingsError as error:
            problems += error.problems
    params = parameters_among([each for each in header if each != column], named)
    holders = {parameter: [c for c in params if params[c] == parameter] for parameter in params.values()}
    problems += [
        f"{what}: has {one_line(parameter, 60)} in the columns {one_line(' and '.join(there), 200)}. Remove one."
        for parameter, there in holders.items()
        if len(there) > 1
    ]
    if problems:
        raise SettingsError(*first_of(problems, what))
    known = {each: MEANING[each] for each in header if each in MEANING and each not in params and each != column}
    ours, is_results = (
        {"kind", "requeue_of", "taken_from"} <= set(header),
        len(header) == 5 and set(_FIVE) < set(header),
    )
    return _Columns(one_line(name, 60), column, params, known, ours, is_results)


def _fitted(cells: list[str], header: Sequence[str]) -> list[str]:
    """Join cells that a tab in the description, the last column of a results.tsv, has split."""
    if header[-1] == "description" and len(cells) > len(header):
        return [*cells[: len(header) - 1], " ".join(cells[len(header) - 1 :])]
    return cells


def _row(line: int, exact: Mapping[str, str], columns: _Columns) -> Row:
    """Return the row of these cells. Spaces around a parameter's text are part of it: `a` and ` a` are two choices."""
    exact = {name: from_cell(cell) for name, cell in exact.items()} if columns.ours or columns.is_results else exact
    cells = {name: cell.strip() for name, cell in exact.items()}
    known = {what: cells[column] for column, what in columns.known.items() if cells[column]}
    params = {parameter: exact[column] for column, parameter in columns.params.items() if cells[column]}
    left = [each for each in cells if each and each not in columns.params and each not in columns.known]
    rest = {
        column.removeprefix("user_attrs_"): cells[column]
        for column in left
        if column != columns.metric and cells[column] and not column.startswith("system_attrs_")
    }
    figures, rest = (_figures(rest), {}) if columns.ours else ({}, rest)
    return Row(
        line, known, cells[columns.metric], params or settings_in(known.get("description", "")), figures, rest=rest
    )


def _figures(cells: Mapping[str, str]) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for name, text in cells.items():
        try:
            found[name.removeprefix("summary_")] = float(text)
        except ValueError:
            found[name] = text
    return found
