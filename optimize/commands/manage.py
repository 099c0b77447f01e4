"""Commands around studies: export, report, stop, backup, restore, copy and clean; and autoresearch and import."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimize.commands.completion import study_names, trial_numbers
from optimize.commands.flags import RUNS, AsideFlag, JsonFlag, ProfileFlag, RunsFlag, StorageFlag, StoredStudyFlag
from optimize.commands.terminal import chosen_study, opened_database, opened_study, say, say_all, show_json
from optimize.errors import OptimizeError
from optimize.text import amount

if TYPE_CHECKING:
    from optimize.study.stored import StoredStudy


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
    set_aside: AsideFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write tables, best/ and the dashboard's notes again; or one trial's scripts to a folder; or all of a study as an archive.

    Example: optimize export --study gpt-cpu --bundle --to gpt-cpu.zip
    """
    _check_export(number, bundle, artifacts, to)
    with opened_study(study, storage, runs) as stored:
        written = _written(stored, number, bundle, artifacts, to, set_aside)
        if as_json:
            show_json(exported(stored, written))
        else:
            say_all([f"written: {path}" for path in written])


def _written(
    stored: StoredStudy, number: int | None, bundle: bool, artifacts: bool, to: Path | None, set_aside: bool
) -> Sequence[Path]:
    from optimize.reporting.files import refuse_unwritable

    if to is None:
        elsewhere = f"`optimize export --study {shlex.quote(stored.name)} --bundle --to FILE.zip`"
        refuse_unwritable(stored.paths.folder, elsewhere)
    if bundle:
        from optimize.reporting.html import write_report
        from optimize.transfer.bundle import write_bundle

        return [write_bundle(stored, to, artifacts, say, (write_report,))]
    if number is not None and to is not None:
        return stored.export_trial(number, to)
    return written_views(stored, set_aside)


def written_views(stored: StoredStudy, set_aside: bool = False) -> Sequence[Path]:
    """Write a study's tables, best/ and, unless a driver does that, the dashboard's notes; return the paths."""
    from optimize.reporting.dashboard import write_dashboard
    from optimize.reporting.files import write_views

    written = write_views(stored, say, set_aside)
    if not stored.is_driven():
        write_dashboard(stored, say)
    return written


def exported(stored: StoredStudy, written: Sequence[Path]) -> dict[str, Any]:
    """Return a document of what was written, and about the best trial."""
    from optimize.reporting.study_json import best_document

    return best_document(stored, written)


def _check_export(number: int | None, bundle: bool, artifacts: bool, to: Path | None) -> None:
    problems = []
    if number is not None and bundle:
        problems.append(
            "optimize export: --trial and --bundle exclude each other. A bundle has the best trial's scripts."
        )
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
    as_json: JsonFlag = False,
) -> None:
    """Write report.html, one page that works offline, and its figures as PNG files under plots/.

    Example: optimize report --study gpt-cpu
    """
    from optimize.reporting.html import write_report
    from optimize.reporting.study_json import written_document

    with opened_study(study, storage, runs) as stored:
        written = write_report(stored, to)
    if as_json:
        show_json(written_document(stored.name, written))
    else:
        say_all([f"written: {path}" for path in written])


def stop(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    now: Annotated[bool, typer.Option("--now", help="Cancel the running trials; their parameters are queued.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask a running study to end after its running trials.

    Example: optimize stop --now
    """
    document = asked_to_stop(study, storage, runs, now)
    if as_json:
        show_json(document)
    else:
        say(document["line"])


def asked_to_stop(study: str | None, storage: str | None, runs: Path, now: bool) -> dict[str, Any]:
    """Ask the driver of a study to stop; return a document about it. Raises StudyError if no process drives it."""
    from optimize.reporting.status_json import SCHEMA
    from optimize.study.stored import find_study

    with opened_database(storage, runs) as database:
        stored = find_study(database, study or chosen_study(database, driven=True), runs)
        return {"schema": SCHEMA, "study": stored.name, "now": now, "line": stored.request_stop(now)}


def backup(
    to: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Copy the database and every artifact to a new folder, also while studies run.

    Example: optimize backup /mnt/disk/optimize-today
    """
    from optimize.transfer.repair import back_up
    from storage import RunsPaths

    with opened_database(storage, runs, read_only=True) as database:
        say(back_up(database, RunsPaths(runs).artifacts, to))


def restore(
    folder: Annotated[Path, typer.Argument(help="What was given to --backup, or to the command backup.")],
    runs: RunsFlag = RUNS,
) -> None:
    """Bring all studies of a backup into a folder of runs that has none; optimize run goes on with them.

    Example: optimize restore /mnt/disk/optimize-today
    """
    from optimize.transfer.repair import restore as bring_back

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
    """Copy a study with everything it left to another database, all of it or nothing. The original stays.

    Example: optimize copy --study night --to postgresql://me@host/studies
    """
    from optimize.config.environment import copy_url
    from optimize.transfer.copy import Place, copy_to

    where = copy_url(to)
    with opened_database(storage, runs, read_only=True) as database:
        copy_to(Place(database, runs), study or chosen_study(database), where, to_runs, say)


def clean(
    study: Annotated[str, typer.Option("--study", help="Name of the study to delete.", autocompletion=study_names)],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a study with everything it left: its trials, their artifacts, its files. It asks first.

    Example: optimize clean --study night --yes
    """
    from optimize.config.environment import in_notebook

    with opened_study(study, storage, runs, read_only=False) as stored:
        if not yes and in_notebook():
            command = f"`optimize clean --study {shlex.quote(study)} --yes`"
            raise OptimizeError(
                f"study {study}: nobody can be asked in a cell. Delete it with its {stored.count()} trials: {command}"
            )
        if not yes:
            typer.confirm(
                f"Delete study {study}, its {amount(stored.count(), 'trial')} and all their files?", abort=True
            )
        kept = stored.delete()
        say(f"study {study}: deleted{kept}")


def autoresearch(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="A folder that does not exist yet.")] = Path(
        "autoresearch"
    ),
    profile: ProfileFlag = None,
    source: Annotated[
        str | None, typer.Option("--from", help="URL or path to clone. Default: karpathy's on GitHub.")
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(
            help="Commit to take; HEAD is the newest. Default: HEAD; for karpathy's, the one that was tested."
        ),
    ] = None,
    uv: Annotated[
        bool | None,
        typer.Option(
            "--uv/--no-uv", help="Run its scripts with uv, or in this Python. Default: uv where it is installed."
        ),
    ] = None,
) -> None:
    """Clone karpathy/autoresearch, or a fork, and write what a study of it needs: workload.toml, space.toml, GOAL.md.

    Example: optimize autoresearch ../autoresearch --profile h100
    """
    import shutil

    from optimize.config.settings import load_settings, pick_profile
    from optimize.executors.slots import detect_device
    from optimize.transfer.autoresearch import COMMIT, UPSTREAM, set_up

    picked, why = (profile, "flag") if profile is not None else pick_profile(detect_device())
    with_uv = shutil.which("uv") is not None if uv is None else uv
    settings = load_settings(picked, why, {"workload": str(folder.absolute())})
    say_all(set_up(settings, folder, source or UPSTREAM, commit or ("HEAD" if source else COMMIT), with_uv))


def bring(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A .tsv, .csv, .jsonl or Optuna database file, or a URL; one with a password only as OPTIMIZE_IMPORT_URL."
        ),
    ] = None,
    study: Annotated[str, typer.Option("--study", help="Name of the new study.")] = "",
    source_study: Annotated[
        str | None, typer.Option("--source-study", help="Which study of a database. Default: all of them.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric's column or key. Default: val_bpb, else value.")
    ] = None,
    direction: Annotated[str | None, typer.Option(help="minimize or maximize. Default: minimize.")] = None,
    params: Annotated[
        str | None, typer.Option(help="Columns that are parameters though not in capitals, such as lr,depth.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Time zone of times that name none, such as Europe/Berlin. Default: this machine's."),
    ] = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Import trials that ran elsewhere as a new study to view: a results.tsv, trials as JSON lines, an Optuna database.

    Example: optimize import ../autoresearch/results.tsv --study by-hand
    """
    from optimize.config.environment import import_source, storage_url
    from optimize.errors import SettingsError
    from optimize.importing import Request, bring_in, read
    from optimize.reporting.files import write_views
    from optimize.study.stored import find_study
    from storage import RunsPaths, is_there

    where = import_source(source)
    if not study:
        raise SettingsError("import: --study: missing. Give a name that no study has.")
    named = tuple(name.strip() for name in (params or "").split(",") if name.strip())
    reading = read(Request(where, study, source_study, metric, direction, named, zone))
    if reading.problems and not is_there(storage_url(storage) or RunsPaths(runs).database):
        raise SettingsError(*reading.problems)  # before a database is made
    with opened_database(storage, runs, create=True) as database:
        for name in bring_in(database, runs, reading, say):
            say_all([f"written: {path}" for path in write_views(find_study(database, name, runs))])
