"""A study driven as `optimize run` drives it, with an executor and callbacks that a benchmark brings along.

Not a benchmark itself: `driver_cost.py` and `driver_scale.py` share it. Settings, plan, study, database, views and display are the
product's own; only the terminal is missing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimize.executors.slots import keep_to_one_thread

keep_to_one_thread()  # as `optimize run` does, before anything imports numpy; so this module is imported first

from rich.console import Console

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.executors import Executor
from optimize.reporting.files import ResultFiles
from optimize.session.run import reporting
from optimize.session.session import Caller, open_session
from optimize.study.callback import Callback
from optimize.study.loop import Loop
from optimize.study.stopping import Budget
from optimize.study.study import Study
from storage import Database, StudyPaths


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
    """What `run_study` puts together; data is not prepared, and the loop is not started."""
    caller = Caller(Console(file=io.StringIO()), lambda line: None, executor=lambda slots: executor, data="")
    with open_session(plan, caller) as session:
        session.paths.create()
        session.prepare()
        study = session.open_study(executor.slots)
        with reporting(session, caller, study, executor.slots) as usual:
            files = next(each for each in usual if isinstance(each, ResultFiles))
            budget = Budget(plan.settings.trials)
            loop = Loop(study, executor, plan.job, budget, (*usual, *callbacks), session.stop_signals)
            yield Driver(session.database, study, loop, files)
