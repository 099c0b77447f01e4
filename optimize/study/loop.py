"""The loop: keep every slot busy until the budget is spent. Read this first.

One thread asks and tells. What a trial is, where it runs and who is told about it depend on the arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from shlex import quote

from optimize.errors import OptimizeError, SpaceExhausted, StudyAborted, StudyError, WorkloadError
from optimize.executors import Executor
from optimize.study.callback import Callback
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
    ) -> None:
        self._study, self._executor, self._prepare = study, executor, prepare
        self._budget, self._callbacks, self._stop_signals = budget, callbacks, stop_signals
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

    def run(self) -> str:
        """Work until the budget is spent or a stop request comes; return why.

        Raises StudyAborted; and OptimizeError if no configuration can be found or written into the script, after the running
        trials have ended.
        """
        with self._executor:
            while True:
                self._check_stop()
                while self._may_start():
                    self._start_next()
                self._notify(lambda callback: callback.on_tick())  # after the slots are busy: none waits for a callback
                if not self._executor.running and self._reason:
                    break
                for event in self._executor.wait(self._tick_s):
                    self._on_event(event)
                self._study.renew()
        if self._broken:
            raise StudyAborted(*self._broken)
        if self._failed:
            raise self._failed
        return self._reason

    def _may_start(self) -> bool:
        running, done = len(self._executor.running), self._done
        self._reason = self._reason or self._budget.spent(done, time.monotonic() - self._started)
        if self._exhausted and not running and not self._study.has_queued():
            self._reason = self._reason or self._exhausted
        if self._reason or not self._executor.free or (self._exhausted and not self._study.has_queued()):
            return False
        return self._budget.room(done, running) and (self._proven or not running)

    def _start_next(self) -> None:
        try:
            suggestion = self._study.ask()
        except SpaceExhausted as error:
            self._exhausted = str(error)
            return
        except _StopHeard:
            return
        except StudyError as error:  # the running trials are worth their time all the same
            self._failed, self._reason = error, self._reason or str(error)
            return
        try:
            job = self._prepare(suggestion)
        except OptimizeError as error:  # as after a failed ask
            # Where others were written, these alone cannot be: queued again, they would end the next call too.
            only_these = self._proven and isinstance(error, WorkloadError)
            self._study.give_back(suggestion.number, str(error), again=not only_these)
            self._failed, self._reason = error, self._reason or str(error)
            return
        slot = self._executor.submit(job)
        self._notify(lambda callback: callback.on_start(job, slot))

    def _while_asking(self) -> None:
        """Hear stop requests and renew the lease during a long search for a configuration."""
        self._check_stop()
        self._study.renew()
        if self._reason:
            raise _StopHeard(self._reason)

    def _on_event(self, event: Progress | Ending) -> None:
        if isinstance(event, Progress):
            self._proven = True
            hopeless = self._study.report(event)
            if hopeless:
                self._executor.cancel(event.number, TrialStatus.HOPELESS, hopeless)
            self._notify(lambda callback: callback.on_progress(event))
            return
        record = self._study.tell(event.job, event.outcome)
        self._done += counted([record])
        failed = record.state != "COMPLETE" and record.status != TrialStatus.HOPELESS  # which ran well, and was cut
        self._executor.forget(event.job.number, keep=failed and self._keep_failed)
        self._proven = self._proven or not failed
        self._notify(lambda callback: callback.on_trial_end(record))
        self._abort_if_hopeless(record, event.outcome.log)

    def _abort_if_hopeless(self, record: TrialRecord, log: str) -> None:
        """Abort the study if going on after this ending would waste time."""
        study, why = self._study.name, record.reason
        where = f"study {study}: trial {record.number}"
        more = f"All of its log: `optimize show {record.number} --study {quote(study)}`"
        counts, baseline = self._counts(record), self._study.baseline_ending
        if baseline is not None and baseline.number == record.number and baseline.plan is not None:
            self._reason = self._reason or baseline.line
            self._cancel_all("the baseline does not fit: all begins again with a smaller device batch")
        elif baseline is not None and baseline.number == record.number:
            self._abort(f"{where}: the baseline did not complete: {why}. {baseline.line} {more}", log)
        elif self._can_nothing_run(record):
            self._abort(f"{where}: {why}. Correct that and start again: its parameters are queued. {more}")
        elif record.kind == "baseline" and record.state != "COMPLETE" and not self._study.has_queued("baseline"):
            advice = _ADVICE.get(record.status, _ADVICE_ELSE)
            self._abort(f"{where}: the baseline did not complete: {why}. {advice} {more}", log)
        elif counts and self._failures >= self._budget.max_consecutive_failures:
            self._abort(f"{where}: {self._failures} failures in a row, the last: {why}. {more}", log)

    def _can_nothing_run(self, record: TrialRecord) -> bool:
        """Whether the machine is at fault, and no other of its devices can take the next trial."""
        if record.status == TrialStatus.DEVICE_FAILED:
            return not self._proven or self._executor.rests.have_failed(self._executor.slots)
        return record.status == TrialStatus.ENVIRONMENT and self._study.is_environment_broken()

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
            self._notify(lambda callback: callback.on_stop(level, self._stop_signals.why))
        if level >= StopLevel.FINISH:
            self._reason = self._reason or f"{STOPPED_BY}{self._stop_signals.why}"
        if level >= StopLevel.CANCEL:
            self._cancel_all(f"{STOPPED_BY}{self._stop_signals.why}")

    def _notify(self, call: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            call(callback)

    def _cancel_all(self, why: str) -> None:
        for number in self._executor.running:
            self._executor.cancel(number, TrialStatus.CANCELLED, why)


_ADVICE: dict[str, str] = {
    TrialStatus.TIMED_OUT: "Raise total_s under [limits] in workload.toml or the profile, or give the script a smaller budget.",
    TrialStatus.DIVERGED: "Lower the learning rates of the baseline in the profile's [constants].",
}
_ADVICE_ELSE = "Correct the script or the profile's [constants]."
