"""What a shell offers after TAB: names of profiles, search spaces, workloads, studies and trials.

It answers at once and stays silent where it cannot: it imports no slow package, opens no database but the file, and prints no
message while somebody types. The shell itself completes paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import typer

# Importing the modules that define these takes half a second; tests/test_completion.py compares them.
SAMPLERS = ("auto", "tpe", "cmaes", "gp", "random", "qmc", "grid")
EXECUTORS = ("local", "ray")
LOGS = ("tensorboard", "mlflow")
NEWEST = 50  # trials
REPLICATES = "/confirm"  # ends the name of a study of replicates, which no command takes by default
BUSY_S = 0.2  # to wait for a busy database


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Return a function that completes these names."""

    def completed(incomplete: str) -> list[str]:
        return _matching(names, incomplete)

    return completed


def profile_names(incomplete: str) -> list[str]:
    """Complete the name of a profile."""
    from optimize.config.settings import profiles

    return _matching(profiles(), incomplete)


def space_names(incomplete: str) -> list[str]:
    """Complete the name of a search space."""
    from search_spaces import shipped_spaces

    return _matching(shipped_spaces(), incomplete)


def workload_names(incomplete: str) -> list[str]:
    """Complete the name of a workload."""
    from optimize.script.workload import ours

    return _matching(ours(), incomplete)


def study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a study in the database file."""
    return _matching(
        [str(name) for (name,) in _asked(ctx, "SELECT study_name FROM studies ORDER BY study_name")], incomplete
    )


def trial_numbers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the number of a trial: the newest ones of the study of the flags, or of the only one, each with its state."""
    studies = [name for name in study_names(ctx, "") if not name.endswith(REPLICATES)]
    study = ctx.params.get("study") or (studies[0] if len(studies) == 1 else None)
    query = "SELECT number, state FROM trials JOIN studies USING (study_id) WHERE study_name = ? ORDER BY number DESC LIMIT ?"
    trials = _asked(ctx, query, (study, NEWEST))
    return [(str(number), str(state).lower()) for number, state in trials if str(number).startswith(incomplete)]


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _asked(ctx: typer.Context, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
    """Return what the database file of --runs answers; [] if anything is wrong, or if the flags name another database."""
    import sqlite3

    from optimize.config.settings import storage_url

    path = Path(ctx.params.get("runs") or "runs") / "optuna.db"
    if ctx.params.get("storage") or storage_url(None) or not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return []
