"""One call of `optimize confirm`: opens the child study, has it trained round by round, and writes the verdict.

While it works it holds the parent study as well, so that its trials and its verdict stay what they are. What is trained, and what
the verdict is, is decided in `confirm/rounds.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from shlex import quote

from optimize.config.plan import Plan
from optimize.confirm.caveats import limits_of, trial_caveats
from optimize.confirm.replicates import (
    MOST_FINALISTS,
    MOST_SEEDS,
    SCALES,
    Repeatable,
    Variation,
    child_plan,
    finalists_of,
    is_whole,
    key_of_record,
    ranked,
    spread,
    variation_of,
    with_winner,
)
from optimize.confirm.rounds import LEAST, Rounds
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import OptimizeError, SettingsError
from optimize.reporting.dashboard import write_dashboard
from optimize.reporting.files import ResultFiles, write_views
from optimize.reporting.notify import open_notifier
from optimize.reporting.shown_study import ShownStudy
from optimize.session.replicating import ConfirmCallback, ConfirmLiveView
from optimize.session.session import Caller, Session, open_session
from optimize.study.best import baseline_of, numbers_repeated
from optimize.study.comparable import check_fingerprint, fingerprint, slots_of_one_model
from optimize.study.held import HeldStudy, hold_study
from optimize.study.resume import ALL_TRAINED
from optimize.study.stopping import Budget
from optimize.study.stored import find_study
from optimize.trial import Slot
from storage import Database, StorageError, StudyPaths, Tables, TrialRecord, read_records


@dataclass(frozen=True, slots=True)
class ConfirmOptions:
    """How thoroughly winners are looked at."""

    finalists: int = 3
    seeds: int = 3
    scale: int | None = None  # times the budget, for the order of configurations

    def check(self, flag: str = "--seeds") -> None:
        """Raises SettingsError with a line for each flag that makes no sense; `flag` is what gave the seeds."""
        lines = []
        if not 1 <= self.finalists <= MOST_FINALISTS:
            lines.append(
                f"--finalists: {self.finalists} is too {_side(self.finalists)}. Give 1 to {MOST_FINALISTS}: how many of the best "
                "are trained again."
            )
        if not 2 <= self.seeds <= MOST_SEEDS:
            lines.append(
                f"{flag}: {self.seeds} is too {_side(self.seeds)}. Give 2 to {MOST_SEEDS}: one training tells nothing of the noise."
            )
        if self.scale is not None and self.scale not in SCALES[1:]:
            lines.append(
                f"--scale: {self.scale} is too {_side(self.scale)}. Give 2 to {SCALES[-1]}: how many times the budget."
            )
        if lines:
            raise SettingsError(*lines)


def _side(number: int) -> str:
    return "few" if number < 2 else "many"


@dataclass(frozen=True, slots=True)
class ConfirmResult:
    """How the call ended; the verdict is None if it was stopped before there is one."""

    reason: str
    verdict: Verdict | None
    code: int = 0  # of this process


def confirm_study(plan: Plan, slots: Sequence[Slot], caller: Caller, options: ConfirmOptions) -> ConfirmResult:
    """Train the plan's baseline and winners again with other seeds, in a child study.

    Raises NothingToConfirm if no trial is better than the baseline, WorkloadError if the script has no seed, and what
    `open_study` raises.
    """
    options.check()
    variation = variation_of(plan)
    with open_session(child_plan(plan, variation), caller, create=False) as session:
        parent_id = find_study(session.database, plan.settings.study, plan.settings.runs).study_id
        _check(plan, session.database, parent_id)  # before a trial is read: its parameters may be of another space
        finalists_of(plan, ranked(plan, read_records(session.database, parent_id)), 1)  # told before data are prepared
        _check(plan, session.database, parent_id, session.prepare())
        with _held(plan, session, parent_id, caller.set_aside) as parent:
            return _confirm_held(plan, variation, parent, session, slots, caller, options)


def _confirm_held(
    plan: Plan,
    variation: Variation,
    parent: HeldStudy,
    session: Session,
    slots: Sequence[Slot],
    caller: Caller,
    options: ConfirmOptions,
) -> ConfirmResult:
    records = read_records(session.database, parent.study_id)
    slots = slots_of_one_model(plan, slots, records, session.say, session.database.study_names)
    session.paths.create()
    session.write_settings(asdict(options))
    child, study = session.plan, session.open_study(slots)
    before = verdict_of(session.database.study_attrs(parent.study_id))
    rounds = _rounds(plan, child, variation, records, options, before)
    rounds = replace(rounds, compared=_compared(rounds, ranked(plan, records), study.records()))
    if options.scale is not None:
        rounds = _with_ranks(rounds, ranked(plan, records), options.scale, session.say)
    session.say(rounds.announcement())
    confirming = ConfirmCallback(study, rounds, parent, session.stop_signals)
    shown = session.shown(study)
    live = ConfirmLiveView(caller.console, shown, rounds, slots, confirming)
    stored = find_study(session.database, plan.settings.study, plan.settings.runs)
    told = ShownStudy(stored, lambda: records, session.say, parent.lease.is_held)
    notifier = open_notifier(plan, told, {**asdict(options), "backup": caller.backup}, confirming=True)
    with session.reporting(study, live, (ResultFiles(shown),), notifier) as callbacks:
        if not study.has_queued():
            return ConfirmResult(ALL_TRAINED, confirming.verdict)
        budget = Budget(None, child.settings.hours, child.settings.max_consecutive_failures)
        reason = session.drive(
            study, slots, budget, (confirming, *callbacks), lambda suggestion: variation.scale(suggestion.params)
        )
    return ConfirmResult(reason, confirming.verdict, session.stop_signals.exit_code(reason))


@contextmanager
def _held(plan: Plan, session: Session, study_id: int, set_aside: bool) -> Iterator[HeldStudy]:
    """Hold the parent study, and write its views at the end, however that comes. Raises StudyBusyError while it is driven."""
    paths = StudyPaths(plan.settings.runs, plan.settings.study)
    with hold_study(session.database, study_id, paths) as held:
        tables, records = Tables(paths), read_records(session.database, study_id)
        for line in tables.protect(records, session.database.where, set_aside):
            session.say(line)
        try:
            yield held
        finally:
            _write_views(plan, held, session.say)


def _write_views(plan: Plan, held: HeldStudy, say: Callable[[str], None]) -> None:
    """Write the study's tables, best/ and its notes in the dashboard. What cannot be written hides no other error."""
    try:
        if held.lease.is_held():
            stored = find_study(held.database, plan.settings.study, plan.settings.runs)
            write_views(stored)
            write_dashboard(stored, say)
    except (OptimizeError, StorageError) as error:
        say(
            f"{error} (the verdict is kept; `optimize export --study {quote(plan.settings.study)}` writes the tables again)"
        )


def _check(plan: Plan, database: Database, study_id: int, data: str | None = None) -> None:
    """As a study is checked that is gone on with; None compares all but the data."""
    wanted = fingerprint(plan.workload, plan.space, plan.settings.constants, data or "")
    if data is None:
        del wanted["data"]
    attrs = database.study_attrs(study_id)
    check_fingerprint(plan.settings.study, attrs, wanted, database.study_names)


def _rounds(
    plan: Plan,
    child: Plan,
    variation: Variation,
    records: Sequence[TrialRecord],
    options: ConfirmOptions,
    before: Verdict | None,
) -> Rounds:
    """What there is to train in the child study; `before` is the verdict of an earlier call."""
    among = ranked(plan, records)
    finalists = finalists_of(plan, among, options.finalists)
    if before is not None and before.winner is not None:
        finalists = with_winner(plan, finalists, among, records, before.winner.number)
    return Rounds(
        plan.settings.study,
        plan.workload.metric,
        child.space,
        variation,
        next(each for each in among if each.number is None),
        finalists,
        options.seeds,
        earlier=sorted(numbers_repeated(before)),
        first_doubts=_first_doubts(plan, records),
        limits=limits_of(plan),
    )


def _compared(rounds: Rounds, among: Sequence[Repeatable], replicates: Sequence[TrialRecord]) -> int:
    """How many finalists the study has had in all its confirmations, with those of this one."""
    once = {rounds.replicate(each, 1).key for each in among if each.number is not None}
    ever = {key_of_record(record, rounds.space) for record in replicates} & once
    return len(ever | {rounds.replicate(each, 1).key for each in rounds.finalists})


def _with_ranks(rounds: Rounds, among: Sequence[Repeatable], scale: int, say: Callable[[str], None]) -> Rounds:
    """The rounds, and the order of several configurations under `scale` times the budget, if that can be trained."""
    ranks = spread(among, rounds.finalists, LEAST)
    if rounds.variation.budget is None:
        say(
            "--scale: left out, the workload has no budget that could be larger (budget in workload.toml names its constant)"
        )
    elif len(ranks) < LEAST:
        say(f"--scale: left out, {len(ranks)} distinct configurations have completed and an order needs {LEAST}")
    else:
        return replace(rounds, scale=scale, ranks=ranks)
    return rounds


def _first_doubts(plan: Plan, records: Sequence[TrialRecord]) -> dict[int, list[str]]:
    """About the trials that may be finalists."""
    baseline = baseline_of(records)
    mine = (record for record in records if record.value is not None and is_whole(record, plan.space))
    return {record.number: trial_caveats(plan, record, baseline) for record in mine}
