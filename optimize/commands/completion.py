"""What a shell offers after TAB: names of profiles, search spaces, workloads, studies and trials.

It answers at once and stays silent where it cannot: it imports no slow package, opens no database but the file, and prints no
message while somebody types. The shell itself completes paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

# Importing the modules that define these takes half a second; tests/test_completion.py compares them.
PRUNERS = ("regression", "halving")
SAMPLERS = ("auto", "tpe", "cmaes", "gp", "random", "qmc", "grid")
EXECUTORS = ("local", "ray")
LOGS = ("tensorboard", "mlflow")
UNTIL = ("event", "best", "end")
NEWEST = 50  # trials


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
    from optimize.script.load_workload import ours

    return _matching(ours(), incomplete)


def study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a study in the database file of --runs."""
    from storage import complete_studies

    path = _database_file(ctx)
    return _matching(complete_studies(path) if path else [], incomplete)


def trial_numbers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the number of a trial: the newest ones of the study of the flags, or of the only one, each with its state."""
    from storage import complete_trials, parent_of

    path = _database_file(ctx)
    studies = [name for name in study_names(ctx, "") if not parent_of(name)]  # no command takes replicates by default
    study = ctx.params.get("study") or (studies[0] if len(studies) == 1 else None)
    trials = complete_trials(path, study, NEWEST) if path else []
    return [(number, state.lower()) for number, state in trials if number.startswith(incomplete)]


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _database_file(ctx: typer.Context) -> Path | None:
    """Return the database file of --runs; None where another database was named."""
    from optimize.config.environment import storage_url
    from storage import RunsPaths

    if ctx.params.get("storage") or storage_url(None):
        return None
    return RunsPaths(Path(ctx.params.get("runs") or "runs")).database
