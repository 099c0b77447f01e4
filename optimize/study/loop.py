"""The loop: keep every slot busy until the budget is spent. Read this first.

One thread asks and tells. What a trial is, where it runs and who is told about it depend on the arguments. Beside the search it
trains repeats, where there are some (`sources.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from shlex import quote

from optimize.errors import OptimizeError, SpaceExhausted, StudyAborted, StudyError, WorkloadError
from optimize.executors import Executor
from optimize.runner.diagnosis import ENDED_WELL
from optimize.runner.metric_lines import WRITE
from optimize.study.callback import Callback
from optimize.study.sources import Moment, Repeats, Source
from optimize.study.stopping import COUNTED, STOPPED_BY, Budget, StopLevel, StopSignals, counted
from optimize.study.study import Study
from optimize.trial import Ending, Job, Progress, Suggestion, TrialStatus
from storage import TrialRecord

LOG_LINES = 20  # of a log, shown when a study is aborted
TICK_S = 1.0  # how long a stop request, or the renewal of the lease, may wait


class _StopHeard(StudyError):
    """No configuration is looked for any more: the study stops."""


class Loop:
    """One call of `optimize run` on an open study."""

    def __init__(
        self,
        study: Study,
        executor: Executor,
        prepare: Callable[[Suggestion], Job],
        budget: Budget,
        callbacks: Sequence[Callback],
        stop_signals: StopSignals,
        keep_failed: bool = False,
        tick_s: float = TICK_S,
        began: float | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        self._study, self._executor = study, executor
        self._search, self._repeats = Source(study, prepare, callbacks), repeats or Repeats()
        self._budget, self._stop_signals = budget, stop_signals
        self._keep_failed = keep_failed
        self._started = time.monotonic() if began is None else began  # the call, from which its hours count
        self._done = counted(study.records())
        self._proven = study.proven()  # has the script ever trained a step? Until then it runs alone
        self._tick_s, self._looked = tick_s, 0.0
        self._stop_level = StopLevel.NONE
        self._failures = 0  # in a row, in this call
        self._exhausted = ""  # why the sampler has nothing more; what is queued still runs
        self._reason: str | None = None  # why no further trial is started
        self._broken: list[str] = []  # why the study cannot go on
        self._failed: OptimizeError | None = None  # raised after the running trials have ended
        study.while_asking(self._while_asking)
        self._look_at_worth()

    def run(self) -> str:
        """Work until the budget is spent or a stop request comes; return why.

        Raises StudyAborted; and OptimizeError if no configuration can be found or written into the script, after the running
        trials have ended.
        """
        with self._executor:
            while True:
                self._check_stop()
                while source := self._next():
                    self._start(source)
                for source in self._sources():  # the slots are busy: none waits for a callback
                    _notify(source, lambda callback: callback.on_tick())
                if not self._executor.running and self._reason:
                    break
                for event in self._executor.wait(self._tick_s):
                    self._on_event(event)
                self._renew()
        if self._broken:
            raise StudyAborted(*self._broken)
        if self._failed:
            raise self._failed
        self._repeats.finish(self._budget.is_late(time.monotonic() - self._started))
        return self._reason

    def _sources(self) -> Sequence[Source]:
        repeats = self._repeats.source
        return (self._search, repeats) if repeats is not None else (self._search,)

    def _renew(self) -> None:
        for source in self._sources():
            source.study.renew()

    def _next(self) -> Source | None:
        """Return what starts a trial now: the repeats if one is due, else the search; None while neither may."""
        running, free, elapsed_s = self._executor.running, self._executor.free, time.monotonic() - self._started
        self._reason = self._reason or self._budget.spent(self._done, elapsed_s, self._repeats.done)
        if self._reason:
            return None
        searching = self._done + sum(number >= 0 for number in running)
        exhausted = bool(self._exhausted) and not self._study.has_queued()
        kept = self._repeats.decide(Moment(searching, len(running), free, elapsed_s, exhausted))
        if self._repeats.has_due():
            return self._repeats.source if free else None
        if exhausted and not running:
            self._reason = self._exhausted
        if self._reason or exhausted or not free:
            return None
        room = self._budget.room(self._done + self._repeats.done + kept, len(running))
        return self._search if room and (self._proven or not running) else None

    def _start(self, source: Source) -> None:
        study = source.study
        try:
            suggestion = study.ask()
        except SpaceExhausted as error:
            self._exhausted = self._exhausted if source.beside else str(error)
            return
        except _StopHeard:
            return
        except StudyError as error:  # the running trials are worth their time all the same
            self._failed, self._reason = error, self._reason or str(error)
            return
        try:
            job = source.prepare(suggestion)
        except OptimizeError as error:  # as after a failed ask
            # Where others were written, these alone cannot be: queued again, they would end the next call too.
            only_these = self._proven and isinstance(error, WorkloadError)
            study.give_back(suggestion.number, str(error), again=not only_these)
            self._failed, self._reason = error, self._reason or str(error)
            return
        slot = self._executor.submit(replace(job, number=source.numbered(job.number)))
        _notify(source, lambda callback: callback.on_start(job, slot))

    def _while_asking(self) -> None:
        """Hear stop requests and renew the lease during a long search for a configuration."""
        self._check_stop()
        self._renew()
        if self._reason:
            raise _StopHeard(self._reason)

    def _on_event(self, event: Progress | Ending) -> None:
        number = event.number if isinstance(event, Progress) else event.job.number
        source = self._search if number >= 0 else self._repeats.source
        assert source is not None
        if isinstance(event, Progress):
            self._proven = True
            progress = replace(event, number=source.numbered(number))
            hopeless = source.study.report(progress)
            if hopeless:
                self._executor.cancel(number, TrialStatus.HOPELESS, hopeless)
            _notify(source, lambda callback: callback.on_progress(progress))
            return
        record = source.study.tell(replace(event.job, number=source.numbered(number)), event.outcome)
        self._done += 0 if source.beside else counted([record])
        self._look_at_worth()
        failed = record.state != "COMPLETE" and record.status != TrialStatus.HOPELESS  # which ran well, and was cut
        self._executor.forget(number, keep=failed and self._keep_failed)
        self._proven = self._proven or not failed
        _notify(source, lambda callback: callback.on_trial_end(record))
        self._abort_if_hopeless(source.study, record, event.outcome.log)

    def _look_at_worth(self) -> None:
        """Search no further where more trials are expected to bring too little. Repeats that are kept for the end still come."""
        if not self._study.has_queued():
            self._exhausted = self._exhausted or self._budget.not_worth(self._study.records()) or ""

    def _abort_if_hopeless(self, study: Study, record: TrialRecord, log: str) -> None:
        """Abort the study if going on after this ending would waste time."""
        why, where = record.reason.rstrip("."), f"study {study.name}: trial {record.number}"
        more = f"All of its log: `optimize show {record.number} --study {quote(study.name)}`"
        counts, baseline = self._counts(record), study.baseline_ending
        if baseline is not None and baseline.number == record.number and baseline.plan is not None:
            self._reason = self._reason or baseline.line
            self._cancel_all("the baseline does not fit: all begins again with a smaller device batch")
        elif baseline is not None and baseline.number == record.number:
            self._abort(f"{where}: the baseline did not complete: {why}. {baseline.line} {more}", log)
        elif self._can_nothing_run(study, record):
            self._abort(f"{where}: {why}. Correct that and start again: its parameters are queued. {more}")
        elif record.kind == "baseline" and record.state != "COMPLETE" and not study.has_queued("baseline"):
            advice = _without_metric(why) or _ADVICE.get(record.status, _ADVICE_ELSE)
            advice = _ADVICE_FILE if "FileNotFoundError" in why else advice
            self._abort(f"{where}: the baseline did not complete: {why}. {advice} {more}", log)
        elif counts and self._failures >= self._budget.max_consecutive_failures:
            advice = _ADVICE.get(record.status, "")
            self._abort(
                " ".join(
                    filter(None, (f"{where}: {self._failures} failures in a row, the last: {why}.", advice, more))
                ),
                log,
            )

    def _can_nothing_run(self, study: Study, record: TrialRecord) -> bool:
        """Whether the machine is at fault, and no other of its devices can take the next trial."""
        if record.status == TrialStatus.DEVICE_FAILED:
            return not self._proven or self._executor.rests.have_failed(self._executor.slots)
        return record.status == TrialStatus.ENVIRONMENT and study.is_environment_broken()

    def _counts(self, record: TrialRecord) -> bool:
        """Whether this failure counts towards the limit: not one of a person or of bad parameters, and not a first mishap."""
        if record.state in COUNTED:
            self._failures = 0
            return False
        mishaps = (TrialStatus.CRASHED, TrialStatus.SILENT, TrialStatus.LOST)  # a node takes all of its trials along
        counts = record.status in mishaps and record.attempt > 1
        self._failures += counts
        return counts

    def _abort(self, why: str, log: str = "") -> None:
        lines = log.replace("\r", "\n").splitlines()[-LOG_LINES:]
        self._broken = self._broken or [why, *(f"  | {line}" for line in lines)]
        self._reason = self._reason or "aborted"
        self._cancel_all("the study was aborted")

    def _check_stop(self) -> None:
        if time.monotonic() - self._looked >= self._tick_s:
            self._looked = time.monotonic()
            self._stop_signals.ask(self._study.stop_request())
        level = self._stop_signals.level()
        if level > self._stop_level:
            self._stop_level = level
            _notify(self._search, lambda callback: callback.on_stop(level, self._stop_signals.why))
        if level >= StopLevel.FINISH:
            self._reason = self._reason or f"{STOPPED_BY}{self._stop_signals.why}"
        if level >= StopLevel.CANCEL:
            self._cancel_all(f"{STOPPED_BY}{self._stop_signals.why}")

    def _cancel_all(self, why: str) -> None:
        for number in self._executor.running:
            self._executor.cancel(number, TrialStatus.CANCELLED, why)


def _without_metric(why: str) -> str:
    """Return what to do where a script ended well without its metric, "" for any other ending."""
    if not why.startswith(ENDED_WELL):
        return ""
    said = WRITE in why or "Correct `metric`" in why
    return _AGAIN if said else f"{_ADVICE_METRIC} {_AGAIN}" if "toml" in why or "in its summary" in why else ""


def _notify(source: Source, call: Callable[[Callback], None]) -> None:
    for callback in source.callbacks:
        call(callback)


_ADVICE: dict[str, str] = {
    TrialStatus.TIMED_OUT: "Raise total_s under [limits] in workload.toml or the profile, or give the script a smaller budget: "
    "flags belong to `command` there.",
    TrialStatus.SILENT: "Then start again: the study goes on.",
    TrialStatus.DIVERGED: "Lower the learning rates of the baseline in the profile's [constants].",
}
_ADVICE_FILE = (
    "A trial runs in a folder of its own. What the script reads there, workload.toml names: text as `files`, other data as "
    "`links`."
)
_ADVICE_METRIC = (
    'In workload.toml that is metric = "NAME" for a line `NAME: 0.5`, else metric = { name = "NAME", '
    "regex = 'the words before it {number}' }."
)
_AGAIN = "Then give the same command again."
_ADVICE_ELSE = "Correct the script or the profile's [constants]."
