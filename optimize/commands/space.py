"""The commands `space widen`, `space export` and `space init`, and `migrate`, which takes a study to a changed search space."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from optimize.commands.completion import study_names
from optimize.commands.flags import (
    RUNS,
    JsonFlag,
    ProfileFlag,
    RunsFlag,
    SpaceFlag,
    StorageFlag,
    StoredStudyFlag,
    WorkloadFlag,
)
from optimize.commands.plans import plan_of_flags
from optimize.commands.terminal import opened_database, opened_study, say, say_all, show_json

space = typer.Typer(no_args_is_help=True, help="Search spaces: widen writes a wider one, export a study's own.")


@space.command(hidden=True)  # `optimize init` has taken its place
def init(
    script: Annotated[str, typer.Argument(help="A training script, or a workload: gpt, or a folder with a slash.")],
    to: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: NAME-space.toml, of the workload's or the script's name."),
    ] = None,
    profile: ProfileFlag = None,
) -> None:
    """Write a first search space for a script: choices around each of its constants, with its comments, to be edited.

    Example: optimize space init ../nanoGPT/train.py --to nanogpt.toml
    """
    from optimize.config.settings import load_settings
    from optimize.script.draft_space import write_space

    constants = load_settings(profile, "flag", {"workload": script}).constants if profile else {}
    say_all(write_space(script, to, constants, f" --profile {shlex.quote(profile)}" if profile else ""))


@space.command()
def widen(
    study: StoredStudyFlag = None,
    to: Annotated[Path | None, typer.Option(help="File to write. Default: NEW-space.toml, of the next study.")] = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Write a wider search space for a study whose best trial lies at an end of its choices; migrate goes on with it.

    Example: optimize space widen --study night --to night-2-space.toml
    """
    from optimize.transfer.wider import write_wider

    with opened_study(study, storage, runs) as stored:
        wider = write_wider(stored, to)
    if as_json:
        show_json(wider.document())
    else:
        say_all(wider.lines)


@space.command()
def export(
    study: StoredStudyFlag = None,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: where it was, or STUDY-space.toml beside what lies there now."),
    ] = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Write the search space that a study keeps as a file, such as one that was lost or changed since.

    Example: optimize space export --study night --to mine/space.toml
    """
    from optimize.transfer.own_space import write_own_space

    with opened_study(study, storage, runs) as stored:
        own = write_own_space(stored, to)
    if as_json:
        show_json(own.document())
    else:
        say_all(own.lines)


def migrate(
    study: Annotated[
        str, typer.Argument(help="Name of the study to move; it stays as it is.", autocompletion=study_names)
    ],
    to: Annotated[str, typer.Option("--to", help="Name of the new study.")],
    search_space: SpaceFlag = None,
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Move a study to a changed search space: a new study with its trials, values, artifacts and times.

    Example: optimize migrate night --to night-2 --space ./wider.toml --profile h100
    """
    flags = {"study": to, "search_space": search_space, "profile": profile, "workload": workload}
    document, written = moved(study, {**flags, "storage": storage, "runs": runs})
    if as_json:
        show_json(document)
        return
    say_all([*document["lines"], *(f"written: {path}" for path in written)])
    say(f"go on with it: {document['next']}")


def moved(study: str, flags: dict[str, Any]) -> tuple[dict[str, Any], Sequence[Path]]:
    """Move a study to the plan of these flags; return a document about it, and the files of the new one.

    Raises StudyError, and changes nothing.
    """
    plan = plan_of_flags(dict(flags), moves=study)
    from optimize.reporting.dashboard import write_dashboard
    from optimize.reporting.files import write_views
    from optimize.reporting.hints import command_line, given_flags
    from optimize.reporting.standing import last_backup
    from optimize.reporting.study_json import written_document
    from optimize.study.stored import find_study
    from optimize.transfer.copy import migrate as move
    from storage import StudyPaths

    with opened_database(flags["storage"], flags["runs"]) as database:
        lines = [*move(study, plan, database), *plan.earlier]
        stored = find_study(database, plan.settings.study, flags["runs"])
        written = write_views(stored, say)
        write_dashboard(stored, say)
    backup = last_backup(StudyPaths(flags["runs"], study)) or None
    then = command_line("run", {**given_flags(plan.settings), "backup": backup})
    return written_document(plan.settings.study, written, migrated_from=study, lines=lines, next=then), written
