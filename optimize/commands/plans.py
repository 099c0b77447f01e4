"""Makes the plan of a command's flags, asks once whether a folder's commands may run, and looks what the database has already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optimize.commands.terminal import is_asked, say, say_all
from optimize.errors import WorkloadError

if TYPE_CHECKING:
    from optimize.config.plan import Plan
    from optimize.script.workload import Workload


def plan_of_flags(given: dict[str, Any], *, of_today: bool = False, moves: str = "") -> Plan:
    """Make the plan of these flags; without a named profile, the machine decides which.

    `of_today`: as our files are now, whatever a study began with. `moves`: the study whose trials it is for.
    """
    from optimize.script.trees import trees_kept

    with trees_kept():
        return _planned(given, of_today, moves)


def _planned(given: dict[str, Any], of_today: bool, moves: str) -> Plan:
    from optimize.config.plan import make_plan
    from optimize.config.settings import pick_profile, read_settings
    from optimize.executors.slots import detect_device
    from optimize.reporting.notify import unfit_notify_urls
    from optimize.study.begun import begun_with, opened_to_go_on
    from optimize.study.earlier import plan_for_study, plan_to_move
    from optimize.study.prior import unknown_prior
    from optimize.study.start_from import unknown_source

    profile, why = given.pop("profile"), "flag"
    if profile is None:
        profile, why = pick_profile(detect_device())
    settings, wrong = read_settings(profile, why, given)
    study = moves or settings.study
    with opened_to_go_on(settings, study) as stored:
        if begun := begun_with(settings, stored, bool(moves)):
            settings, wrong = read_settings(profile, why, {**given, "study": settings.study, **begun})
            words = " and ".join(f"{name.replace('_', ' ')} {value}" for name, value in begun.items())
            say(f"study {study}: goes on with {words}, as it was begun, not with what lies in the folder")
        problems = [*wrong.of_profile, *wrong.of_flags, *unknown_source(settings), *unknown_prior(settings)]
        problems += [] if of_today or moves else unfit_notify_urls()
        if wrong.of_profile or of_today:
            return make_plan(settings, problems, compare=not wrong.of_profile)
        return plan_to_move(settings, stored, problems) if moves else plan_for_study(settings, stored, problems)


def database_of(plan: Plan) -> Path | str:
    """Return where the plan's study is: a file, or a URL."""
    from storage import StudyPaths

    return plan.settings.storage or StudyPaths(plan.settings.runs, plan.settings.study).database


def checked_database(plan: Plan, read_only: bool = False) -> Sequence[str]:
    """Return notices about the plan's database, if it is there. Raises StorageError where it cannot be used."""
    from storage import check_database

    return check_database(database_of(plan), read_only=read_only)


def done_before(plan: Plan) -> int:
    """Return how many trials of the plan's study count against a limit of trials already."""
    from optimize.study.stored import done_so_far

    return done_so_far(database_of(plan), plan.settings.study)


def accept_commands(workload: Workload, trust: bool) -> None:
    """Ask once whether a folder's commands may run. Raises WorkloadError for a no."""
    from optimize.config.trust import accept

    accept(workload, lambda commands: trust or _agrees(commands))


def refuse_untrusted(workload: Workload) -> None:
    """Raise WorkloadError if no person has accepted yet that a folder's commands run."""
    from optimize.config.trust import is_trusted

    if not is_trusted(workload):
        raise WorkloadError(
            f"workload {workload.folder.resolve()}: nobody has accepted its commands yet, and only a person can. "
            "Ask for that: read its scripts, then give, once: `optimize prepare --trust`"
        )


def _agrees(commands: Iterable[str]) -> bool:
    """Show a folder's commands, and ask the user if there is a terminal."""
    say_all(commands)
    return is_asked() and typer.confirm("They run with your rights. Accept them?", err=True)
