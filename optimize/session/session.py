"""What one call that drives a study opens, and the loop at its end: the skeleton that `run` and `confirm` share.

It knows how the rooms fit together and nothing of what happens inside them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from optimize.advisor import Advisor
from optimize.config.environment import ENV_PASS, script_environment, tracking_uri
from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.config.versions import machine
from optimize.executors import Executor, open_executor
from optimize.executors.ray_cluster import Cluster
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.events import EventsFile
from optimize.reporting.files import ResultFiles
from optimize.reporting.notify import Notifier
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.terminal import LiveView
from optimize.reporting.trackers import TrackerCallback, open_tracker
from optimize.study.baseline_fit import BaselineEnding
from optimize.study.callback import Callback
from optimize.study.comparable import required_model
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.sources import Repeats
from optimize.study.stopping import Budget, StopLevel, StopSignals, exiting_on_signals
from optimize.study.stored import find_study
from optimize.study.study import Study
from optimize.transfer.backup import open_backups
from optimize.trial import Job, Slot, Suggestion
from storage import Artifacts, Database, StudyPaths, open_database, parent_of, replicates_of, write_text

Say = Callable[[str], None]
View = ResultFiles | DashboardWriter


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: where lines and the live view go, and where backups are kept.

    `set_aside` renames tables that hold trials which the database lacks, where else the call would end. `events` is where
    programs read what happens. `confirm` is how many seeds the best trials are trained with again afterwards.
    `executor` and `data` stand in for the plan's executor and for the preparation of its data, in tests and benchmarks.
    """

    console: Console
    say: Say
    backup: Path | None = None
    set_aside: bool = False
    events: EventsFile | None = None
    confirm: int | None = None
    executor: Callable[[Sequence[Slot]], Executor] | None = None
    data: str | None = None


class Session:
    """One open call: its database, backups and files. `prepare` comes before a study is opened, `drive` at the end."""

    def __init__(self, plan: Plan, caller: Caller, stack: ExitStack, create: bool) -> None:
        self.plan, self.say = plan, caller.say
        self._caller, self._stack = caller, stack
        self.paths = StudyPaths(plan.settings.runs, plan.settings.study)
        where = plan.settings.storage or self.paths.database
        self.database: Database = stack.enter_context(closing(open_database(where, create=create)))
        self.database.retry.say = caller.say
        self.artifacts = Artifacts(self.paths.artifacts, self.database)
        self._last = stack.enter_context(ExitStack())  # waits for messages, when the last backup is made
        # Entered before the study and left after it: what it keeps at the end is a study that nobody drives.
        self.backups = stack.enter_context(self._open_backups())
        self._opened = stack.enter_context(ExitStack())  # the open study
        self._trackers: Sequence[TrackerCallback] = ()
        self._notifier: Notifier | None = None
        self._data = ""
        self._began: float | None = None  # when it first drove the study

    def prepare(self) -> str:
        """Open the trackers, prepare the data, and turn signals into stop requests; return the data's fingerprint."""
        self._trackers = self._open_trackers()
        self._data = prepare_data(self.plan, self.say) if self._caller.data is None else self._caller.data
        self.stop_signals = self._stack.enter_context(StopSignals())
        self.database.retry.go_on = lambda: self.stop_signals.level() < StopLevel.CANCEL
        return self._data

    def open_study(self, slots: Sequence[Slot], advisor: Advisor | None = None) -> Study:
        """Open the plan's study, as its only driver; one that is open is closed. Raises what `open_study` raises."""
        self._opened.close()
        aside = self._caller.set_aside
        opened = open_study(self.database, self.plan, self._data, self.say, slots, advisor=advisor, set_aside=aside)
        return self._opened.enter_context(opened)

    def open_beside(self, plan: Plan, slots: Sequence[Slot]) -> Study:
        """Open the child study of the one that is open, as its only driver, until that is closed."""
        opened = open_study(
            self.database, plan, self._data, lambda line: self.say(f"repeats: {line}"), slots, beside=True
        )
        return self._opened.enter_context(opened)

    def at_close(self, work: Callable[[], None]) -> None:
        """Have this called when the open study is closed, while it is still held."""
        self._opened.callback(work)

    @property
    def is_new(self) -> bool:
        """Whether it has not driven its study yet."""
        return self._began is None

    def goes_on_with(self, baseline: BaselineEnding | None) -> bool:
        """Take the plan that a baseline that did not fit has led to, and say so. Return whether there is one."""
        if baseline is None or baseline.plan is None:
            return False
        self.plan = baseline.plan
        self.say(baseline.line)
        return True

    def shown(self, study: Study) -> ShownStudy:
        """Return what views need to know of the open study."""
        stored = find_study(self.database, study.name, self.plan.settings.runs)
        return ShownStudy(stored, study.records, self.say, study.is_ours)

    def write_settings(self, more: Mapping[str, object] | None = None) -> None:
        """Keep what this call was told, beside the results."""
        backup = self._caller.backup
        kept = {"backup": None if backup is None else str(backup), **(more or {})}
        write_text(self.paths.settings_json, settings_json(self.plan.settings, kept))

    @contextmanager
    def reporting(
        self, study: Study, live: LiveView, views: Sequence[View], notifier: Notifier
    ) -> Iterator[Sequence[Callback]]:
        """Everything that shows, writes or sends results; each is brought up to date at the end, however that comes."""
        self._notifier = self._last.enter_context(closing(notifier))
        with ExitStack() as stack:
            for view in views:
                stack.callback(view.write)
            for tracker in self._trackers:
                if self.is_new:
                    tracker.begin(study.records())
                stack.callback(tracker.close)
            events = [] if self._caller.events is None else [self._caller.events.about(self.shown(study))]
            yield (*events, stack.enter_context(live), *views, *self._trackers, notifier, self.backups)

    def drive(
        self,
        study: Study,
        slots: Sequence[Slot],
        budget: Budget,
        callbacks: Sequence[Callback],
        scale: Callable[[Suggestion], int] = lambda suggestion: 1,
        repeats: Repeats | None = None,
    ) -> str:
        """Work until the budget is spent or a stop request comes; return why it ended. Raises StudyAborted.

        `scale` is how many times the usual time a trial may take. `repeats` are trained beside it.
        """

        def prepare(suggestion: Suggestion) -> Job:
            return self.plan.job(suggestion, scale(suggestion))

        self._began = self._began or time.monotonic()
        loop = Loop(
            study,
            self._executor(tuple(slots), required_model(self.plan, study.records())),
            prepare,
            budget,
            callbacks,
            self.stop_signals,
            self.plan.settings.keep_failed,
            began=self._began,
            repeats=repeats,
        )

        def goes_on(reason: str) -> bool:
            smaller = study.baseline_ending is not None and study.baseline_ending.plan is not None
            return smaller or self.stop_signals.is_started_again(reason)

        return self._notifier.follow(loop.run, goes_on) if self._notifier else loop.run()

    def _executor(self, slots: Sequence[Slot], model: str) -> Executor:
        if self._caller.executor is not None:
            return self._caller.executor(slots)
        nodes = cluster(self.plan, self._data, self.say, model)
        root, study = self.paths.root, self.paths.study
        beside = None if parent_of(study) else StudyPaths(root, replicates_of(study)).work
        return open_executor(self.plan.settings.executor, tuple(slots), self.paths.work, nodes, beside)

    def _open_backups(self) -> AbstractContextManager[Callback]:
        if self._caller.backup is None:
            return nullcontext(Callback())
        return open_backups(self._caller.backup, self.database, self.paths.artifacts, self.say)

    def _open_trackers(self) -> Sequence[TrackerCallback]:
        settings, metric = self.plan.settings, self.plan.workload.metric
        server = tracking_uri() if "mlflow" in settings.log else None
        return [
            TrackerCallback(name, open_tracker(name, self.paths, metric, server), self.artifacts, self.say)
            for name in dict.fromkeys(settings.log)
        ]


@contextmanager
def open_session(plan: Plan, caller: Caller, create: bool = True) -> Iterator[Session]:
    """Open the database and the backups of a call that drives the plan's study.

    Without `create` the database has to be there already. Raises StorageError.
    """
    with ExitStack() as stack:
        yield Session(plan, caller, stack, create)


def prepare_data(plan: Plan, say: Say) -> str:
    """Run the workload's preparation with the plan's constants; return the data's fingerprint. Raises WorkloadError."""
    settings = plan.settings
    with exiting_on_signals():
        return plan.workload.prepare_data(
            settings.constants, settings.prepare_args, script_environment(settings.env_pass), say
        )


def cluster(plan: Plan, data: str = "", say: Say = lambda line: None, model: str = "") -> Cluster:
    """Return what an executor over several machines has to know of the plan.

    Each machine uses its own value of what is a fact about a machine (PATH, HOME, ...); what the profile passes on is passed on
    to all of them.
    """
    settings = plan.settings
    return Cluster(
        device=settings.device,
        preparation=plan.workload.preparation(settings.constants, settings.prepare_args),
        data=data,
        env=script_environment(settings.env_pass),
        own=frozenset(ENV_PASS) - frozenset(settings.env_pass),
        count=settings.slots,
        gpus_per_trial=settings.gpus_per_trial,
        mixed_devices=settings.mixed_devices,
        model=model,
        say=say,
    )


def settings_json(settings: Settings, more: Mapping[str, object] | None = None) -> str:
    """Return the settings as JSON, without the storage URL, which may hold a password."""
    kept = asdict(settings) | {"storage": None, "machine": machine(), **(more or {})}
    return json.dumps(kept, indent=2, default=str) + "\n"
