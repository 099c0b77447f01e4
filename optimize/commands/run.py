"""Commands that need a plan: run, confirm, prepare, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimize.commands.detached import begin_detached
from optimize.commands.flags import (
    AsideFlag,
    BackupFlag,
    DetachFlag,
    EventsFlag,
    JsonFlag,
    ProfileFlag,
    TrustFlag,
    WorkloadFlag,
    takes_plan_flags,
    takes_training_flags,
)
from optimize.commands.plans import accept_commands, checked_database, done_before, plan_of_flags
from optimize.commands.terminal import open_console, opened_database, say, say_all, show_json
from optimize.commands.user_errors import opened_events
from optimize.errors import ExecutorError, NothingToConfirm, WorkloadError

if TYPE_CHECKING:
    from optimize.config.plan import Plan
    from optimize.confirm.verdict import Verdict
    from optimize.reporting.events import EventsFile
    from optimize.reporting.run_end import RunResult
    from optimize.session.confirm import ConfirmOptions
    from optimize.session.session import Caller
    from optimize.trial import Slot


@takes_plan_flags
def run(
    given: dict[str, Any],
    trust: TrustFlag = False,
    confirm: Annotated[
        int | None,
        typer.Option(
            "--confirm",
            help="0: train no winner again beside the search. 2 to 20: only at the end, the baseline and the best 3 with so many "
            "other seeds.",
        ),
    ] = None,
    backup: BackupFlag = None,
    set_aside: AsideFlag = False,
    events: EventsFlag = None,
    detach: DetachFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a study, or go on with it where it stopped.

    Example: optimize run --profile cpu --trials 40
    """
    plan = plan_of_flags(given)
    checked_database(plan)
    accept_commands(plan.workload, trust)
    wanted = confirm_options(plan, "--confirm", seeds=confirm) if confirm else None
    if detach:
        more = {
            "from": given["start_from"],
            "confirm": confirm,
            "backup": backup,
            "set-aside": set_aside,
            "trust": True,
        }
        _say_begun(begin_detached("run", plan, more, events), as_json)
        return
    with opened_events(events) as told:
        ended = _run_here(plan, wanted, _caller(backup, set_aside, told, confirm), as_json)
        if told is not None:
            told.end(ended.code, ended.reason)
    if as_json:
        _show_status(plan)
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
    events: EventsFlag = None,
    detach: DetachFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Are the winners real? Train the baseline and the best trials again with other seeds, or go on with that.

    Example: optimize confirm --study gpt-cpu --seeds 5 --scale 2
    """
    plan = plan_of_flags(given)
    wanted = confirm_options(plan, finalists=finalists, seeds=seeds, scale=scale)
    checked_database(plan)
    accept_commands(plan.workload, trust)
    say_all(plan.earlier)
    if detach:
        more = {**asdict(wanted), "backup": backup, "set-aside": set_aside, "trust": True}
        _say_begun(begin_detached("confirm", plan, more, events), as_json)
        return
    with opened_events(events) as told:
        code = _confirm(plan, _slots(plan), wanted, _caller(backup, set_aside, told), as_json)
        if told is not None:
            told.end(code)
    if as_json:
        _show_status(plan)
    if code:
        raise SystemExit(code)


def prepare(profile: ProfileFlag = None, workload: WorkloadFlag = None, trust: TrustFlag = False) -> None:
    """Prepare the data of a profile's workload, and start no study.

    Example: optimize prepare --profile h100
    """
    plan = plan_of_flags({"profile": profile, "workload": workload}, of_today=True)
    accept_commands(plan.workload, trust)
    from optimize.session.session import prepare_data

    prepare_data(plan, say)


@takes_plan_flags
def check(
    given: dict[str, Any],
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair stuck trials, artifacts and views; results stay.")
    ] = False,
    set_aside: AsideFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what a study would do: every setting with its origin, the space, the baseline, the slots. It starts nothing.

    Example: optimize check --profile colab
    """
    plan = plan_of_flags(given)
    from optimize.reporting.check import check_report
    from optimize.study.prior import describe_prior
    from optimize.study.resume import refuse_to_go_on
    from optimize.study.start_from import describe_start_from

    if repair:
        from optimize.transfer.repair import repair as repair_study

        say_all(plan.earlier)
        repair_study(plan, say, _children(plan), set_aside)
        return
    found, missing = slots_if_any(plan)
    if as_json:
        show_json(checked(plan, found))
    else:
        begins = [*describe_start_from(plan, found), *describe_prior(plan)]
        open_console().print(check_report(plan, found, begins, done_before(plan)))
    if missing is not None:  # a profile for another machine can be shown here, though a study would not run
        raise missing
    refuse_to_go_on(plan, found, say)


def checked(plan: Plan, slots: Sequence[Slot]) -> dict[str, Any]:
    """Return a document of what a study of this plan would be."""
    from optimize.config.trust import is_trusted
    from optimize.reporting.check import check_document

    return check_document(plan, slots, is_trusted(plan.workload), done_before(plan))


def slots_if_any(plan: Plan) -> tuple[Sequence[Slot], ExecutorError | None]:
    """Return the slots of a plan, or why there is none. Raises OptimizeError if its script or its database cannot be used."""
    plan.workload.render({**plan.settings.written, **plan.baseline})
    say_all(checked_database(plan, read_only=True))
    try:
        return _slots(plan), None
    except ExecutorError as error:
        return (), error


def confirm_options(plan: Plan, flag: str = "--seeds", **numbers: int | None) -> ConfirmOptions:
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


def _show_status(plan: Plan) -> None:
    """Print the state of the plan's study as `optimize status --json` does."""
    from optimize.reporting.status_json import LATEST, document
    from optimize.study.stored import find_study

    settings = plan.settings
    with opened_database(settings.storage, settings.runs, read_only=True) as database:
        show_json(document(database.where, [find_study(database, settings.study, settings.runs)], LATEST))


def _say_begun(begun: dict[str, Any], as_json: bool) -> None:
    """Print what has begun in a process of its own."""
    if as_json:
        show_json(begun)
        return
    stop = f"`optimize stop --study {quote(begun['study'])}`"
    say(
        f"study {begun['study']}: process {begun['pid']} drives it ({begun['state']}). It ends with its budget, or by {stop}"
    )
    say_all([f"its log: {begun['log']}", f"its events: {begun['events']}"])


def _caller(backup: Path | None, set_aside: bool, events: EventsFile | None, confirm: int | None = None) -> Caller:
    from optimize.session.session import Caller

    return Caller(open_console(stderr=True), say, backup, set_aside, events, confirm)


def _run_here(plan: Plan, wanted: ConfirmOptions | None, caller: Caller, as_json: bool) -> RunResult:
    """Run the study in this process, and confirm its winners where that is wanted; say how it ended, but not as JSON."""
    from optimize.reporting.check import plan_lines
    from optimize.reporting.hints import command_line, given_flags
    from optimize.reporting.run_end import end_report
    from optimize.session.run import run_study

    found = _slots(plan)
    say_all(plan_lines(plan, found, done_before(plan)))
    ended = run_study(plan, found, caller, verdict=caller.confirm is None)
    plan = ended.plan or plan
    if not as_json:
        more = {"confirm": caller.confirm, "backup": caller.backup}
        confirmable = wanted is None and _can_be_confirmed(plan)
        open_console().print(end_report(plan, ended, confirmable, more), crop=False)
    if wanted is not None and ended.stopped:
        later = command_line("confirm", given_flags(plan.settings))
        say(f"--confirm: left out, because the study was stopped before its end. Later: {later}")
    elif wanted is not None:
        try:
            code = _confirm(plan, found, wanted, caller, as_json)
            ended = replace(ended, code=ended.code or code)
        except NothingToConfirm as error:  # of a study that went well
            say_all(error.problems)
    return ended


def _confirm(plan: Plan, slots: Sequence[Slot], wanted: ConfirmOptions, caller: Caller, as_json: bool) -> int:
    """Confirm the winners of the plan's study, and say what was found, but not as JSON; return an exit code."""
    from optimize.confirm.table import verdict_table
    from optimize.reporting.hints import command_line, given_flags
    from optimize.session.confirm import confirm_study

    ended = confirm_study(plan, slots, caller, wanted)
    say(f"study {plan.settings.study}, confirmation: {ended.reason}")
    if ended.verdict is None:
        again = command_line("confirm", given_flags(plan.settings))
        say(f"no verdict yet; all trainings are kept. Go on with: {again}")
    elif not as_json:
        open_console().print(verdict_table(ended.verdict, plan.workload.metric))
        say_all(_more_seeds(plan, ended.verdict))
    if ended.verdict is not None and caller.events is not None:
        caller.events.confirmed(plan.settings.study, ended.verdict)
    return ended.code


def _more_seeds(plan: Plan, verdict: Verdict) -> Sequence[str]:
    """Return the line that goes on where the best trial is neither confirmed nor luck."""
    from optimize.reporting.hints import command_line, given_flags
    from optimize.reporting.next_steps import more_seeds

    seeds = more_seeds(verdict.finalists[0]) if verdict.finalists and verdict.winner is None else 0
    again = command_line("confirm", {**given_flags(plan.settings), "seeds": seeds})
    return [f"be surer, with {seeds} seeds in all: {again}"] if seeds else []


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
