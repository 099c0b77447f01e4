"""Repair of a study, backup of all studies, and restoring a backup. None of them ever deletes a result."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from shlex import quote

from optimize.config.plan import Plan
from optimize.errors import StudyError
from optimize.reporting.dashboard import write_dashboard
from optimize.reporting.files import write_views
from optimize.reporting.hints import begun_flags, command_line
from optimize.study.comparable import ABOUT
from optimize.study.resume import open_study
from optimize.study.stored import find_study, main_studies
from optimize.text import amount
from optimize.transfer.archive import refuse_existing, scratch_folder
from storage import (
    Artifacts,
    Copies,
    Database,
    RunsPaths,
    StorageError,
    StudyPaths,
    begin_line,
    open_database,
    os_errors_at,
    parent_of,
    restore_backup,
    were_set_aside,
)


def repair(plan: Plan, say: Callable[[str], None], children: Sequence[Plan] = (), set_aside: bool = False) -> None:
    """Check every page of the database, close stuck trials, remove orphaned artifacts, rewrite the views; say what it finds.

    `children` are plans of the studies that may hold its replicates. Nothing of the workload is started.
    `set_aside` renames tables that hold trials which the database lacks; else they raise StorageError.
    Raises StudyBusyError while a driver runs the study, because its running trials are not stuck.
    """
    settings = plan.settings
    paths = StudyPaths(settings.runs, settings.study)
    found: list[str] = []

    def note(line: str) -> None:
        found.append(line)
        say(line)

    with closing(open_database(settings.storage or paths.database, create=False)) as database:
        if database.find_study(settings.study) is None:
            raise StudyError(f"study {settings.study}: {database.where} has no such study. There is nothing to repair.")
        for problem in database.integrity_check():
            note(f"{database.where}: {problem}")
        with open_study(database, plan, None, note, set_aside=set_aside):
            artifacts = Artifacts(paths.artifacts, database)
            dangling = artifacts.dangling()
            if others := artifacts.other_users():
                say(f"{artifacts.folder}: also used by {', '.join(others)}; no file is removed")
            for trial_id, name in dangling.metadata:
                note(f"trial id {trial_id}: its {name} is missing; its result is kept")
            if were_set_aside(settings.runs):
                say(
                    f"{artifacts.folder}: no file is removed, because tables that were set aside tell of trials that had some"
                )
            elif removed := artifacts.remove_orphans(dangling):
                note(f"{removed} orphaned artifacts removed")
            for child in children:
                _mend_child(database, child, note, say, set_aside)
            stored = find_study(database, settings.study, settings.runs)
            for path in write_views(stored):
                say(f"written: {path}")
            write_dashboard(stored, say)
    if not found:
        say("nothing was broken")


def _mend_child(
    database: Database, plan: Plan, note: Callable[[str], None], say: Callable[[str], None], set_aside: bool
) -> None:
    """Close its stuck trials and rewrite its tables, if there is such a study; artifacts were checked for the whole database."""
    name, runs = plan.settings.study, plan.settings.runs
    if database.find_study(name) is None:
        return
    paths = StudyPaths(runs, name)
    paths.create()
    with open_study(database, plan, None, lambda line: note(f"{name}: {line}"), set_aside=set_aside):
        for path in write_views(find_study(database, name, runs)):
            say(f"written: {path}")


def back_up(database: Database, artifacts: Path, to: Path) -> str:
    """Copy database and artifacts into a new folder while studies may run; return a line about it.

    Raises StorageError, and writes nothing, if the folder exists.
    """
    refuse_existing(to)
    with os_errors_at(to):
        to.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(to.parent, to.name) as scratch:
        if database.path is not None:
            with contextlib.suppress(StorageError):  # on a full disk too
                begin_line(database)
        new = RunsPaths(scratch)
        database.backup(new.database)  # first: every artifact that it names is on the disk by then
        Copies(artifacts, new.artifacts).make()
        os.sync()
        scratch.rename(to)
    return f"backup: {to}"


def restore(folder: Path, runs: Path, say: Callable[[str], None]) -> None:
    """Restore what `back_up` or `--backup` kept as a new folder of runs.

    Raises StorageError, and writes nothing, if that folder has a database.
    """
    restored = restore_backup(folder, runs)
    for line in restored.lines:
        say(line)
    if restored.missing:
        say(f"{folder}: the backup lacks {restored.missing} artifacts; the results of their trials are there")
    with closing(open_database(RunsPaths(runs).database, create=False, read_only=True)) as database:
        for notice in database.notices:
            say(notice)
        read_only = database.read_only
        for name in restored.studies:
            try:
                write_views(find_study(database, name, runs))
            except StorageError as error:  # a view that fails must not undo the restoring
                again = f"`optimize export --study {quote(name)} --runs {quote(str(runs))}`"
                say(f"{error} (everything is restored; {again} writes the tables again)")
        lines = [] if read_only else [_how_to_go_on(database, name, runs, folder) for name in main_studies(database)]
        what = _what(database, restored.studies)
    say(f"restored to {runs}: {what}")
    for line in lines:
        say(line)


def _what(database: Database, studies: Sequence[str]) -> str:
    """Return which studies there are, with their trials, and apart from those the trainings of them with other seeds."""
    count = {name: sum(database.counts(database.find_study(name) or 0).values()) for name in studies}
    mine = [name for name in count if not parent_of(name)]
    trials = sum(count[name] for name in mine)
    again = sum(count.values()) - trials
    beside = f", and {amount(again, 'repeat')} with other seeds" if again else ""
    return f"{', '.join(mine) or 'no study'}, {amount(trials, 'trial')}{beside}"


def _how_to_go_on(database: Database, name: str, runs: Path, backup: Path) -> str:
    """Return the line that goes on with a study, and with its backup where that can be written."""
    attrs = database.study_attrs(find_study(database, name, runs).study_id)
    about = attrs.get(ABOUT)
    command = about.get("command") if isinstance(about, dict) else None
    kept = backup if os.access(backup, os.W_OK) else None
    return f"go on: {command_line('run', {**begun_flags(name, command), 'runs': runs, 'backup': kept})}"
