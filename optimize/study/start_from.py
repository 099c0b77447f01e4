"""What `--from` brings into a new study: the finished trials of another one, or the best parameters of a study or table to try.

Trials of a study are copied if their values are comparable. Rows of a table (our trials.csv, autoresearch's results.tsv, others
like them) are only tried: their values never count as results. This module reads; `resume.py` writes what it finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import OptimizeError, SettingsError, StudyError
from optimize.importing.cells import number_in, read_text
from optimize.importing.csv_table import LINES_SHOWN, read_table
from optimize.importing.rows import Row, value_in
from optimize.search import Candidate, Starts, Target, fit
from optimize.study.best import find_best, why_no_best
from optimize.study.comparable import differences, other_model
from optimize.study.retarget import RetargetedTrials, origin_of, retarget, value_of
from optimize.study.stopping import COUNTED
from optimize.text import amount, listed, meant
from optimize.trial import Metric, Slot, Value, sign_of
from search_spaces import Parameter, SearchSpace, SearchSpaceError
from storage import (
    Database,
    StorageError,
    Stored,
    StudyPaths,
    TrialRecord,
    WholeTrial,
    count_objectives,
    is_there,
    number_text,
    one_line,
    open_database,
    origin_attrs,
    read_records,
    read_whole_trials,
    waiting_trial,
)

HINT = "; a study is named without a slash"


@dataclass(frozen=True, slots=True)
class TableCandidates:
    """The rows of a table that can be tried, the best first, and a line that says which rows cannot, and why."""

    candidates: Sequence[Candidate]
    note: str


class _UnusableError(Exception):
    """Why a row cannot be tried, in a few words."""


def is_file(source: str) -> bool:
    """Whether `source` is a path; else it is the name of a study."""
    return "/" in source or source.lower().endswith((".csv", ".tsv"))


def read_source(source: str) -> str:
    """Return the text of such a file. Raises SettingsError."""
    return read_text(source, _what(source), HINT)


def read_candidates(source: str, space: SearchSpace, metric: Metric) -> TableCandidates:
    """Read the rows of a table that name parameters of the search space. Raises SettingsError with a line for each problem."""
    advice = "Give a table of the workload's metric, with a header."
    table = read_table(source, _what(source), metric.name, space.names, hint=HINT, advice=advice)
    found: list[tuple[float, int, Candidate]] = []
    unusable: Counter[str] = Counter()
    for row in table.rows:
        try:
            value = _value_of_row(row, metric)
            title = f"{source} line {row.line} ({metric.name} {value:g})"
            found.append((value, row.line, Candidate(title, title, _params(row, space))))
        except _UnusableError as why:
            unusable[str(why)] += 1
    note = _note(_what(source), [line for _, line, _ in found], unusable)
    if not found:
        raise SettingsError(
            f"{note}. Give a table with a column, or descriptions NAME=value, of the space's parameters."
        )
    found.sort(key=lambda each: (metric.sign * each[0], each[1]))
    return TableCandidates([candidate for *_, candidate in found], note)


def _what(source: str) -> str:
    return f"--from {one_line(source, 200)}"


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


FROM = "from"  # study attribute: the source of --from
BEST = 5  # distinct configurations that are tried again


@dataclass(frozen=True, slots=True)
class StartTrials:
    """The trials that a new study starts with, and lines for the user about them."""

    trials: Sequence[WholeTrial]
    lines: Sequence[str]


def describe_start_from(plan: Plan, slots: Sequence[Slot] = ()) -> Sequence[str]:
    """Return lines about what `--from` would bring, as far as is known before the data is prepared. Creates nothing.

    Raises SettingsError or StudyError if the study cannot start that way.
    """
    source = plan.settings.start_from
    if source is None:
        return []
    with _opened(plan.settings) as database:
        if goes_on := _goes_on(plan.settings, source, database):
            return [goes_on]
        if is_file(source):
            return _from_table(source, plan).lines
        return _from_study(database, source, plan, None, slots).lines if database else []


def unknown_source(settings: Settings) -> Sequence[str]:
    """Return why the source of `--from` does not exist; [] if it does. Needs no plan, so all mistakes are told at once."""
    source = settings.start_from
    if source is None:
        return []
    try:
        with _opened(settings) as database:
            if _goes_on(settings, source, database):
                return []
            if is_file(source):
                read_source(source)
            elif database is not None:
                _study_of(database, source)
    except OptimizeError as error:
        return error.problems
    except StorageError as error:
        return [str(error)]
    return []


@contextmanager
def _opened(settings: Settings) -> Iterator[Database | None]:
    """Open the database, or None if there is none yet; that is an error only if `--from` names a study."""
    where = settings.storage or StudyPaths.of(settings.runs, settings.study).database
    if is_there(where):
        with closing(open_database(where, create=False, read_only=True)) as database:
            yield database
    elif settings.start_from is not None and not is_file(settings.start_from):
        raise StudyError(
            f"--from {settings.start_from}: there is no such study: {where} is not there yet. Check the name."
        )
    else:
        yield None


def _goes_on(settings: Settings, source: str, database: Database | None) -> str:
    """Return a line if the study exists and began with the same source; "" if it is new."""
    study_id = database.find_study(settings.study) if database else None
    if database is None or study_id is None:
        return ""
    return check_source(settings.study, database.study_attrs(study_id), source)


def check_source(study: str, attrs: Mapping[str, Any], source: str) -> str:
    """Return a line if an existing study began with `source`. Raises StudyError if it did not."""
    began = attrs.get(FROM)
    if began == source:
        return f"study {study}: it began with {source} and goes on"
    how = f"began with {began}" if began else "began without it"
    raise StudyError(
        f"study {study}: --from {source}: the study exists and {how}. Leave --from out, or choose another --study."
    )


def start_trials(database: Database, plan: Plan, data: str | None, slots: Sequence[Slot] = ()) -> StartTrials:
    """Return what the plan's new study starts with.

    `data` is the fingerprint of its data, None while that is not known. `slots` tell on which devices it will run.
    """
    source = plan.settings.start_from
    if source is None:
        return StartTrials((), ())
    return _from_table(source, plan) if is_file(source) else _from_study(database, source, plan, data, slots)


def _target(plan: Plan) -> Target:
    return Target(plan.space, plan.constants, plan.baseline)


def _from_table(source: str, plan: Plan) -> StartTrials:
    table = read_candidates(source, plan.space, plan.workload.metric)
    return _to_try(fit(table.candidates, _target(plan), BEST), [table.note], source, plan)


def _from_study(database: Database, source: str, plan: Plan, data: str | None, slots: Sequence[Slot]) -> StartTrials:
    study_id = _study_of(database, source)
    attrs, settings = database.study_attrs(study_id), plan.settings
    records = read_records(database, study_id)
    differing = differences(attrs, plan.workload, plan.space, settings.written, data)
    if model := other_model(plan, slots, records):
        differing.append(f"its trials ran on {model}, here is {slots[0].device}")
    if not differing:
        devices = {slot.device for slot in slots}
        origin = origin_of(source, attrs, plan)
        found = retarget(read_whole_trials(database, study_id), COUNTED, origin, plan, devices)
        if any(trial.state == "COMPLETE" for trial in found.trials):
            return StartTrials(found.trials, [_copied_line(source, found)])
        differing = ["none of its complete trials fits the search space"]
    if no_best := why_no_best(count_objectives(database, study_id)):
        raise StudyError(f"--from {source}: {no_best}. Name another source, or leave --from out.")
    candidates = _best(source, records, plan.space, *database.objective(study_id), verdict_of(attrs))
    why = f"--from {source}: {'; '.join(differing)}: its trials are not copied; the best of their parameters are tried"
    return _to_try(fit(candidates, _target(plan), BEST), [why], source, plan)


def _study_of(database: Database, source: str) -> int:
    study_id = database.find_study(source)
    if study_id is None:
        names = database.study_names()
        raise StudyError(
            f"--from {source}: there is no such study. There are: {listed(names) or 'none yet'}. A file is named with its "
            f".tsv or .csv.{meant(source, names, path=True)}"
        )
    return study_id


def _copied_line(source: str, found: RetargetedTrials) -> str:
    left = f"; left out: {found.why_not}" if found.left_out else ""
    return f"--from {source}: {amount(len(found.trials), 'trial')} copied, not counted against --trials{left}"


def _best(
    source: str,
    records: Sequence[TrialRecord],
    space: SearchSpace,
    metric: str,
    direction: str,
    verdict: Verdict | None,
) -> list[Candidate]:
    """Return the complete trials as candidates: the best first, which may be confirmed, then the others by value."""
    sign, best = sign_of(direction), find_best(records, direction, verdict)
    first = best.record.number if best else None
    complete = sorted((r.number != first, sign * r.value, r.number, r) for r in records if r.value is not None)
    found = []
    for _, _, number, record in complete:
        title = f"study {source}, trial {number} ({metric} {number_text(record.value)})"
        found.append(
            Candidate(title, title, {name: _value(name, stored, space) for name, stored in record.params.items()})
        )
    return found


def _value(name: str, stored: Stored, space: SearchSpace) -> Value:
    try:
        return value_of(stored, space[name]) if name in space.names else stored
    except SearchSpaceError:
        return stored  # is no choice; `fit` says so


def _to_try(starts: Starts, lines: Sequence[str], source: str, plan: Plan) -> StartTrials:
    if not starts.planned:
        raise StudyError(f"--from {source}: nothing to start with: {_why_none(starts)}")
    trials = [_waiting(plan, start.params, "start", start.source) for start in starts.planned]
    return StartTrials([_waiting(plan, plan.baseline, "baseline"), *trials], [*lines, *starts.lines])


def _why_none(starts: Starts) -> str:
    if not starts.left_out:
        return "it has no complete trial. Name another source, or leave --from out."
    return f"{starts.left_out[0]}. Name another source, or leave --from out."


def _waiting(plan: Plan, params: Mapping[str, Value], kind: str, source: str = "") -> WholeTrial:
    return waiting_trial(plan.space.encode(params), plan.space.stored_choices, origin_attrs(kind, source=source))
