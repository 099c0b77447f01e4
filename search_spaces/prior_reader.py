"""Reads the priors of a search space: `[[prior]]` with rows of its own, or with a table beside the file.

A table is CSV: the column `rank`, and columns named like parameters. Its cells are written as in TOML, texts without quotes;
an empty one leaves the parameter out. No value of another task is read, only ranks.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from search_spaces.expressions import SearchSpaceError, Value
from search_spaces.known import RankedRow, SpacePrior
from search_spaces.parameters import objection_to_choice
from search_spaces.problems import SpaceProblems, show
from search_spaces.reading import params_of, read_file, tables_of, text_of
from search_spaces.space import Parameter

RANK, MOST_LINES, LONGEST_CELL = "rank", 8, 200


class PriorReader:
    """Reads the priors of one file; what is wrong with them becomes lines."""

    def __init__(
        self, declared: object, parameters: tuple[Parameter, ...], problems: SpaceProblems, *folders: Path
    ) -> None:
        """`declared` is the file's table of parameters. Tables lie in the first of `folders` that has one of that name."""
        self._declared, self._parameters, self._problems = declared, parameters, problems
        self._folders = folders

    def read(self, raw: object) -> tuple[SpacePrior, ...]:
        """Return the priors; those with a table are left out where there are no folders."""
        found = []
        for where, table in tables_of(raw, "prior", self._problems):
            self._problems.unknown_keys(f"{where}: ", table, ("source", "script", "table", "rows"))
            source = text_of(table, "source", where, self._problems)
            script = text_of(table, "script", where, self._problems) if "script" in table else None
            if ("table" in table) == ("rows" in table):
                self._problems.add(where, "has no rows, or two kinds. Write either table = ... or rows = [...].")
            elif "rows" in table or self._folders:
                before = len(self._problems.lines)
                rows = self._listed(where, table["rows"]) if "rows" in table else self._of_file(where, table)
                if len(self._problems.lines) == before:
                    found.append(SpacePrior(source, self._ranked(where, rows), script))
        return tuple(found)

    def _ranked(self, where: str, rows: list[RankedRow]) -> tuple[RankedRow, ...]:
        if len({row.rank for row in rows}) < 2:
            what = "one row only" if len(rows) == 1 else "no two ranks"
            self._problems.add(
                where, f"has {what}, which tells no good configuration from a bad one. Add rows, or write a [[start]]."
            )
        return tuple(sorted(rows, key=lambda row: row.rank))

    def _listed(self, where: str, raw: object) -> list[RankedRow]:
        if not isinstance(raw, list) or not all(isinstance(row, dict) for row in raw):
            self._problems.add(
                where, "rows: is no array of tables. Write rows = [{ rank = 1, params = { ... } }, ...]."
            )
            return []
        rows = []
        for number, row in enumerate(raw, 1):
            line = f"{where} row {number}"
            self._problems.unknown_keys(f"{line}: ", row, (RANK, "params"))
            rows.append(RankedRow(self._rank(line, row.get(RANK)), self._params(line, row.get("params"))))
        return rows

    def _of_file(self, where: str, table: Mapping[str, object]) -> list[RankedRow]:
        name = text_of(table, "table", where, self._problems)
        if not name:
            return []
        path = self._folders[0] / name
        with suppress(OSError):  # a name that is too long
            path = next((at for folder in self._folders if (at := folder / name).is_file()), path)
        shown = f"{self._problems.path}: {where}: table {show(name)}"
        inner = PriorReader(self._declared, self._parameters, SpaceProblems(self._problems.path))
        try:
            rows = inner._rows_of(f"{where} {name}", read_file(path, shown, "a table of some hundred rows"))
        except SearchSpaceError as error:
            self._problems.lines += error.problems
            return []
        lines = inner._problems.lines
        if (more := len(lines) - MOST_LINES) > 0:
            lines[MOST_LINES:] = [f"{shown}: and {more} more such lines. Correct them."]
        self._problems.lines += lines
        return rows

    def _rows_of(self, where: str, text: str) -> list[RankedRow]:
        known, problems = {parameter.name: parameter for parameter in self._parameters}, self._problems
        lines = _lines(where, text, problems)
        _, header = next(lines, (0, []))
        if header.count(RANK) != 1 or len(set(header)) < len(header):
            problems.add(where, f"its header has no column {RANK}, or one twice. Write {RANK},NAME,NAME,...")
            return []
        for name in header:
            if name != RANK and (not isinstance(self._declared, dict) or name not in self._declared):
                problems.add(
                    where, f"{show(name)} is no parameter of this space. Remove its column or add its choices."
                )
        rows = []
        for number, cells in lines:
            line, given = f"{where} line {number}", dict(zip(header, cells, strict=False))
            if len(cells) != len(header):
                problems.add(line, f"has {len(cells)} cells, the header {len(header)}. Correct it.")
                continue
            rank = _parsed(given.pop(RANK))
            params = {name: _value(cell, known[name]) for name, cell in given.items() if name in known and cell}
            rows.append(RankedRow(self._rank(line, rank), self._params(line, params)))
        return rows

    def _rank(self, where: str, raw: object) -> float:
        if isinstance(raw, int | float) and not isinstance(raw, bool) and raw > 0 and not objection_to_choice(raw):
            return float(raw)
        self._problems.add(where, f"{RANK}: {show(raw)} is no number above 0. Give 1 to the best row, 2 to the next.")
        return 0.0

    def _params(self, where: str, raw: object) -> Mapping[str, Value]:
        return params_of(raw, where, self._declared, self._parameters, self._problems)


def _lines(where: str, text: str, problems: SpaceProblems) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line with its number; empty lines are passed over."""
    reader = csv.reader(text.splitlines())
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        problems.add(where, f"line {reader.line_num} is no CSV: {error}. Correct it.")


def _value(cell: str, parameter: Parameter) -> object:
    return cell if isinstance(parameter.choices[0], str) else _parsed(cell)


def _parsed(cell: str) -> object:
    """Return a cell as TOML has it, its text where it is none."""
    try:
        return tomllib.loads(f"cell = {cell}")["cell"] if len(cell) <= LONGEST_CELL else cell
    except (ValueError, RecursionError):
        return cell
