"""A study driven as `optimize run` drives it, with an executor and watchers that a benchmark brings along.

Not a benchmark itself: `overhead.py` and `scale.py` share it. Settings, plan, study, database, views and display are the
product's own; only the terminal is missing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimize.executors.slots import keep_to_one_thread

keep_to_one_thread()  # as `optimize run` does, before anything imports numpy; so this module is imported first

from rich.console import Console

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings, script_environment
from optimize.executors import Executor
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.files import ResultFiles
from optimize.reporting.terminal import LiveView
from optimize.study.callback import Callback
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.study.study import Study
from optimize.trial import Job, Suggestion
from storage import Artifacts, Database, StudyPaths, open_database


@dataclass
class Driver:
    """An open study, and the loop that works on it."""

    database: Database
    study: Study
    loop: Loop
    views: ResultFiles


def plan_of(profile: str, runs: Path, **flags: object) -> Plan:
    return make_plan(load_settings(profile, "benchmark", {"runs": runs, "study": "s", **flags}, {}))


def paths_of(plan: Plan) -> StudyPaths:
    return StudyPaths(plan.settings.runs, plan.settings.study)


@contextmanager
def driver(plan: Plan, executor: Executor, callbacks: Sequence[Callback] = ()) -> Iterator[Driver]:
    """What `session.run_study` puts together; data is not prepared."""
    settings, metric, paths = plan.settings, plan.workload.metric, paths_of(plan)
    env, budget = script_environment(settings), Budget(settings.trials)
    paths.create()
    with ExitStack() as stack:
        database = open_database(paths.database)
        stack.callback(database.close)
        stop_signals = stack.enter_context(StopSignals())
        study = stack.enter_context(open_study(database, paths, plan, "", lambda line: None))
        views = ResultFiles(paths, metric, study.records, Artifacts(paths.artifacts, database), print)
        stack.callback(views.write)
        writer = DashboardWriter(
            database, paths.study, metric, paths, Artifacts(paths.artifacts, database), study.records, print
        )
        stack.callback(writer.write)
        console = Console(file=io.StringIO())
        display = LiveView(console, "s", metric, budget, executor.slots, plan.baseline, study.records())

        def prepare(suggestion: Suggestion) -> Job:
            return plan.workload.prepare(suggestion, settings.constants, env, settings.limits)

        callbacks = (display, views, writer, *callbacks)
        yield Driver(database, study, Loop(study, executor, prepare, budget, callbacks, stop_signals), views)
