"""What `--from` brings into a new study: the finished trials of another one, or the best parameters of a study or table to try.

Trials of a study are copied if their values are comparable. Rows of a table (our trials.csv, autoresearch's results.tsv, others
like them) are only tried: their values never count as results. This module reads; `resume.py` writes what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.verdict import verdict_of
from optimize.errors import OptimizeError, StudyError
from optimize.search import Starts, Target, fit
from optimize.study.best import why_no_best
from optimize.study.comparable import differences, other_model
from optimize.study.named_sources import candidates_of, is_file, opened_for, read_candidates, read_source, study_of
from optimize.study.retarget import RetargetedTrials, origin_of, retarget
from optimize.study.stopping import COUNTED
from optimize.text import amount
from optimize.trial import Slot, Value
from storage import (
    Database,
    StorageError,
    WholeTrial,
    count_objectives,
    origin_attrs,
    read_records,
    read_whole_trials,
    waiting_trial,
)

FROM, FLAG = "from", "--from"  # study attribute: the source
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
    with opened_for(plan.settings, FLAG, [source]) as database:
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
        with opened_for(settings, FLAG, [source]) as database:
            if _goes_on(settings, source, database):
                return []
            if is_file(source):
                read_source(FLAG, source)
            elif database is not None:
                study_of(database, source)
    except OptimizeError as error:
        return error.problems
    except StorageError as error:
        return [str(error)]
    return []


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
    study_id = study_of(database, source)
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
    ranked = candidates_of(source, records, plan.space, *database.objective(study_id), verdict_of(attrs))
    why = f"--from {source}: {'; '.join(differing)}: its trials are not copied; the best of their parameters are tried"
    return _to_try(fit([candidate for _, candidate in ranked], _target(plan), BEST), [why], source, plan)


def _copied_line(source: str, found: RetargetedTrials) -> str:
    left = f"; left out: {found.why_not}" if found.left_out else ""
    return f"--from {source}: {amount(len(found.trials), 'trial')} copied, not counted against --trials{left}"


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
