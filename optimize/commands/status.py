"""Commands that show studies and change nothing: status, show, importance, noise, wait, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimize.commands.completion import UNTIL, one_of, trial_numbers
from optimize.commands.flags import RUNS, JsonFlag, RunsFlag, StorageFlag, StoredStudyFlag
from optimize.commands.terminal import open_console, opened_database, opened_study, say, say_all, show_json

RECENT = 1_000  # trials from which it says what pruning did, so that it need not read all of a large study


def status(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    last: Annotated[int, typer.Option(min=1, help="How many trials to show.")] = 20,
    as_json: JsonFlag = False,
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
    as_json: JsonFlag = False,
) -> None:
    """Show everything about one trial: parameters, patch, ending, curve, end of the log, and how to train it again.

    Example: optimize show 12
    """
    with opened_study(study, storage, runs) as stored:
        if as_json:
            from optimize.reporting.study_json import trial_document

            show_json(trial_document(stored, number))
            return
        from optimize.reporting.terminal import trial_page

        open_console().print(trial_page(stored.record(number), stored), crop=False)


def importance(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Show how much each parameter matters for being among the best trials, and what luck alone would show.

    Example: optimize importance --study gpt-cpu
    """
    from optimize.reporting.learned import importance_table
    from optimize.reporting.study_json import importance_document

    with opened_study(study, storage, runs) as stored:
        document = importance_document(stored)
    if as_json:
        show_json(document)
    elif document["why_not"]:
        say(f"study {document['study']}: {document['why_not']}")
    else:
        open_console().print(importance_table(document))


def noise(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Show how far the values of equal parameters are apart: with other seeds, as a confirmation found, and in the search.

    Example: optimize noise --study gpt-cpu
    """
    from optimize.reporting.learned import noise_lines
    from optimize.reporting.study_json import noise_document

    with opened_study(study, storage, runs) as stored:
        document = noise_document(stored)
    if as_json:
        show_json(document)
        return
    for line in noise_lines(document):
        open_console().print(line, soft_wrap=True)


def wait(
    study: StoredStudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    after: Annotated[
        str | None, typer.Option(help="What you know already: `cursor` of an earlier answer. Default: all until now.")
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            help="event: a trial has ended; best: a better one, or a verdict; end: the driver has ended.",
            autocompletion=one_of(*UNTIL),
        ),
    ] = "event",
    seconds: Annotated[float, typer.Option(min=0, help="At most so long.")] = 50.0,
    as_json: JsonFlag = False,
) -> None:
    """Wait for what happens to a study, whoever drives it: trials that end, a better best, a verdict, the driver's end.

    Example: optimize wait --study gpt-cpu --until end --json
    """
    import time

    from optimize.reporting.learned import event_line
    from optimize.reporting.waiting import Patience, check_until, cursor_of, parse_cursor, wait_document, wait_for

    check_until(until)
    since = None if after is None else parse_cursor(after)
    with opened_study(study, storage, runs) as stored:
        found = wait_for(stored, since or cursor_of(stored), Patience(until, seconds), time.sleep)
        document = wait_document(stored, found)
    if as_json:
        show_json(document)
        return
    for event in document["events"]:
        open_console().print(event_line(event, stored.metric), soft_wrap=True)
    if not document["running"]:
        say(f"study {stored.name}: no process drives it")


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
