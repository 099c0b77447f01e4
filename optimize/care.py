"""Looking after what is stored: repair and backup. Neither ever deletes a result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from optimize.errors import OptimizeError, StudyError
from optimize.opening import open_study
from optimize.plan import Plan
from optimize.stored_study import find_study
from storage import Artifacts, Database, StudyPaths, open_database


def repair(plan: Plan, say: Callable[[str], None]) -> None:
    """Check every page of the database, close stuck trials, remove orphaned artifacts, rewrite the views; says what it finds.

    Runs nothing of the workload. Raises StudyBusyError while somebody drives the study: a running trial is not a stuck one.
    """
    settings = plan.settings
    paths = StudyPaths(settings.runs, settings.study)
    found: list[str] = []

    def note(line: str) -> None:
        found.append(line)
        say(line)

    with closing(open_database(settings.storage or paths.database, create=False)) as database:
        if database.find_study(settings.study) is None:
            raise StudyError(f"study {settings.study}: there is none in {database.where}. Nothing to repair.")
        for problem in database.integrity_check():
            note(f"{database.where}: {problem}")
        with open_study(database, paths, plan, None, note):
            artifacts = Artifacts(paths.artifacts, database)
            dangling = artifacts.dangling()
            if others := artifacts.other_users():
                say(f"{artifacts.folder}: {', '.join(others)} may need what nobody here does; no file is removed")
            for trial_id, name in dangling.metadata:
                note(f"trial id {trial_id}: its {name} is missing; its result is kept")
            if removed := artifacts.remove_orphans(dangling):
                note(f"{removed} orphaned artifacts removed")
            for path in find_study(database, settings.study, settings.runs).write_views():
                say(f"written: {path}")
    if not found:
        say("nothing was broken")


def back_up(database: Database, artifacts: Path, to: Path) -> str:
    """Database and artifacts into a new folder; the studies may run. Raises OptimizeError if the folder exists."""
    if to.exists():
        raise OptimizeError(f"{to}: exists already. Name a folder that does not; nothing was written.")
    beside = to.with_name(f".{to.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        database.backup(beside / "optuna.db")  # first: every artifact that it names is on the disk by then
        if artifacts.is_dir():
            shutil.copytree(artifacts, beside / "artifacts")
        os.sync()
        beside.rename(to)
    except (OSError, shutil.Error) as error:
        raise OptimizeError(f"{to}: the backup cannot be written: {error}. Choose another place.") from None
    return f"backup: {to}"
