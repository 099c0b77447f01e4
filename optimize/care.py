"""Looking after what is stored: repair and backup. Neither ever deletes a result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from optimize.errors import OptimizeError, StudyError
from optimize.opening import open_study
from optimize.plan import Plan
from optimize.session import prepare_data
from optimize.views import write_views
from storage import Artifacts, Database, StudyPaths, open_database


def repair(plan: Plan, say: Callable[[str], None]) -> list[str]:
    """Check every page of the database, close stuck trials, remove orphaned artifacts, rewrite the views; returns what was found.

    Raises StudyBusyError while somebody drives the study: a running trial is not a stuck one.
    """
    settings, metric = plan.settings, plan.workload.metric
    paths = StudyPaths(settings.runs, settings.study)
    with closing(open_database(settings.storage or paths.database, create=False)) as database:
        if database.find_study(settings.study) is None:
            raise StudyError(f"study {settings.study}: there is none in {database.where}. Nothing to repair.")
        lines = [f"{database.where}: {problem}" for problem in database.integrity_check()]
        with open_study(database, paths, plan, prepare_data(plan, say), lines.append) as study:
            artifacts = Artifacts(paths.artifacts, database)
            dangling = artifacts.dangling()
            lines += [f"trial id {trial_id}: its {name} is missing" for trial_id, name in dangling.metadata]
            lines += (
                [f"{removed} orphaned artifacts removed"] if (removed := artifacts.remove_orphans(dangling)) else []
            )
            written = write_views(paths, study.records(), metric, artifacts)
        return [*(lines or ["nothing was broken"]), *(f"written: {path}" for path in written)]


def back_up(database: Database, artifacts: Path, to: Path) -> str:
    """Database and artifacts into a new folder; the studies may run. Raises OptimizeError if the folder exists."""
    if to.exists():
        raise OptimizeError(f"{to}: exists already. Name a folder that does not; nothing was written.")
    beside = to.with_name(f".{to.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    database.backup(beside / "optuna.db")  # first: every artifact that it names is on the disk by then
    if artifacts.is_dir():
        shutil.copytree(artifacts, beside / "artifacts")
    beside.rename(to)
    return f"backup: {to}"
