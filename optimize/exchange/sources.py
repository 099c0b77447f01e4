"""What `--from` brings into a new study: the finished trials of another one, or its best parameters to be tried again.

A study's trials are taken over where their values are comparable; the rows of a table never are, they are only tried.
It reads; `opening.py` writes what it finds, in the transaction that creates the study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from optimize.budget import COUNTED
from optimize.devices import other_model
from optimize.errors import OptimizeError, StudyError
from optimize.exchange.importing import is_file, read_offer, read_source
from optimize.exchange.taking import Taken, origin_of, take, value_of
from optimize.fingerprint import differences
from optimize.phrases import listed, meant
from optimize.plan import Plan
from optimize.search import Candidate, Starts, fit
from optimize.settings import Settings
from optimize.standing import standing
from optimize.trial import Slot, Value
from optimize.verdict import Verdict, verdict_of
from search_spaces import SearchSpace, SearchSpaceError
from storage import (
    Database,
    StorageError,
    Stored,
    StudyPaths,
    TrialRecord,
    WholeTrial,
    is_there,
    number_text,
    open_database,
    origin_attrs,
    read_records,
    read_whole_trials,
    waiting_trial,
)

FROM = "from"  # study attribute: what it began with
BEST = 5  # distinct configurations that are tried again


@dataclass(frozen=True, slots=True)
class Beginning:
    """The trials that a new study begins with, and what the user should know."""

    trials: Sequence[WholeTrial]
    lines: Sequence[str]


def look_up(plan: Plan, slots: Sequence[Slot] = ()) -> Sequence[str]:
    """What `--from` would bring, as far as is known before the data is prepared; nothing is created.

    Raises SettingsError and StudyError for all that would keep the study from beginning so.
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


def misnamed(settings: Settings) -> Sequence[str]:
    """Why there is no such source of `--from`, known without a plan, so that it is told with whatever else is wrong."""
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
    """The database that is there, None if there is none yet, which is an error only for the name of a study."""
    where = settings.storage or StudyPaths.of(settings.runs, settings.study).database
    if is_there(where):
        with closing(open_database(where, create=False)) as database:
            yield database
    elif settings.start_from is not None and not is_file(settings.start_from):
        raise StudyError(
            f"--from {settings.start_from}: there is no such study: {where} is not there yet. Check the name."
        )
    else:
        yield None


def _goes_on(settings: Settings, source: str, database: Database | None) -> str:
    """A line if the study is there already, and began so; "" if it is new."""
    study_id = database.find_study(settings.study) if database else None
    if database is None or study_id is None:
        return ""
    return check_source(settings.study, database.study_attrs(study_id), source)


def check_source(study: str, attrs: Mapping[str, Any], source: str) -> str:
    """A study that is there already began with `source`, and goes on. Raises StudyError if it did not."""
    began = attrs.get(FROM)
    if began == source:
        return f"study {study}: it began with {source} and goes on"
    how = f"began with {began}" if began else "began without it"
    raise StudyError(
        f"study {study}: --from {source}: it is there already and {how}. Leave --from out, or choose another STUDY."
    )


def begin(database: Database, plan: Plan, data: str | None, slots: Sequence[Slot] = ()) -> Beginning:
    """What the plan's new study begins with. `data` is the fingerprint of its data, None while that is not known; so are
    `slots`, which say on which devices it will run."""
    source = plan.settings.start_from
    if source is None:
        return Beginning((), ())
    return _from_table(source, plan) if is_file(source) else _from_study(database, source, plan, data, slots)


def _from_table(source: str, plan: Plan) -> Beginning:
    offer = read_offer(source, plan.space, plan.workload.metric)
    return _to_try(fit(offer.candidates, plan.space, plan.constants, plan.baseline, BEST), [offer.note], source, plan)


def _from_study(database: Database, source: str, plan: Plan, data: str | None, slots: Sequence[Slot]) -> Beginning:
    study_id = _study_of(database, source)
    attrs, settings = database.study_attrs(study_id), plan.settings
    records = read_records(database, study_id)
    differing = differences(attrs, plan.workload, plan.space, settings.constants, data)
    if model := other_model(plan, slots, records):
        differing.append(f"its trials ran on {model}, here is {slots[0].device}")
    if not differing:
        devices = {slot.device for slot in slots}
        taken = take(read_whole_trials(database, study_id), COUNTED, origin_of(source, attrs, plan), plan, devices)
        if any(trial.state == "COMPLETE" for trial in taken.trials):
            return Beginning(taken.trials, [_taken_line(source, taken)])
        differing = ["none of its complete trials fits the search space"]
    candidates = _best(source, records, plan.space, *database.objective(study_id), verdict_of(attrs))
    why = f"--from {source}: {'; '.join(differing)}: its trials are not taken over, the best of their parameters are tried"
    return _to_try(fit(candidates, plan.space, plan.constants, plan.baseline, BEST), [why], source, plan)


def _study_of(database: Database, source: str) -> int:
    study_id = database.find_study(source)
    if study_id is None:
        names = database.study_names()
        raise StudyError(
            f"--from {source}: there is no such study. There are: {listed(names) or 'none yet'}. A file is named with its "
            f".tsv or .csv.{meant(source, names, path=True)}"
        )
    return study_id


def _taken_line(source: str, taken: Taken) -> str:
    left = f"; left out: {taken.why_not}" if taken.left_out else ""
    return f"--from {source}: {len(taken.trials)} trials are taken over; they do not count against TRIALS{left}"


def _best(
    source: str,
    records: Sequence[TrialRecord],
    space: SearchSpace,
    metric: str,
    direction: str,
    verdict: Verdict | None,
) -> list[Candidate]:
    """The complete trials as candidates, the best first, which may be confirmed; the others by value."""
    sign, best = 1 if direction == "minimize" else -1, standing(records, direction, verdict)
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


def _to_try(starts: Starts, lines: Sequence[str], source: str, plan: Plan) -> Beginning:
    if not starts.planned:
        raise StudyError(f"--from {source}: nothing to begin with: {_why_none(starts)}")
    trials = [_waiting(plan, start.params, "start", start.source) for start in starts.planned]
    return Beginning([_waiting(plan, plan.baseline, "baseline"), *trials], [*lines, *starts.lines])


def _why_none(starts: Starts) -> str:
    if not starts.left_out:
        return "it has no complete trial. Name another, or leave --from out."
    return f"{starts.left_out[0]}. Name another, or leave --from out."


def _waiting(plan: Plan, params: Mapping[str, Value], kind: str, source: str = "") -> WholeTrial:
    stored = {p.name: p.encode(params[p.name]) for p in plan.space.parameters}
    choices = {p.name: p.stored_choices for p in plan.space.parameters}
    return waiting_trial(stored, choices, origin_attrs(kind, source=source))
