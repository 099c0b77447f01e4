"""Reads what `--from` and `--prior` name: a study of the same database, or a table, as parameters that did well, the best first.

A table is our trials.csv, autoresearch's results.tsv or one like them. Nothing is decided here about what is done with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from optimize.config.settings import Settings
from optimize.confirm.verdict import Verdict
from optimize.errors import SettingsError, StudyError
from optimize.importing.cells import number_in, read_text
from optimize.importing.csv_table import LINES_SHOWN, read_table
from optimize.importing.rows import Row, value_in
from optimize.search import Candidate
from optimize.study.best import find_best
from optimize.study.retarget import value_of
from optimize.text import listed, meant
from optimize.trial import Metric, Value, sign_of
from search_spaces import Parameter, SearchSpace, SearchSpaceError
from storage import (
    Database,
    Stored,
    StudyPaths,
    TrialRecord,
    is_there,
    number_text,
    one_line,
    open_database,
)

HINT = "; a study is named without a slash"


@dataclass(frozen=True, slots=True)
class TableCandidates:
    """The rows of a table that can be tried, the best first, and a line that says which rows cannot, and why."""

    candidates: Sequence[Candidate]
    values: Sequence[float]  # of the candidates
    note: str


class _UnusableError(Exception):
    """Why a row cannot be tried, in a few words."""


def is_file(source: str) -> bool:
    """Whether `source` is a path; else it is the name of a study."""
    return "/" in source or source.lower().endswith((".csv", ".tsv"))


def read_source(flag: str, source: str) -> str:
    """Return the text of such a file. Raises SettingsError."""
    return read_text(source, _what(flag, source), HINT)


def read_candidates(
    source: str, space: SearchSpace, metric: Metric, flag: str = "--from", *, needed: bool = True
) -> TableCandidates:
    """Read the rows of a table that name parameters of the search space. Raises SettingsError with a line for each problem.

    Without `needed` it may have none.
    """
    advice = "Give a table of the workload's metric, with a header."
    table = read_table(source, _what(flag, source), metric.name, space.names, hint=HINT, advice=advice)
    found: list[tuple[float, int, Candidate]] = []
    unusable: Counter[str] = Counter()
    for row in table.rows:
        try:
            value = _value_of_row(row, metric)
            title = f"{source} line {row.line} ({metric.name} {value:g})"
            found.append((value, row.line, Candidate(title, title, _params(row, space))))
        except _UnusableError as why:
            unusable[str(why)] += 1
    note = _note(_what(flag, source), [line for _, line, _ in found], unusable)
    if needed and not found:
        raise SettingsError(
            f"{note}. Give a table with a column, or descriptions NAME=value, of the space's parameters."
        )
    found.sort(key=lambda each: (metric.sign * each[0], each[1]))
    return TableCandidates([candidate for *_, candidate in found], [value for value, *_ in found], note)


def _what(flag: str, source: str) -> str:
    return f"{flag} {one_line(source, 200)}"


def _value_of_row(row: Row, metric: Metric) -> float:
    value = value_in(row, metric.direction)
    if value is None:
        raise _UnusableError("not complete with a value")
    return value


def _params(row: Row, space: SearchSpace) -> dict[str, Value]:
    given = {one_line(name, 60): str(text) for name, text in row.params.items()}
    known = {name: _parsed(given[name], space[name]) for name in given if name in space.names}
    if known:
        return {**given, **known}
    if row.is_cut:
        raise _UnusableError("with a description that lacks its end; trials.csv has all of it")
    if not given and row.text("description").lower() == "baseline":
        raise _UnusableError("the baseline, which is tried anyway")
    raise _UnusableError("name no parameter of the space (NAME=value)")


def _parsed(text: str, parameter: Parameter) -> Value:
    """Return a cell as a value that has a nearest choice. Raises _UnusableError."""
    try:
        value = _literal(text, parameter)
        parameter.nearest(value)
    except SearchSpaceError:
        raise _UnusableError(f"with a {parameter.name} that is like none of its choices") from None
    return value


def _literal(text: str, parameter: Parameter) -> Value:
    sort = parameter.choices[0]
    bare = text.strip()
    if isinstance(sort, str):
        unquoted = bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"" else bare
        return next((each for each in (text, bare, unquoted) if each in parameter.choices), unquoted)
    if isinstance(sort, bool):
        return {"true": True, "false": False}.get(bare.lower(), text)
    if isinstance(sort, tuple):
        return value_of(text, parameter)
    number = number_in(text)  # 2**17 as well
    return text if number is None or isinstance(number, tuple) else number


def _note(what: str, lines: Sequence[int], unusable: Mapping[str, int]) -> str:
    rows = len(lines) + sum(unusable.values())
    shown = f" (line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))})" if 0 < len(lines) <= LINES_SHOWN else ""
    why = "; ".join(f"{count} {reason}" for reason, count in unusable.items())
    return f"{what}: {len(lines)} of {rows} rows can be tried{shown}" + (f"; not: {why}" if why else "")


@contextmanager
def opened_for(settings: Settings, flag: str, sources: Sequence[str]) -> Iterator[Database | None]:
    """Open the database, or None if there is none yet; that is an error only if one of the sources is a study."""
    where = settings.storage or StudyPaths.of(settings.runs, settings.study).database
    studies = [source for source in sources if not is_file(source)]
    if is_there(where):
        with closing(open_database(where, create=False, read_only=True)) as database:
            yield database
    elif studies:
        raise StudyError(
            *(f"{flag} {each}: there is no such study: {where} is not there yet. Check the name." for each in studies)
        )
    else:
        yield None


def study_of(database: Database, source: str, flag: str = "--from") -> int:
    """Return the id of the study of that name. Raises StudyError that names those there are."""
    study_id = database.find_study(source)
    if study_id is None:
        names = database.study_names()
        raise StudyError(
            f"{flag} {source}: there is no such study. There are: {listed(names) or 'none yet'}. A file is named with its "
            f".tsv or .csv.{meant(source, names, path=True)}"
        )
    return study_id


def candidates_of(
    source: str,
    records: Sequence[TrialRecord],
    space: SearchSpace,
    metric: str,
    direction: str,
    verdict: Verdict | None,
) -> list[tuple[float, Candidate]]:
    """Return the complete trials with their values: the best first, which may be confirmed, then the others by value."""
    sign, best = sign_of(direction), find_best(records, direction, verdict)
    first = best.record.number if best else None
    complete = sorted((r.number != first, sign * r.value, r.number, r) for r in records if r.value is not None)
    found = []
    for _, _, number, record in complete:
        title = f"study {source}, trial {number} ({metric} {number_text(record.value)})"
        params = {name: _value(name, stored, space) for name, stored in record.params.items()}
        found.append((float(record.value or 0.0), Candidate(title, title, params)))
    return found


def _value(name: str, stored: Stored, space: SearchSpace) -> Value:
    try:
        return value_of(stored, space[name]) if name in space.names else stored
    except SearchSpaceError:
        return stored  # is no choice; `fit` says so
