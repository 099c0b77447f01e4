"""Commands that need a plan: run, confirm, prepare, check, migrate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimize.commands.completion import study_names
from optimize.commands.flags import (
    RUNS,
    AsideFlag,
    BackupFlag,
    ProfileFlag,
    RunsFlag,
    SpaceFlag,
    StorageFlag,
    TrustFlag,
    WorkloadFlag,
    takes_plan_flags,
    takes_training_flags,
)
from optimize.commands.terminal import is_asked, open_console, opened_database, say, say_all
from optimize.errors import ExecutorError, NothingToConfirm, WorkloadError

if TYPE_CHECKING:
    from optimize.config.plan import Plan
    from optimize.script.workload import Workload
    from optimize.session.confirm import ConfirmOptions
    from optimize.trial import Slot


@takes_plan_flags
def run(
    given: dict[str, Any],
    trust: TrustFlag = False,
    confirm: Annotated[
        int | None,
        typer.Option("--confirm", help="At the end, train the baseline and the best 3 again with so many other seeds."),
    ] = None,
    backup: BackupFlag = None,
    set_aside: AsideFlag = False,
) -> None:
    """Run a study, or go on with it where it stopped.

    Example: optimize run --profile cpu --trials 40
    """
    plan = _plan(given)
    _check_database(plan)
    _accept(plan, trust)
    from optimize.reporting.check import plan_lines
    from optimize.reporting.hints import command_line, given_flags
    from optimize.reporting.run_end import end_report
    from optimize.session.run import run_study
    from optimize.session.session import Caller

    wanted = _wanted(plan, "--confirm", seeds=confirm) if confirm is not None else None
    found = _slots(plan)
    say_all(plan_lines(plan, found, _done(plan)))
    ended = run_study(plan, found, Caller(open_console(stderr=True), say, backup, set_aside, confirm))
    plan = ended.plan or plan
    confirmable = wanted is None and _can_be_confirmed(plan)
    open_console().print(end_report(plan, ended, confirmable, {"confirm": confirm, "backup": backup}), crop=False)
    if wanted is not None and ended.stopped:
        later = command_line("confirm", given_flags(plan.settings))
        say(f"--confirm: left out, because the study was stopped before its end. Later: {later}")
    elif wanted is not None:
        try:
            _confirm(plan, found, wanted, backup, set_aside)
        except NothingToConfirm as error:  # of a study that went well
            say_all(error.problems)
    if ended.code:
        raise SystemExit(ended.code)


@takes_training_flags
def confirm(
    given: dict[str, Any],
    trust: TrustFlag = False,
    finalists: Annotated[int, typer.Option(help="How many of the best trials are trained again.")] = 3,
    seeds: Annotated[int, typer.Option(help="With how many other seeds, the same for all and for the baseline.")] = 3,
    scale: Annotated[
        int | None, typer.Option(help="Compare the order of 8 configurations under a budget so many times larger.")
    ] = None,
    backup: BackupFlag = None,
    set_aside: AsideFlag = False,
) -> None:
    """Are the winners real? Train the baseline and the best trials again with other seeds, or go on with that.

    Example: optimize confirm --study gpt-cpu --seeds 5 --scale 2
    """
    plan = _plan(given)
    wanted = _wanted(plan, finalists=finalists, seeds=seeds, scale=scale)
    _check_database(plan)
    _accept(plan, trust)
    say_all(plan.earlier)
    _confirm(plan, _slots(plan), wanted, backup, set_aside)


def prepare(profile: ProfileFlag = None, workload: WorkloadFlag = None, trust: TrustFlag = False) -> None:
    """Prepare the data of a profile's workload, and start no study.

    Example: optimize prepare --profile h100
    """
    plan = _plan({"profile": profile, "workload": workload}, of_today=True)
    _accept(plan, trust)
    from optimize.session.session import prepare_data

    prepare_data(plan, say)


@takes_plan_flags
def check(
    given: dict[str, Any],
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair stuck trials, artifacts and views; results stay.")
    ] = False,
    set_aside: AsideFlag = False,
) -> None:
    """Show what a study would do: every setting with its origin, the space, the baseline, the slots. It starts nothing.

    Example: optimize check --profile colab
    """
    plan = _plan(given)
    from optimize.reporting.check import check_report
    from optimize.study.resume import refuse_to_go_on
    from optimize.study.start_from import describe_start_from

    if repair:
        from optimize.transfer.repair import repair as repair_study

        say_all(plan.earlier)
        repair_study(plan, say, _children(plan), set_aside)
        return
    plan.workload.render({**plan.settings.written, **plan.baseline})
    say_all(_check_database(plan, read_only=True))
    try:
        found = _slots(plan)
    except ExecutorError:  # a profile for another machine can be shown here, though a study would not run
        open_console().print(check_report(plan, (), describe_start_from(plan), _done(plan)))
        raise
    open_console().print(check_report(plan, found, describe_start_from(plan, found), _done(plan)))
    refuse_to_go_on(plan, found, say)


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
) -> None:
    """Move a study to a changed search space: a new study with its trials, values, artifacts and times.

    Example: optimize migrate night --to night-2 --space ./wider.toml --profile h100
    """
    flags = {"study": to, "search_space": search_space, "profile": profile, "workload": workload}
    plan = _plan({**flags, "storage": storage, "runs": runs}, moves=study)
    from optimize.reporting.dashboard import write_dashboard
    from optimize.reporting.files import write_views
    from optimize.reporting.hints import command_line, given_flags
    from optimize.study.stored import find_study
    from optimize.transfer.copy import migrate as move

    with opened_database(storage, runs) as database:
        say_all([*move(study, plan, database), *plan.earlier])
        stored = find_study(database, to, runs)
        say_all([f"written: {path}" for path in write_views(stored, say)])
        write_dashboard(stored, say)
    say(f"go on with it: {command_line('run', given_flags(plan.settings))}")


def _wanted(plan: Plan, flag: str = "--seeds", **numbers: int | None) -> ConfirmOptions:
    """Return how to confirm. Raises OptimizeError for a mistake, or a script without a seed, before anything is trained."""
    from optimize.confirm.replicates import variation_of
    from optimize.session.confirm import ConfirmOptions

    wanted = ConfirmOptions(**numbers)  # type: ignore[arg-type]
    wanted.check(flag)
    variation_of(plan)
    return wanted


def _children(plan: Plan) -> Sequence[Plan]:
    """Return the plan of the study of its replicates, if it can have one."""
    from optimize.confirm.replicates import child_plan, variation_of

    return [child_plan(plan, variation_of(plan))] if _can_be_confirmed(plan) else []


def _can_be_confirmed(plan: Plan) -> bool:
    """Tell whether the script has a seed that can be changed."""
    try:
        plan.seed()
    except WorkloadError:
        return False
    return True


def _confirm(plan: Plan, slots: Sequence[Slot], wanted: ConfirmOptions, backup: Path | None, set_aside: bool) -> None:
    from optimize.confirm.table import verdict_table
    from optimize.reporting.hints import command_line, given_flags
    from optimize.session.confirm import confirm_study
    from optimize.session.session import Caller

    ended = confirm_study(plan, slots, Caller(open_console(stderr=True), say, backup, set_aside), wanted)
    say(f"study {plan.settings.study}, confirmation: {ended.reason}")
    if ended.verdict is not None:
        open_console().print(verdict_table(ended.verdict, plan.workload.metric))
    else:
        say(
            f"no verdict yet; all trainings are kept. Go on with: {command_line('confirm', given_flags(plan.settings))}"
        )
    if ended.code:
        raise SystemExit(ended.code)


def _plan(given: dict[str, Any], *, of_today: bool = False, moves: str = "") -> Plan:
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
        problems = [*wrong.of_profile, *wrong.of_flags, *unknown_source(settings)]
        problems += [] if of_today or moves else unfit_notify_urls()
        if wrong.of_profile or of_today:
            return make_plan(settings, problems, compare=not wrong.of_profile)
        return plan_to_move(settings, stored, problems) if moves else plan_for_study(settings, stored, problems)


def _check_database(plan: Plan, read_only: bool = False) -> Sequence[str]:
    from storage import StudyPaths, check_database

    where = plan.settings.storage or StudyPaths(plan.settings.runs, plan.settings.study).database
    return check_database(where, read_only=read_only)


def _done(plan: Plan) -> int:
    from optimize.study.stored import done_so_far
    from storage import StudyPaths

    where = plan.settings.storage or StudyPaths(plan.settings.runs, plan.settings.study).database
    return done_so_far(where, plan.settings.study)


def _accept(plan: Plan, trust: bool) -> None:
    accept_commands(plan.workload, trust)


def accept_commands(workload: Workload, trust: bool) -> None:
    """Ask once whether a folder's commands may run. Raises WorkloadError for a no."""
    from optimize.config.trust import accept

    accept(workload, lambda commands: trust or _agrees(commands))


def _agrees(commands: Iterable[str]) -> bool:
    """Show a folder's commands, and ask the user if there is a terminal."""
    say_all(commands)
    return is_asked() and typer.confirm("They run with your rights. Accept them?", err=True)


def _slots(plan: Plan) -> Sequence[Slot]:
    from optimize.executors.slots import find_slots

    settings = plan.settings
    if settings.executor == "ray":
        from optimize.executors import find_cluster_slots
        from optimize.session.session import cluster

        return find_cluster_slots(cluster(plan))
    return find_slots(
        settings.device,
        settings.slots,
        settings.gpus.split(",") if settings.gpus else None,
        gpus_per_trial=settings.gpus_per_trial,
        trials_per_gpu=settings.trials_per_gpu,
        say=say,
    )
