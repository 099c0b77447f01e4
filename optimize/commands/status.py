"""Commands that show studies and change nothing: status, show, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimize.commands.completion import trial_numbers
from optimize.commands.flags import RUNS, RunsFlag, StorageFlag, StoredStudyFlag
from optimize.commands.terminal import open_console, opened_database, opened_study, say, say_all, show_json

RECENT = 1_000  # trials from which it says what pruning did, so that it need not read all of a large study


def status(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    last: Annotated[int, typer.Option(min=1, help="How many trials to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document for programs, on stdout.")] = False,
) -> None:
    """Show all studies, or of one of them what won, how sure that is, what it cost, what next, and the latest trials.

    Example: optimize status --study gpt-cpu --last 50
    """
    if as_json:
        _status_json(study, storage, runs, last)
        return
    from optimize.advisor import advice_line, spent_of
    from optimize.confirm.table import verdict_table
    from optimize.reporting.facts_shown import facts_in_terminal
    from optimize.reporting.four_facts import four_facts
    from optimize.reporting.hints import command_line
    from optimize.reporting.standing import read_standing
    from optimize.reporting.status import best_lines, overview_table, pruning_lines, study_table
    from optimize.study.stored import find_study, main_studies, overview
    from storage import parent_of

    with opened_database(storage, runs, read_only=True) as database:
        if study is None and len(main_studies(database)) != 1:
            open_console().print(overview_table(overview(database, runs)))
            return
        stored = find_study(database, study, runs)
        if not parent_of(stored.name):
            open_console().print(facts_in_terminal(four_facts(read_standing(stored))), crop=False)
            open_console().print()
        best = stored.best()
        open_console().print(study_table(stored.latest(last), best, stored.metric, stored.baseline))
        recent, spent = stored.latest(RECENT), spent_of(database.study_attrs(stored.study_id))
        advice = advice_line(recent, spent, stored.metric)
        if advice and stored.count() > RECENT:
            advice += f" (trials: of the last {RECENT:,})"  # requests and tokens are of all of them
        for line in (*pruning_lines(recent, stored.metric), *filter(None, [advice])):
            open_console().print(line, soft_wrap=True)
        if (verdict := stored.verdict()) is not None:
            open_console().print(verdict_table(verdict, stored.metric))
        if stored.no_best:
            open_console().print(f"{stored.no_best}. All of them: {command_line('dashboard')}", soft_wrap=True)
        for line in best_lines(best, stored.metric):  # once more, below a table that may fill the window
            open_console().print(line, soft_wrap=True)


def _status_json(study: str | None, storage: str | None, runs: Path, last: int) -> None:
    from optimize.reporting.status_json import document
    from optimize.study.stored import find_study, main_studies

    with opened_database(storage, runs, read_only=True) as database:
        names = sorted(main_studies(database)) if study is None else [study]
        show_json(document(database.where, [find_study(database, name, runs) for name in names], last))


def show(
    number: Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers)],
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Show everything about one trial: parameters, patch, ending, curve, end of the log, and how to train it again.

    Example: optimize show 12
    """
    from optimize.reporting.terminal import trial_page

    with opened_study(study, storage, runs) as stored:
        open_console().print(trial_page(stored.record(number), stored), crop=False)


def dashboard(
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to bind. Only loopback is safe: there is no login.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="Allow an address that others can reach.")] = False,
) -> None:
    """Serve optuna-dashboard for all studies, also while they run and before there is one.

    Example: optimize dashboard --port 8081
    """
    from optimize.reporting.dashboard import address, check_address, note_links, serve_dashboard
    from storage import RunsPaths

    say_all(check_address(host, port, expose))
    with opened_database(storage, runs, create=True, read_only=True) as database:
        if database.frozen:
            say(f"{database.where}: not writable. The dashboard shows it, and nothing can be changed in it")
        say(f"dashboard: {address(host, port)}  (Ctrl-C ends it; studies go on)")
        say_all(note_links(database, address(host, port)))
        serve_dashboard(database, RunsPaths(runs).artifacts, host, port)
