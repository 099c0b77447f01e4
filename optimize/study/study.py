"""A persistent study while one driver works on it: ask for parameters, report progress, tell endings.

What each ending means is one table, in `search/endings.py`. This module starts no process and prints nothing.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, Literal

from optimize.advisor import ADVICE, Spent, StudyView
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.search import footprint
from optimize.search.endings import CROWDED, NEEDS_ANOTHER, Again, Consequence
from optimize.study.baseline_fit import BaselineEnding
from optimize.study.environment_endings import EnvironmentEndings
from optimize.study.held import HeldStudy
from optimize.study.kept import Scripts, files_to_keep, outcome_attrs
from optimize.study.queued import ENQUEUED, Queued, Search
from optimize.trial import Job, Outcome, Progress, Suggestion, TrialStatus, Value
from search_spaces import SearchSpace
from storage import (
    Artifacts,
    DatabaseLostError,
    StorageError,
    Stored,
    TrialRecord,
    condemned_attrs,
    ending_attrs,
    fill_waiting,
    origin_attrs,
    record_of,
)

# At most 8: every intermediate value costs a write, and loading time for ever. Close together where a cut saves most;
# at 5 percent the parameters say more than the loss.
CURVE_PERCENTS = (10, 15, 20, 30, 40, 50, 65, 85)


class Study:
    """The driver's handle on its study. `open_study` in `resume.py` makes one. Only one thread may use it."""

    def __init__(
        self, held: HeldStudy, artifacts: Artifacts, space: SearchSpace, scripts: Scripts, search: Search
    ) -> None:
        self.name = held.name
        self.held, self._database, self._study_id, self._lease = held, held.database, held.study_id, held.lease
        self._space, self._artifacts, self._scripts = space, artifacts, scripts
        self._sampler, self._pruner, self._advisor = search.sampler, search.pruner, search.advisor
        self._fit = search.fit
        self.baseline_ending: BaselineEnding | None = None  # of the last baseline that ran out of memory
        self._noted: Spent | None = None  # of the advisor, in the database
        self._queue: deque[Queued] = deque()
        self._running: dict[int, Queued] = {}
        self._records: dict[int, TrialRecord] = {}
        self._requeued: set[int] = set()  # trials whose parameters have gone back into the queue
        self._environment = EnvironmentEndings()
        self._given_up: list[Queued] = []  # stand as *environment*, and nothing has gone well since
        self._curves: dict[int, dict[int, float]] = {}  # of running trials: percent -> train loss
        self._decided: set[int] = set()  # running trials that the pruner has decided on

    def records(self) -> Sequence[TrialRecord]:
        """Return every finished trial, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def proven(self) -> bool:
        """Tell whether the script has ever completed in this study."""
        return any(record.state == "COMPLETE" for record in self._records.values())

    def has_queued(self, kind: str | None = None) -> bool:
        return any(kind in (None, trial.kind) for trial in self._queue)

    def queued(self) -> Sequence[Queued]:
        """Return what waits in the queue, the next one first."""
        return tuple(self._queue)

    def withdraw(self, trial: Queued, why: str) -> None:
        """Close a queued trial that is not needed any more."""
        self._queue.remove(trial)
        self._close(trial.trial_id, TrialStatus.CANCELLED, why)

    def change_queued(self, trial: Queued, params: Mapping[str, Value]) -> None:
        """Give a queued trial other parameters."""
        if fill_waiting(self._database, trial.trial_id, self._stored(params), self._space.stored_choices, {}):
            self._queue[self._queue.index(trial)] = replace(trial, params=params)

    def verdict(self) -> Verdict | None:
        """Return the verdict of the last confirmation; None if there is none."""
        return verdict_of(self._database.study_attrs(self._study_id))

    def summaries(self) -> list[str]:
        """Return a line each on what the trials have shown of the device's memory and of the prior, where there is any."""
        return self._sampler.summaries()

    def stop_request(self) -> str:
        """Return how somebody has asked this driver to stop, "" if nobody has: see `request_stop`."""
        return self.held.stop_request()

    def while_asking(self, meanwhile: Callable[[], None]) -> None:
        """Have this called from time to time while the sampler looks for a configuration."""
        self._sampler.meanwhile = meanwhile

    def ask(self) -> Suggestion:
        """Return what to try next: queued parameters, else the advisor's or the sampler's. Raises SpaceExhausted.

        The trial exists in the database, RUNNING and with all its parameters, before this returns.
        """
        trial = self._start_queued() or self._start_advised() or self._start_proposed()
        self._running[trial.number] = trial
        if self._advisor is not None:
            self._advisor.look_ahead(len(self._records), len(self._running), self._view)
        return Suggestion(trial.number, dict(trial.params), trial.alone)

    def report(self, progress: Progress) -> str:
        """Keep the train loss at fixed percents of the budget, which the dashboard draws as a curve.

        Return why the trial is to be pruned, "" if it may go on.
        """
        percent = max((p for p in CURVE_PERCENTS if p <= 100 * progress.fraction), default=0)
        curve = self._curves.setdefault(progress.number, {})
        if progress.loss is None or not isfinite(progress.loss) or percent <= max(curve, default=0):
            return ""
        curve[percent] = progress.loss
        trial = self._running[progress.number]
        try:
            self._write(functools.partial(self._database.report, trial.trial_id, percent, progress.loss), kind="light")
            return self._judge(trial, curve)
        except DatabaseLostError:
            raise
        except StorageError:
            found = self._database.find_trial(self._study_id, progress.number)
            if found is not None and not found.state.is_finished():
                raise
            return ""  # somebody ended it in the dashboard: its curve is of no use any more

    def tell(self, job: Job, outcome: Outcome) -> TrialRecord:
        """Close a trial: write its artifacts, then queue, attributes and state in one transaction. Return its record."""
        self._lease.renew()  # before files are written where nobody would look for them
        trial = self._running[job.number]
        stored = self._stored(trial.params)
        consequence = self._environment.consequence(outcome, stored, trial.attempt, self._others_train(trial, stored))
        fit = self._fit.judge(trial.number, trial.kind, outcome, consequence, self.proven())
        consequence = fit.consequence if fit else consequence
        value = float(outcome.summary[job.metric.name]) if outcome.status is TrialStatus.COMPLETE else None
        had = f"with {fit.device_batch}: " if fit and fit.device_batch else ""
        attrs = outcome_attrs(job, replace(outcome, reason=had + outcome.reason))
        kept = self._artifacts.write(files_to_keep(job, outcome, self._scripts))

        def close() -> Queued | None:
            told = self._database.finish_trial(trial.trial_id, consequence.state, value, attrs=attrs, artifacts=kept)
            if told and fit and fit.plan:
                return self._begin_smaller(fit.attrs, Queued(fit.plan.baseline, "baseline", alone=trial.alone))
            if not told or not self._again(trial, consequence):
                return None  # also if somebody ended it otherwise in the dashboard
            attempt = trial.attempt + (consequence.again is not Again.ALWAYS)
            again = replace(trial, attempt=attempt, alone=trial.alone or consequence is CROWDED)
            return self._create("WAITING", again, requeue_of=trial.number)

        queued = self._lease.write(close, stands=lambda queued: self._stands(trial, queued))
        if fit and (queued is not None or fit.plan is None):
            self.baseline_ending = fit
        del self._running[job.number]
        self._curves.pop(job.number, None)
        self._decided.discard(job.number)
        if queued is not None:
            self.adopt_queued(queued)
            self._requeued.add(trial.number)
        elif consequence is NEEDS_ANOTHER:
            self._given_up.append(trial)
        elif consequence.state != "FAIL":
            self._given_up.clear()
        record = self._remember(trial.trial_id)
        seen = footprint(record.state, record.status, record.summary)
        self._sampler.finished(trial.number, record.state, record.value, seen)
        return record

    def _begin_smaller(self, attrs: Mapping[str, Any], baseline: Queued) -> Queued:
        """Write what the study is from now on, and queue its new baseline."""
        for name, value in attrs.items():
            self._database.set_study_attr(self._study_id, name, value)
        return self._create("WAITING", baseline)

    def give_back(self, number: int, why: str, again: bool) -> None:
        """Close a trial that was asked for and could not be started; its parameters are queued again, if `again`."""
        trial, status = self._running.pop(number), TrialStatus.CANCELLED if again else TrialStatus.INFEASIBLE

        def close() -> Queued | None:
            self._database.finish_trial(trial.trial_id, "FAIL", attrs=ending_attrs(status, reason=why))
            return self._create("WAITING", trial, requeue_of=number) if again else None

        if queued := self._lease.write(close, stands=lambda queued: self._stands(trial, queued)):
            self.adopt_queued(queued)
            self._requeued.add(number)
        self._sampler.finished(number, "FAIL", None)
        self._remember(trial.trial_id)

    def is_environment_broken(self) -> bool:
        """Tell whether the last *environment* ending was not of its parameters alone. What was given up is queued again then."""
        while self._environment.broken and self._given_up:
            again = self._given_up.pop()
            self.adopt_queued(self._create("WAITING", again, requeue_of=again.number))
            self._requeued.add(again.number)
        return self._environment.broken

    def renew(self) -> None:
        """Renew the lease. Raises LeaseLostError if another driver has taken the study over."""
        self._lease.renew()

    def is_ours(self) -> bool:
        """Tell whether this driver still holds the study; else another one writes its views."""
        return self._lease.is_held()

    def enqueue(self, params: Mapping[str, Value], kind: str, source: str = "") -> None:
        """Put parameters at the end of the queue."""
        new = Queued(params, kind, source=source)
        self.adopt_queued(self._lease.write(lambda: self._create("WAITING", new), stands=self._exists))

    def adopt_queued(self, trial: Queued) -> None:
        """Put a WAITING trial of the database into the queue; the baseline goes first, since all else is compared with it."""
        if trial.kind == "baseline":
            self._queue.appendleft(trial)
        else:
            self._queue.append(trial)

    def adopt_enqueued(self, record: TrialRecord, params: Mapping[str, Value]) -> None:
        """Put a WAITING trial that another program made into the queue, under its own number."""
        choices, attrs = self._space.stored_choices, origin_attrs("start", source=ENQUEUED)
        if fill_waiting(self._database, record.trial_id, self._stored(params), choices, attrs):
            self.adopt_queued(Queued(params, "start", source=ENQUEUED, trial_id=record.trial_id, number=record.number))

    def adopt_running(self, trial: Queued) -> None:
        """Take over a RUNNING trial that an earlier driver left, to be told like any other."""
        self._running[trial.number] = trial

    def adopt_finished(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        if self._pruner is not None:
            self._pruner.ended(record)

    def discard(self, record: TrialRecord, why: str, status: TrialStatus = TrialStatus.LOST) -> None:
        """Close a trial that cannot be told: of another program, or without its parameters."""
        self._close(record.trial_id, status, why)

    def adopt_requeue(self, number: int) -> None:
        """Note that the parameters of trial `number` are in the queue already."""
        self._requeued.add(number)

    def _write(self, work: Callable[[], object], kind: str = "write") -> None:
        """Do as the study's only driver what has the same effect twice as once."""
        self._lease.write(work, stands=lambda _: False, kind=kind)

    def _close(self, trial_id: int, status: TrialStatus, why: str) -> None:
        attrs = ending_attrs(status, reason=why)
        self._write(lambda: self._database.finish_trial(trial_id, "FAIL", attrs=attrs))
        self._remember(trial_id)

    def _judge(self, trial: Queued, curve: Mapping[int, float]) -> str:
        """Ask the pruner about a proposed trial until it has decided. Queued parameters are never pruned."""
        if self._pruner is None or trial.kind not in ("sampler", "advisor") or trial.number in self._decided:
            return ""
        decision = self._pruner.judge(trial.number, self._stored(trial.params), curve)
        if decision is None:
            return ""
        self._decided.add(trial.number)
        self._write(lambda: self._database.set_trial_attrs(trial.trial_id, condemned_attrs(str(decision))))
        return "" if decision.spared else str(decision)

    def _start_queued(self) -> Queued | None:
        while self._queue:
            trial = self._queue.popleft()
            if self._start(trial):
                self._sampler.started(trial.number, trial.params)
                return trial
        return None

    def _start(self, trial: Queued) -> bool:
        """Start a waiting trial; False if somebody has deleted or ended it meanwhile."""
        start = self._database.start_waiting
        return self._lease.write(
            lambda: start(trial.trial_id), stands=lambda started: started and self._exists(trial, "RUNNING")
        )

    def _start_advised(self) -> Queued | None:
        if self._advisor is None:
            return None
        params, spent = self._advisor.advise(self._sampler.why_not), self._advisor.spent
        if spent != self._noted:
            self._noted, note = spent, self._database.set_study_attr
            # one that is lost with the answer to its commit comes with the next one
            self._lease.write(lambda: note(self._study_id, ADVICE, spent.attrs()), stands=lambda _: True)
        return None if params is None else self._start_new(Queued(params, "advisor", source=self._advisor.model))

    def _start_proposed(self) -> Queued:
        return self._start_new(Queued(self._sampler.propose(), "sampler"))

    def _start_new(self, proposal: Queued) -> Queued:
        trial = self._lease.write(lambda: self._create("RUNNING", proposal), stands=self._exists)
        self._sampler.started(trial.number, trial.params)
        if self._advisor is not None:
            self._advisor.proposed(trial.kind)
        return trial

    def _view(self) -> StudyView:
        return StudyView(self.records(), [trial.params for trial in self._running.values()], self._sampler.preview())

    def _create(self, state: Literal["RUNNING", "WAITING"], new: Queued, requeue_of: int | None = None) -> Queued:
        created = self._database.create_trial(
            self._study_id,
            state=state,
            params=self._stored(new.params),
            choices=self._space.stored_choices,
            attrs=origin_attrs(
                new.kind, attempt=new.attempt, requeue_of=requeue_of, alone=new.alone, source=new.source
            ),
        )
        return replace(new, trial_id=created.trial_id, number=created.number)

    def _stands(self, told: Queued, queued: Queued | None) -> bool:
        found = self._database.find_trial(self._study_id, told.number)
        return found is not None and found.state.is_finished() and (queued is None or self._exists(queued))

    def _exists(self, trial: Queued, state: str | None = None) -> bool:
        """Tell whether a trial is in the database, although the answer to its commit was lost."""
        found = self._database.find_trial(self._study_id, trial.number)
        return found is not None and found._trial_id == trial.trial_id and state in (None, found.state.name)

    def _stored(self, params: Mapping[str, Value]) -> dict[str, Stored]:
        return self._space.encode(params)

    def _others_train(self, trial: Queued, stored: Mapping[str, Stored]) -> bool:
        if trial.kind == "baseline":
            return False  # all else is compared with it
        completed = any(r.state == "COMPLETE" and r.params != stored for r in self._records.values())
        return completed or any(curve and number != trial.number for number, curve in self._curves.items())

    def _again(self, trial: Queued, consequence: Consequence) -> bool:
        return trial.number not in self._requeued and trial.attempt < consequence.again

    def _remember(self, trial_id: int) -> TrialRecord:
        record = record_of(self._database.trial(trial_id))
        self.adopt_finished(record)
        return record
