"""One call of `optimize confirm`: opens the child study, has the loop train what the course wants, writes the verdict.

While it works it holds the parent study as well, so that its trials and its verdict stay what they are. What the verdict is, is
`course.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from optimize.config.plan import Plan
from optimize.config.settings import script_environment
from optimize.confirm.caveats import caveats
from optimize.confirm.replicates import (
    MOST,
    SCALES,
    Variation,
    child_plan,
    finalists_of,
    is_whole,
    key_of_record,
    ranked,
    spread,
    variation_of,
    with_winner,
)
from optimize.confirm.rounds import LEAST, Rounds
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import OptimizeError, SettingsError, StudyBusyError
from optimize.executors import Executor, open_executor
from optimize.reporting.dashboard import write_dashboard
from optimize.reporting.files import ResultFiles, write_views
from optimize.session.replicating import ALL_DONE, ConfirmCallback, ConfirmLiveView, Parent, QueueOnly
from optimize.session.run import as_json, cluster, open_logs, prepare_data
from optimize.study.best import baseline_of, numbers_repeated
from optimize.study.callback import Callback
from optimize.study.comparable import FINGERPRINT, check_fingerprint, fingerprint, slots_of_one_model
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopLevel, StopSignals
from optimize.study.stored import find_study
from optimize.study.study import Study
from optimize.transfer.backup import open_backups
from optimize.trial import Job, Slot, Suggestion
from storage import (
    Artifacts,
    Database,
    Lease,
    LeaseHeldError,
    StorageError,
    StudyPaths,
    TrialRecord,
    acquire,
    open_database,
    read_records,
    write_text,
)

OpenExecutor = Callable[[Sequence[Slot]], Executor]


@dataclass(frozen=True, slots=True)
class ConfirmOptions:
    """How thoroughly winners are looked at."""

    finalists: int = 3
    seeds: int = 3
    scale: int | None = None  # times the budget, for the order of configurations

    def check(self, flag: str = "--seeds") -> None:
        """Raises SettingsError with a line for each flag that makes no sense; `flag` is what gave the seeds."""
        lines = []
        if not 1 <= self.finalists <= MOST:
            lines.append(
                f"--finalists: {self.finalists} is not 1 to {MOST}. Choose how many of the best are trained again."
            )
        if not 2 <= self.seeds <= MOST:
            lines.append(f"{flag}: {self.seeds} is not 2 to {MOST}. One training alone tells nothing of the noise.")
        if self.scale is not None and self.scale not in SCALES[1:]:
            lines.append(f"--scale: {self.scale} is not 2 to {SCALES[-1]}. Choose how many times the budget.")
        if lines:
            raise SettingsError(*lines)


@dataclass(frozen=True, slots=True)
class ConfirmResult:
    """How the call ended; the verdict is None if it was stopped before there is one."""

    reason: str
    verdict: Verdict | None


def confirm_study(
    plan: Plan, slots: Sequence[Slot], console: Console, say: Callable[[str], None], wanted: ConfirmOptions,
    backup: Path | None = None, executor: OpenExecutor | None = None, data: str | None = None,
) -> ConfirmResult:  # fmt: skip
    """Train the plan's baseline and winners again with other seeds. `executor` and `data` are for tests.

    Raises NothingToConfirm if no trial is better than the baseline, WorkloadError if the script has no seed, and what
    `open_study` raises.
    """
    wanted.check()
    variation, settings = variation_of(plan), plan.settings
    child = child_plan(plan, variation)
    paths, child_paths = (StudyPaths(settings.runs, each.settings.study) for each in (plan, child))
    with ExitStack() as stack:
        where = settings.storage or paths.database
        database = stack.enter_context(closing(open_database(where, create=False)))
        database.retry.say = say
        # Entered first and left last: what it keeps at the end is a study that nobody drives.
        backups = stack.enter_context(open_backups(backup, database, paths.artifacts, say)) if backup else Callback()
        parent_id = find_study(database, settings.study, settings.runs).study_id
        _check(plan, database, parent_id)  # before a trial is read: its parameters may be of another space
        finalists_of(plan, ranked(plan, read_records(database, parent_id)), 1)  # told before data are prepared
        artifacts, metric = Artifacts(paths.artifacts, database), plan.workload.metric
        logs = open_logs(child.settings, child_paths, metric, artifacts, say)
        data = prepare_data(plan, say) if data is None else data
        stop_signals = stack.enter_context(StopSignals())
        database.retry.go_on = lambda: stop_signals.level() < StopLevel.CANCEL
        _check(plan, database, parent_id, data)
        lease = stack.enter_context(_held(settings.study, database, parent_id, paths))
        stack.callback(_write_views, plan, database, lease, say)  # of the verdict, however this ends
        records = read_records(database, parent_id)
        slots = slots_of_one_model(plan, slots, records, say)
        child_paths.create()
        write_text(child_paths.settings_json, as_json(child.settings, asdict(wanted)))
        study = stack.enter_context(open_study(database, child_paths, child, data, say, slots, sampler=QueueOnly()))
        before = verdict_of(database.study_attrs(parent_id))
        course = _course(plan, child, variation, records, study.records(), wanted, before, say)
        say(course.announcement())
        views = ResultFiles(child_paths, metric, study.records, artifacts, say, best=False, ours=study.is_ours)
        stack.callback(views.write)
        for log in logs:
            log.begin(study.records())
            stack.callback(log.close)
        parent = Parent(database, parent_id, lease)
        replicating = ConfirmCallback(study, course, parent, stop_signals)
        display = stack.enter_context(ConfirmLiveView(console, child, course, study.records(), slots, replicating))
        opened = executor or (
            lambda found: open_executor(settings.executor, found, child_paths.work, cluster(plan, data, say))
        )
        callbacks = (replicating, display, views, *logs, backups)
        reason = _train(child, variation, study, opened(tuple(slots)), callbacks, stop_signals)
        return ConfirmResult(reason, replicating.verdict)


def _train(
    child: Plan,
    variation: Variation,
    study: Study,
    executor: Executor,
    callbacks: Sequence[Callback],
    stop_signals: StopSignals,
) -> str:
    settings = child.settings
    if not study.has_queued():
        return ALL_DONE
    env, budget = script_environment(settings), Budget(None, settings.hours, settings.max_consecutive_failures)

    def prepare(suggestion: Suggestion) -> Job:
        total_s = settings.limits.total_s
        longer = None if total_s is None else total_s * variation.scale(suggestion.params)
        return child.workload.prepare(suggestion, settings.constants, env, replace(settings.limits, total_s=longer))

    return Loop(study, executor, prepare, budget, callbacks, stop_signals, settings.keep_failed).run()


def _write_views(plan: Plan, database: Database, lease: Lease, say: Callable[[str], None]) -> None:
    """The study's own: its tables, best/ and what the dashboard tells. What cannot be written hides no other error."""
    try:
        if lease.is_held():
            stored = find_study(database, plan.settings.study, plan.settings.runs)
            write_views(stored)
            write_dashboard(stored, say)
    except (OptimizeError, StorageError) as error:
        say(f"{error} (the verdict is kept; optimize export writes the tables again)")


def _check(plan: Plan, database: Database, study_id: int, data: str | None = None) -> None:
    """As a study is checked that is gone on with; None compares all but the data."""
    wanted = fingerprint(plan.workload, plan.space, plan.settings.constants, data or "")
    if data is None:
        del wanted["data"]
    check_fingerprint(plan.settings.study, database.study_attrs(study_id).get(FINGERPRINT, {}), wanted)


@contextmanager
def _held(study: str, database: Database, study_id: int, paths: StudyPaths) -> Iterator[Lease]:
    """The study's lease. Raises StudyBusyError while somebody drives it."""
    paths.create()
    try:
        lease = acquire(database, study_id, lock=paths.lock)
    except LeaseHeldError as error:
        raise StudyBusyError(f"study {study}: {error}") from None
    try:
        yield lease
    finally:
        lease.release()


def _course(
    plan: Plan, child: Plan, variation: Variation, records: Sequence[TrialRecord], replicates: Sequence[TrialRecord],
    wanted: ConfirmOptions, before: Verdict | None, say: Callable[[str], None],
) -> Rounds:  # fmt: skip
    among = ranked(plan, records)
    finalists = finalists_of(plan, among, wanted.finalists)
    if before is not None and before.winner is not None:
        finalists = with_winner(plan, finalists, among, records, before.winner.number)
    baseline = next(each for each in among if each.number is None)
    course = Rounds(
        plan.settings.study, plan.workload.metric, child.space, variation, baseline, finalists, wanted.seeds,
        earlier=sorted(numbers_repeated(before)), first_doubts=_first_doubts(plan, records), limits=_limits(plan),
    )  # fmt: skip
    once = {course.replicate(each, 1).key for each in among if each.number is not None}
    ever = {key_of_record(record, child.space) for record in replicates} & once
    now = {course.replicate(each, 1).key for each in finalists}
    course = replace(course, compared=len(ever | now))
    if wanted.scale is None:
        return course
    ranks = spread(among, finalists, LEAST)
    if variation.budget is None:
        say(
            "--scale: left out, the workload has no budget that could be larger (budget in workload.toml names its constant)"
        )
    elif len(ranks) < LEAST:
        say(f"--scale: left out, {len(ranks)} distinct configurations have completed and an order needs {LEAST}")
    else:
        return replace(course, scale=wanted.scale, ranks=ranks)
    return course


def _first_doubts(plan: Plan, records: Sequence[TrialRecord]) -> dict[int, list[str]]:
    """About the trials that may be finalists."""
    baseline, names = baseline_of(records), ("EVAL_TOKENS", plan.workload.val_split, *plan.workload.budget)
    tuned = [plan.space[name] for name in names if name in plan.space.names]  # a gain by these is none of the model
    found = {}
    for record in (record for record in records if record.value is not None and is_whole(record, plan.space)):
        other = [p.name for p in tuned if record.params[p.name] != p.encode(plan.baseline[p.name])]
        found[record.number] = [
            *caveats(record, baseline, _limits(plan)),
            *(f"{name} {record.params[name]}, the baseline's was {plan.baseline[name]}" for name in other),
        ]
    return found


def _limits(plan: Plan) -> dict[str, float]:
    """What a training may use, by the names that our script and autoresearch's print it under."""
    for name in plan.workload.budget:
        value = plan.constants.get(name)
        if isinstance(value, int | float) and value > 0:
            return {
                "charged_flops" if plan.workload.budget_is_work(plan.constants) else "training_seconds": float(value)
            }
    return {}
