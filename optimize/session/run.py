"""One call of `optimize run`: opens everything in the right order, runs the loop, and leaves the views written.

It knows how the rooms fit together and nothing of what happens inside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from optimize.advisor import Advisor, advice_line
from optimize.advisor.advisor import open_advisor
from optimize.config.plan import Plan
from optimize.config.settings import ENV_PASS, Settings, script_environment, tracking_uri
from optimize.config.versions import machine
from optimize.confirm.verdict import Verdict
from optimize.executors import open_executor
from optimize.executors.ray_cluster import Cluster
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.files import ResultFiles
from optimize.reporting.terminal import LiveView
from optimize.reporting.trackers import TrackerCallback, open_tracker
from optimize.study.callback import Callback
from optimize.study.comparable import slots_of_one_model
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.start_from import describe_start_from
from optimize.study.stopping import Budget, StopLevel, StopSignals, counted, dying_in_order
from optimize.study.study import Study
from optimize.transfer.backup import open_backups
from optimize.trial import Job, Metric, Slot, Suggestion
from storage import Artifacts, Database, StudyPaths, TrialRecord, best_record, open_database, write_text


@dataclass(frozen=True, slots=True)
class RunResult:
    """How the call ended: why, every finished trial, what an earlier confirmation came to, and what an advisor did."""

    reason: str
    records: Sequence[TrialRecord]
    verdict: Verdict | None = None
    notes: Sequence[str] = ()
    stopped: bool = False  # somebody wished it; else its budget was spent


def run_study(
    plan: Plan, slots: Sequence[Slot], console: Console, say: Callable[[str], None], backup: Path | None = None
) -> RunResult:
    """Work on the plan's study until its budget is spent. Raises StudyAborted and what `open_study` raises."""
    settings, metric = plan.settings, plan.workload.metric
    env, paths = script_environment(settings), StudyPaths(settings.runs, settings.study)
    describe_start_from(plan, slots)  # a wrong --from is told before anything is made
    with ExitStack() as stack:
        database = stack.enter_context(closing(open_database(settings.storage or paths.database)))
        database.retry.say = say
        for notice in database.notices:
            say(notice)
        # Entered first and left last: what it keeps at the end is a study that nobody drives.
        backups = stack.enter_context(open_backups(backup, database, paths.artifacts, say)) if backup else Callback()
        paths.create()
        logs = open_logs(settings, paths, metric, Artifacts(paths.artifacts, database), say)
        data = prepare_data(plan, say)
        stop_signals = stack.enter_context(StopSignals())
        database.retry.go_on = lambda: stop_signals.level() < StopLevel.CANCEL
        advisor = open_advisor(plan, say)
        study = stack.enter_context(open_study(database, paths, plan, data, say, slots, advisor=advisor))
        slots = slots_of_one_model(plan, slots, study.records(), say)
        for line in filter(None, (_so_far(plan, study.records()), study.memory_summary())):
            say(line)
        write_text(paths.settings_json, as_json(settings))
        callbacks = stack.enter_context(_callbacks_of(plan, paths, database, study, slots, logs, console, say))

        def prepare(suggestion: Suggestion) -> Job:
            return plan.workload.prepare(suggestion, settings.constants, env, settings.limits)

        executor = open_executor(settings.executor, tuple(slots), paths.work, cluster(plan, data, say))
        watching = (*callbacks, backups)
        loop = Loop(study, executor, prepare, _budget(settings), watching, stop_signals, settings.keep_failed)
        reason = loop.run()
        notes = _notes(advisor, study.records(), plan)
        return RunResult(reason, study.records(), study.verdict(), notes, stop_signals.level() is not StopLevel.NONE)


@contextmanager
def _callbacks_of(
    plan: Plan, paths: StudyPaths, database: Database, study: Study, slots: Sequence[Slot], logs: Sequence[TrackerCallback],
    console: Console, say: Callable[[str], None],
) -> Iterator[Sequence[Callback]]:  # fmt: skip
    """Everything that shows or writes what trials come to; each is brought up to date at the end, whatever that is."""
    settings, metric, artifacts = plan.settings, plan.workload.metric, Artifacts(paths.artifacts, database)
    with ExitStack() as stack:
        earlier, verdict = study.records(), study.verdict()
        views = ResultFiles(paths, metric, study.records, artifacts, say, verdict, ours=study.is_ours)
        stack.callback(views.write)
        story = DashboardWriter(database, settings.study, metric, paths, artifacts, study.records, say, study.is_ours)
        stack.callback(story.write)
        for log in logs:
            log.begin(earlier)
            stack.callback(log.close)
        display = LiveView(console, settings.study, metric, _budget(settings), slots, plan.baseline, earlier, verdict)
        yield (stack.enter_context(display), views, story, *logs)


def _so_far(plan: Plan, records: Sequence[TrialRecord]) -> str:
    """Where a study goes on; "" if it begins."""
    best = best_record(records, plan.workload.metric.direction)
    found = f", best {plan.workload.metric.name} {best.value:.6f} in trial {best.number}" if best else ""
    return f"goes on after {done} trials{found}" if (done := counted(records)) else ""


def _budget(settings: Settings) -> Budget:
    return Budget(settings.trials, settings.hours, settings.max_consecutive_failures)


def _notes(advisor: Advisor | None, records: Sequence[TrialRecord], plan: Plan) -> list[str]:
    line = advice_line(records, advisor.spent, plan.workload.metric) if advisor else ""
    return [line] if line else []


def open_logs(
    settings: Settings, paths: StudyPaths, metric: Metric, artifacts: Artifacts, say: Callable[[str], None]
) -> Sequence[TrackerCallback]:
    """The hooks that the study is to have. Raises OptimizeError for what cannot be opened."""
    tracking = tracking_uri() if "mlflow" in settings.log else None
    return [
        TrackerCallback(n, open_tracker(n, paths, metric, tracking), artifacts, say)
        for n in dict.fromkeys(settings.log)
    ]


def prepare_data(plan: Plan, say: Callable[[str], None]) -> str:
    """Run the workload's preparation with the plan's constants; returns the data's fingerprint."""
    settings = plan.settings
    with dying_in_order():
        return plan.workload.prepare_data(settings.constants, settings.prepare_args, script_environment(settings), say)


def cluster(plan: Plan, data: str = "", say: Callable[[str], None] = lambda line: None) -> Cluster:
    """What an executor over several machines has to know of the plan. Each uses its own value of what is a fact about a
    machine (PATH, HOME, ...); what the profile passes on is passed on to all of them."""
    settings = plan.settings
    return Cluster(
        device=settings.device,
        preparation=plan.workload.preparation(settings.constants, settings.prepare_args),
        data=data,
        env=script_environment(settings),
        own=frozenset(ENV_PASS) - frozenset(settings.env_pass),
        count=settings.slots,
        gpus_per_trial=settings.gpus_per_trial,
        mixed_devices=settings.mixed_devices,
        say=say,
    )


def as_json(settings: Settings, more: Mapping[str, object] | None = None) -> str:
    kept = asdict(settings) | {"storage": None, "machine": machine(), **(more or {})}  # a URL may hold a password
    return json.dumps(kept, indent=2, default=str) + "\n"
