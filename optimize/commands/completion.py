"""What a shell offers after TAB for names of ours: profiles, spaces, studies, trials.

It answers at once and is silent where it cannot: no package that takes long to import, no database but the file, no line of
ours in the middle of what somebody types. Paths are completed by the shell itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

# Asking those who know takes half a second; tests/test_completion.py holds these to them.
SAMPLERS = ("auto", "tpe", "cmaes", "gp", "random", "qmc", "grid")
EXECUTORS = ("local", "ray")
LOGS = ("tensorboard", "mlflow")
NEWEST = 50  # trials
REPLICATES = "/confirm"  # a study of them is none that a command means unasked


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Completes these names."""

    def completed(incomplete: str) -> list[str]:
        return _matching(names, incomplete)

    return completed


def profile_names(incomplete: str) -> list[str]:
    from optimize.config.settings import profiles

    return _matching(profiles(), incomplete)


def space_names(incomplete: str) -> list[str]:
    from search_spaces import shipped_spaces

    return _matching(shipped_spaces(), incomplete)


def workload_names(incomplete: str) -> list[str]:
    from optimize.script.workload import ours

    return _matching(ours(), incomplete)


def study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of the database file of --runs."""
    from storage import complete_studies

    path = _database_file(ctx)
    return _matching(complete_studies(path) if path else [], incomplete)


def trial_numbers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest trials of the study of the flags, or of the only one, each with its state."""
    from storage import complete_trials

    path = _database_file(ctx)
    studies = [name for name in study_names(ctx, "") if not name.endswith(REPLICATES)]
    study = ctx.params.get("study") or (studies[0] if len(studies) == 1 else None)
    trials = complete_trials(path, study, NEWEST) if path else []
    return [(number, state.lower()) for number, state in trials if number.startswith(incomplete)]


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _database_file(ctx: typer.Context) -> Path | None:
    """Return the database file of --runs; None where another database was named."""
    from optimize.config.settings import storage_url

    if ctx.params.get("storage") or storage_url(None):
        return None
    return Path(ctx.params.get("runs") or "runs") / "optuna.db"
