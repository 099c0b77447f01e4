"""The command that brings in what ran elsewhere: import."""

from __future__ import annotations

from typing import Annotated

import typer

from optimize.commands.flags import RUNS, RunsFlag, StorageFlag
from optimize.commands.terminal import opened_database, say, say_all


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
    """Bring in trials that ran elsewhere as a new study to look at: a results.tsv, trials as JSON lines, an Optuna database.

    Example: optimize import ../autoresearch/results.tsv --study by-hand
    """
    from optimize.errors import SettingsError
    from optimize.intake import Request, bring_in, read
    from optimize.settings import import_source, storage_url
    from optimize.stored_study import find_study
    from storage import is_there

    where = import_source(source)
    if not study:
        raise SettingsError("import: --study: which name shall it have? Give one that no study has.")
    named = tuple(name.strip() for name in (params or "").split(",") if name.strip())
    reading = read(Request(where, study, source_study, metric, direction, named, zone))
    if reading.problems and not is_there(storage_url(storage) or runs / "optuna.db"):
        raise SettingsError(*reading.problems)  # before a database is made
    with opened_database(storage, runs, create=True) as database:
        for name in bring_in(database, runs, reading, say):
            say_all([f"written: {path}" for path in find_study(database, name, runs).write_views()])
