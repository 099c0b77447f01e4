"""Creates a study or goes on with it: the lock, the fingerprint, what an earlier driver left, the baseline and other starts.

After `open_study` a Study is ready to be asked; what happens then is up to `study.py` and `loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from optimize.advisor import Advisor, spent_of
from optimize.config.plan import Plan
from optimize.runner.workdir import recover_outcome, remove_folder
from optimize.script.byte_order_marks import with_boms
from optimize.script.derived import measure_of, same_run, scorer
from optimize.search import Footprint, Memory, Past, Prior, QueueOnly, Sampler, footprint, open_sampler, rules_attr
from optimize.search.pruners import open_pruner
from optimize.study.baseline_fit import BaselineFit, too_large, with_device_batch
from optimize.study.comparable import (
    DEVICE_BATCH,
    changed_before_any_value,
    check_fingerprint,
    describe_study,
    fingerprint,
    slots_of_one_model,
    space_file_attr,
)
from optimize.study.held import HeldStudy, hold_study
from optimize.study.kept import Scripts
from optimize.study.prior import check_prior, prior_of, read_prior
from optimize.study.proposals import adopt_waiting, decoded, queued_of
from optimize.study.queued import ENQUEUED, Search
from optimize.study.start_from import FROM, check_source, start_trials
from optimize.study.stopping import COUNTED
from optimize.study.study import Study
from optimize.trial import Outcome, Slot, Suggestion, TrialStatus
from search_spaces import SearchSpace
from storage import (
    Artifacts,
    Database,
    StudyPaths,
    Tables,
    TrialRecord,
    add_trials,
    is_there,
    open_database,
    parent_of,
    protect_tables,
    read_records,
)

ALL_TRAINED = "every queued training is done"  # how a child study ends


@contextmanager
def open_study(
    database: Database,
    plan: Plan,
    data: str | None,
    say: Callable[[str], None],
    slots: Sequence[Slot] = (),
    *,
    advisor: Advisor | None = None,
    set_aside: bool = False,
    beside: bool = False,
) -> Iterator[Study]:
    """Create or reopen the plan's study, with this process as its only driver.

    `data` is the fingerprint of the prepared data; None compares all but that. `slots` tell a trial's device.
    An `advisor` proposes its share. In a child study nothing is proposed: what it is to train is queued. One that is trained
    `beside` a search has no baseline of its own.
    `set_aside` renames tables that hold trials which the database lacks; else they raise StorageError.
    Raises StudyMismatchError if its values would not be comparable, StudyBusyError if another driver is alive.
    """
    paths = StudyPaths(plan.settings.runs, plan.settings.study)
    study_id = _find_or_create(database, paths, plan, data, slots, say, set_aside)
    with hold_study(database, study_id, paths, say) as held:
        _check(database, study_id, plan, data, say)
        _keep_space(held, plan)
        prior = prior_of(database.study_attrs(study_id), plan.space)
        sampler = QueueOnly(ALL_TRAINED) if parent_of(plan.settings.study) else _sampler(plan, slots, prior)
        mine = plan.settings
        pruner = open_pruner(mine.pruner, plan.workload.metric, mine.seed) if mine.pruning else None
        artifacts, search = Artifacts(paths.artifacts, database), Search(sampler, pruner, advisor, BaselineFit(plan))
        artifacts.create()
        originals = with_boms(plan.workload.files, plan.workload.with_bom)
        baseline = plan.job(Suggestion(0, plan.baseline))
        scripts = Scripts(originals, baseline.files, baseline.started)
        study = Study(held, artifacts, plan.space, scripts, search)
        tables, records = Tables(paths), read_records(database, study_id)
        for line in tables.protect(records, database.where, set_aside):
            say(line)
        if advisor is not None:
            advisor.resume(records, spent_of(database.study_attrs(study_id)))
        _remember(study, records, plan.space)
        for record in records:
            if record.state == "WAITING" and queued_of(record, plan.space) is None:
                say(adopt_waiting(study, record, plan, database))
        sampler.replay(_history(records, plan.space))
        _close_orphans(study, records, plan, paths, say)
        if not beside and not _has_baseline(study):
            study.enqueue(plan.baseline, "baseline")
        _lower_starts(study, records, plan)
        _enqueue_starts(study, records, plan, say)
        yield study


def refuse_to_go_on(plan: Plan, slots: Sequence[Slot], say: Callable[[str], None]) -> None:
    """Raise what a call would raise that goes on with the plan's study, as far as it is known before its data is prepared.

    Nothing is written, and a driver at work is no reason. `say` gets lines about slots that would stay idle.
    """
    settings, paths = plan.settings, StudyPaths(plan.settings.runs, plan.settings.study)
    where = settings.storage or paths.database
    if not is_there(where):
        return
    with closing(open_database(where, create=False, check=False, read_only=True)) as database:
        study_id = database.find_study(settings.study)
        if study_id is None:
            protect_tables(paths, database.where, set_aside=False)
            return
        attrs, parts = database.study_attrs(study_id), _parts(plan, None)
        if not _changed(database, study_id, plan, parts):
            check_fingerprint(settings.study, attrs, parts, database.study_names)
        records = read_records(database, study_id)
        Tables(paths).protect(records, database.where, set_aside=False)
        slots_of_one_model(plan, slots, records, say, database.study_names)


def _sampler(plan: Plan, slots: Sequence[Slot], prior: Prior) -> Sampler:
    workload, constants = plan.workload, plan.constants
    score = scorer(workload.memory, workload.derived, constants)
    smallest = min((slot.memory_mb for slot in slots), default=0.0)  # a trial may come to any of them

    def new_memory() -> Memory:
        memory = Memory(plan.space, score, smallest)
        for params in too_large(plan, score):
            memory.learned(params, Footprint(fitted=False))
        return memory

    return open_sampler(
        plan.settings.sampler,
        plan.space,
        constants,
        seed=plan.settings.seed,
        direction=workload.metric.direction,
        identity=same_run(workload.derived, constants, workload.conditions),
        new_memory=None if plan.settings.device == "cpu" else new_memory,
        prior=prior,
        measure=measure_of(workload.derived, workload.memory, constants),
    )


def _find_or_create(
    database: Database,
    paths: StudyPaths,
    plan: Plan,
    data: str | None,
    slots: Sequence[Slot],
    say: Callable[[str], None],
    set_aside: bool,
) -> int:
    settings, metric = plan.settings, plan.workload.metric
    study_id = database.find_study(settings.study)
    if study_id is not None:
        attrs = database.study_attrs(study_id)
        if data is None or not _changed(database, study_id, plan, _parts(plan, data)):
            check_fingerprint(settings.study, attrs, _parts(plan, data), database.study_names)
        if settings.start_from is not None:
            say(check_source(settings.study, attrs, settings.start_from))
        for line in check_prior(settings, attrs):
            say(line)
        return study_id
    for line in protect_tables(paths, database.where, set_aside):
        say(line)
    about = _description(plan, data)
    with database.transaction():  # with all that it begins with, or not at all
        starts, prior = start_trials(database, plan, data, slots), read_prior(database, plan)
        about |= {**prior.attrs} | ({} if settings.start_from is None else {FROM: settings.start_from})
        study_id = database.create_study(settings.study, metric.direction, metric.name, about)
        add_trials(database, study_id, starts.trials)
    for line in (*starts.lines, *prior.lines):
        say(line)
    return study_id


def _parts(plan: Plan, data: str | None) -> dict[str, str]:
    parts = fingerprint(plan.workload, plan.space, plan.settings.constants, data or "")
    return parts if data is not None else {name: part for name, part in parts.items() if name != "data"}


def _description(plan: Plan, data: str | None) -> dict[str, Any]:
    return describe_study(plan, _parts(plan, data))


def _changed(database: Database, study_id: int, plan: Plan, parts: Mapping[str, str]) -> str:
    """What was changed since a study began in which no trial has completed yet, in words; "" if nothing."""
    counts = database.counts(study_id)
    if any(counts[state] for state in ("COMPLETE", "PRUNED", "RUNNING")):
        return ""
    baseline, direction = plan.space.encode(plan.baseline), plan.workload.metric.direction
    return changed_before_any_value(database.study_attrs(study_id), parts, baseline, direction)


def _check(database: Database, study_id: int, plan: Plan, data: str | None, say: Callable[[str], None]) -> None:
    """Compare again, now that nobody else drives it: a mistake that a first trial showed may have been corrected."""
    if data is not None and (what := _changed(database, study_id, plan, _parts(plan, data))):
        gone = (
            {DEVICE_BATCH: None}
            if plan.settings.device_batch is None and DEVICE_BATCH in database.study_attrs(study_id)
            else {}
        )
        for name, value in {**_description(plan, data), **gone}.items():
            database.set_study_attr(study_id, name, value)
        database.name_objective(study_id, plan.workload.metric.name)
        say(f"study {plan.settings.study}: {what}; no trial has a value yet, so the study goes on with it")
    attrs = database.study_attrs(study_id)
    check_fingerprint(plan.settings.study, attrs, _parts(plan, data), database.study_names)


def _keep_space(held: HeldStudy, plan: Plan) -> None:
    """Give a study of an earlier release what today's keep of their search space, and each the newest text of its file."""
    rules, file = rules_attr(plan.space, plan.constants), space_file_attr(plan)
    attrs = held.database.study_attrs(held.study_id)
    missing = {**(rules if rules.keys() - attrs.keys() else {}), **({} if file.items() <= attrs.items() else file)}
    if missing:
        held.write_attrs(missing)


def _enqueue_starts(study: Study, records: Sequence[TrialRecord], plan: Plan, say: Callable[[str], None]) -> None:
    """Queue the starts of the search space that were never in the study, so each is tried once."""
    names = plan.space.names
    known = {tuple(record.params.get(name) for name in names) for record in records}
    known |= {tuple(plan.space.encode(queued.params).values()) for queued in study.queued()}
    lowered = [(with_device_batch(start.params, plan), start) for start in plan.starts.planned]
    untried = [each for each in lowered if tuple(plan.space.encode(each[0]).values()) not in known]
    for params, start in untried:
        study.enqueue(params, "start", start.source)
        say(start.title)
    for line in plan.starts.left_out if untried or not records else ():
        say(line)


def _lower_starts(study: Study, records: Sequence[TrialRecord], plan: Plan) -> None:
    """Give the starts that wait with a device batch above the baseline's the baseline's, which is likelier to fit."""
    known = [dict(record.params) for record in records]
    for queued in study.queued():
        params = with_device_batch(queued.params, plan)
        if params == queued.params or queued.kind != "start" or queued.source == ENQUEUED:
            continue
        if plan.space.encode(params) in known:
            study.withdraw(queued, f"it would be another trial: {plan.settings.device_batch}")
        else:
            study.change_queued(queued, params)
            known.append(plan.space.encode(params))


def _remember(study: Study, records: Sequence[TrialRecord], space: SearchSpace) -> None:
    """Give the study its finished trials as records and its waiting ones as the queue."""
    for record in records:
        if record.requeue_of is not None:
            study.adopt_requeue(record.requeue_of)
        if record.is_finished:
            study.adopt_finished(record)
        elif record.state == "WAITING" and (queued := queued_of(record, space)):
            study.adopt_queued(queued)


def _history(records: Sequence[TrialRecord], space: SearchSpace) -> list[Past]:
    """Return what the sampler learns from: trials whose parameters are of this space, as ours always are.

    A trial that a dead driver left RUNNING is among them: it may have a result, and is not to be proposed again.
    """
    past = []
    for record in records:
        params = decoded(record, space)
        if params is not None and record.state != "WAITING":
            seen = footprint(record.state, record.status, record.summary)
            past.append(Past(record.number, params, record.state, record.value, seen))
    return past


def _close_orphans(
    study: Study, records: Sequence[TrialRecord], plan: Plan, paths: StudyPaths, say: Callable[[str], None]
) -> None:
    for record in records:
        if record.state == "RUNNING":
            say(_close_orphan(study, record, plan, paths))
    if not plan.settings.keep_failed:
        _sweep(paths.work)


def _close_orphan(study: Study, record: TrialRecord, plan: Plan, paths: StudyPaths) -> str:
    """Close a trial that a dead driver left RUNNING: tell its outcome if it had ended, else queue its parameters again."""
    queued = queued_of(record, plan.space)
    lost = Outcome(TrialStatus.LOST, 0.0, "its driver died or was silent while it ran")
    outcome = recover_outcome(paths.work / str(record.number), lost)
    if queued is None:
        study.discard(record, "its parameters are incomplete or of another space")
        return f"trial {record.number} was left by an earlier driver without its parameters: closed"
    job = plan.job(Suggestion(record.number, queued.params))
    study.adopt_running(queued)
    told = study.tell(job, outcome)
    if told.state in COUNTED:
        return f"trial {record.number} had ended when its driver was gone: {told.status}, kept"
    return f"trial {record.number} was left by an earlier driver: {told.status}, its parameters are queued again"


def _sweep(work: Path) -> None:
    """Remove the work folders that a dead driver left; every trial has been told by now."""
    for folder in work.iterdir() if work.is_dir() else ():
        remove_folder(folder)


def _has_baseline(study: Study) -> bool:
    done = any(record.kind == "baseline" and record.state == "COMPLETE" for record in study.records())
    return done or study.has_queued("baseline")
