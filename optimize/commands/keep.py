"""Commands that look after what studies left: export, report, stop, backup, restore, copy, clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from optimize.commands.completion import study_names, trial_numbers
from optimize.commands.flags import RUNS, RunsFlag, StorageFlag, StoredStudyFlag
from optimize.commands.terminal import opened_database, opened_study, say, say_all
from optimize.errors import OptimizeError


def export(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    number: Annotated[
        int | None, typer.Option("--trial", help="Write this trial's scripts to --to.", autocompletion=trial_numbers)
    ] = None,
    bundle: Annotated[bool, typer.Option("--bundle", help="Write one archive with everything, to --to.")] = False,
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="In the archive: what every trial left, not only the best.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="A folder for --trial, a .zip for --bundle; that does not exist yet.")
    ] = None,
) -> None:
    """Write tables, best/ and the dashboard's notes again; or one trial's scripts to a folder; or all of a study as an archive.

    Example: optimize export --study gpt-cpu --bundle --to gpt-cpu.zip
    """
    _check_export(number, bundle, artifacts, to)
    with opened_study(study, storage, runs) as stored:
        if bundle:
            from optimize.exchange.bundle import write_bundle
            from optimize.report import write_report

            written: Sequence[Path] = [write_bundle(stored, to, artifacts, say, (write_report,))]
        else:
            written = stored.write_views() if number is None or to is None else stored.export_trial(number, to)
        say_all([f"written: {path}" for path in written])
        if number is None and not bundle and not stored.is_driven():
            stored.tell_story(say)


def _check_export(number: int | None, bundle: bool, artifacts: bool, to: Path | None) -> None:
    problems = []
    if number is not None and bundle:
        problems.append("optimize export: --trial or --bundle, not both. A bundle has the best trial's scripts.")
    elif not bundle and (number is None) != (to is None):
        problems.append(
            "optimize export: --to needs --trial or --bundle, and --trial needs --to. Give both, or neither."
        )
    if artifacts and not bundle:
        problems.append("optimize export: --artifacts is for --bundle. Add --bundle, or leave it out.")
    if problems:
        raise OptimizeError(*problems)


def report(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    to: Annotated[Path | None, typer.Option(help="Another folder for it. Default: the study's, runs/<study>.")] = None,
) -> None:
    """Write report.html, one page that works offline, and its figures as PNG files under plots/.

    Example: optimize report --study gpt-cpu
    """
    from optimize.report import write_report

    with opened_study(study, storage, runs) as stored:
        say_all([f"written: {path}" for path in write_report(stored, to)])


def stop(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    now: Annotated[bool, typer.Option("--now", help="Cancel the running trials; their parameters are queued.")] = False,
) -> None:
    """Ask a running study to end after its present trials.

    Example: optimize stop --now
    """
    with opened_study(study, storage, runs) as stored:
        say(stored.request_stop(now))


def backup(
    to: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Copy the database, consistent also while studies run, and every artifact to a new folder.

    Example: optimize backup /mnt/disk/optimize-today
    """
    from optimize.exchange.care import back_up

    with opened_database(storage, runs) as database:
        say(back_up(database, runs / "artifacts", to))


def restore(
    folder: Annotated[Path, typer.Argument(help="What was given to --backup, or to optimize backup.")],
    runs: RunsFlag = RUNS,
) -> None:
    """Bring all studies of a backup into a runs folder that has none; optimize run goes on with them.

    Example: optimize restore /mnt/disk/optimize-today
    """
    from optimize.exchange.care import restore as bring_back

    bring_back(folder, runs, say)


def copy(
    study: StoredStudyFlag = None,
    to: Annotated[
        str | None, typer.Option(help="A database file, or a URL; one with a password only as OPTIMIZE_COPY_URL.")
    ] = None,
    to_runs: Annotated[
        Path | None, typer.Option(help="Folder for the copy's files. Default: the database file's; for a URL, --runs.")
    ] = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Copy a study with everything it left to another database; all of it or nothing. The original stays.

    Example: optimize copy --study night --to postgresql://me@host/studies
    """
    from optimize.exchange.copying import Place, copy_to
    from optimize.settings import copy_url

    where = copy_url(to)
    with opened_database(storage, runs) as database:
        copy_to(Place(database, runs), study, where, to_runs, say)


def clean(
    study: Annotated[str, typer.Option("--study", help="Name of the study to delete.", autocompletion=study_names)],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a study with everything it left: its trials, their artifacts, its files. Asks first.

    Example: optimize clean --study night --yes
    """
    with opened_study(study, storage, runs) as stored:
        if not yes:
            typer.confirm(f"Delete study {study}, {stored.count()} trials and all they left?", abort=True)
        kept = stored.delete()
        say(f"study {study}: deleted{kept}")
