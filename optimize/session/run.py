"""One call of `optimize run`: opens the study, works on it until its budget is spent, and leaves the views written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from optimize.advisor import Advisor, advice_line
from optimize.advisor.advisor import open_advisor
from optimize.config.plan import Plan
from optimize.confirm.replicates import variation_of
from optimize.errors import WorkloadError
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.files import ResultFiles
from optimize.reporting.notify import open_notifier
from optimize.reporting.run_end import RunResult
from optimize.reporting.terminal import LiveView
from optimize.session.repeating import SearchRepeats
from optimize.session.session import Caller, Session, open_session
from optimize.study.best import find_best
from optimize.study.callback import Callback
from optimize.study.comparable import slots_of_one_model
from optimize.study.environment_endings import standing_lines
from optimize.study.ignored_constants import IgnoredConstants
from optimize.study.prior import describe_prior
from optimize.study.proposals import AdoptWaiting
from optimize.study.start_from import describe_start_from
from optimize.study.stopping import Budget, StopLevel, counted
from optimize.study.study import Study
from optimize.text import amount, value_text
from optimize.trial import Slot
from storage import TrialRecord


def run_study(plan: Plan, slots: Sequence[Slot], caller: Caller, verdict: bool = True) -> RunResult:
    """Work on the plan's study until its budget is spent. Raises StudyAborted and what `open_study` raises.

    With `verdict` its best trials are trained again with other seeds, beside the search.
    """
    describe_start_from(plan, slots)  # a wrong --from or --prior is told before anything is made
    if plan.settings.prior:
        describe_prior(plan)
    with open_session(plan, caller) as session:
        for notice in session.database.notices:
            session.say(notice)
        session.paths.create()
        session.prepare()
        while (ended := _work(session, slots, caller, verdict)) is None:
            pass
        return ended


def _work(session: Session, slots: Sequence[Slot], caller: Caller, verdict: bool) -> RunResult | None:
    """Work on the study of the session's plan.

    None: its baseline did not fit the GPU, and the session has the plan of the same study with a smaller device batch.
    """
    plan, first = session.plan, session.is_new
    advisor = open_advisor(plan, session.say)
    study = session.open_study(slots, advisor=advisor)
    if session.goes_on_with(study.baseline_ending):  # of an earlier driver's trial
        return None
    slots = slots_of_one_model(plan, slots, study.records(), session.say, session.database.study_names)
    for line in filter(None, (_so_far(plan, study, session.paths.folder), *study.summaries())) if first else ():
        session.say(line)
    session.write_settings()
    with reporting(session, caller, study, slots) as callbacks:
        mine = AdoptWaiting(study, session.database, session.shown(study).stored.study_id, plan, session.say)
        beside, no_verdict = _repeats(session, study, slots, callbacks) if verdict else (None, "")
        if beside is not None and first and not study.records() and (line := beside.announcement()):
            session.say(line)
        callbacks = (*callbacks, IgnoredConstants(plan, session.say), mine)
        callbacks = (*((beside.of_search,) if beside else ()), *callbacks)
        reason = session.drive(study, slots, _budget(plan), callbacks, repeats=beside)
    if session.goes_on_with(study.baseline_ending):
        return None
    stopped = session.stop_signals.level() is not StopLevel.NONE
    notes, code = _notes(advisor, study.records(), plan), session.stop_signals.exit_code(reason)
    others = session.database.study_names()
    repeats, no_verdict = (beside.done, beside.why_no_verdict()) if beside else (0, no_verdict)
    found = study.verdict()
    return RunResult(reason, study.records(), found, notes, stopped, code, others, plan, repeats, no_verdict)


def _repeats(
    session: Session, study: Study, slots: Sequence[Slot], callbacks: Sequence[Callback]
) -> tuple[SearchRepeats | None, str]:
    """Return what is trained beside the search; or why nothing is, in a line."""
    try:
        variation = variation_of(session.plan)
    except WorkloadError as error:
        return None, f"no verdict: {error.problems[0]}"
    live = next((each for each in callbacks if isinstance(each, LiveView)), None)
    repeats = SearchRepeats(session, study, variation, slots, _budget(session.plan), live)
    repeats.callbacks = callbacks
    return repeats, ""


def reporting(
    session: Session, caller: Caller, study: Study, slots: Sequence[Slot]
) -> AbstractContextManager[Sequence[Callback]]:
    """Show, write and send what the study's trials come to: terminal, files, dashboard, trackers, messages and backups."""
    shown = session.shown(study)
    live = LiveView(caller.console, shown, _budget(session.plan), slots)
    notifier = open_notifier(session.plan, shown, {"confirm": caller.confirm, "backup": caller.backup})
    return session.reporting(study, live, (ResultFiles(shown), DashboardWriter(shown)), notifier)


def _so_far(plan: Plan, study: Study, folder: Path) -> str:
    """Where a study goes on; where its files go if it begins."""
    metric, records = plan.workload.metric, study.records()
    if not records:
        return f"results: {folder.absolute()}"
    best = find_best(records, metric.direction, study.verdict(), plan.stored_space)
    found = f", best {metric.name} {value_text(best.record.value)} in trial {best.record.number}" if best else ""
    return f"goes on after {amount(done, 'trial')}{found}" if (done := counted(records)) else ""


def _budget(plan: Plan) -> Budget:
    settings, direction = plan.settings, plan.workload.metric.direction
    return Budget(settings.trials, settings.hours, settings.max_consecutive_failures, settings.until_worth, direction)


def _notes(advisor: Advisor | None, records: Sequence[TrialRecord], plan: Plan) -> list[str]:
    line = advice_line(records, advisor.spent, plan.workload.metric) if advisor else ""
    standing = standing_lines(records, plan.space.encode(plan.baseline))
    return [line, *standing] if line else standing
