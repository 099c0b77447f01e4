"""A persistent study while one driver works on it: ask for parameters, report progress, tell endings.

What each ending means is one table, in `consequences.py`. It starts no process, it prints nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

from optimize.advisor import ADVICE, Advisor, Spent, StudyView
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.script.command import RUN, shell_script
from optimize.search import Sampler, footprint
from optimize.search.pruner import Pruner
from optimize.study.held import HeldStudy
from optimize.trial import (
    CROWDED,
    Again,
    Consequence,
    Job,
    Outcome,
    Progress,
    Suggestion,
    TrialStatus,
    Value,
    consequence_of,
)
from search_spaces import SearchSpace
from storage import (
    Artifacts,
    StorageError,
    Stored,
    TrialRecord,
    condemned_attrs,
    ending_attrs,
    fill_waiting,
    make_patch,
    origin_attrs,
    params_text,
    record_of,
)

# At most 8: every intermediate value costs a write, and loading time for ever. Close together where a cut saves most;
# at 5 percent the parameters say more than the loss.
CURVE_PERCENTS = (10, 15, 20, 30, 40, 50, 65, 85)


@dataclass(frozen=True, slots=True)
class Queued:
    """Parameters on their way through the study: to be created, then a WAITING or RUNNING trial of the database."""

    params: Mapping[str, Value]
    kind: str
    attempt: int = 1
    alone: bool = False  # on its device
    source: str = ""  # a start's origin, an advisor's model, what a replicate repeats
    trial_id: int = -1  # until it is created
    number: int = -1


@dataclass(frozen=True, slots=True)
class Search:
    """What decides on a study's trials: which parameters are tried next, and which trials are pruned."""

    sampler: Sampler
    pruner: Pruner | None = None  # None: no trial is pruned
    advisor: Advisor | None = None  # None: the sampler alone proposes


class Study:
    """The driver's handle. `open_study` in `opening.py` makes one; one thread uses it."""

    def __init__(
        self, held: HeldStudy, artifacts: Artifacts, space: SearchSpace, originals: Mapping[str, str], search: Search
    ) -> None:
        self.name = held.name
        self._held, self._database, self._study_id, self._lease = held, held.database, held.study_id, held.lease
        self._space, self._artifacts, self._originals = space, artifacts, originals
        self._sampler, self._pruner, self._advisor = search.sampler, search.pruner, search.advisor
        self._noted: Spent | None = None  # of the advisor, in the database
        self._queue: deque[Queued] = deque()
        self._running: dict[int, Queued] = {}
        self._records: dict[int, TrialRecord] = {}
        self._requeued: set[int] = set()  # trials whose parameters have gone back into the queue
        self._curves: dict[int, dict[int, float]] = {}  # of running trials: percent -> train loss
        self._condemned: set[int] = set()  # running trials on which there is a verdict

    def records(self) -> Sequence[TrialRecord]:
        """Every finished trial, in the order of their numbers."""
        return [self._records[number] for number in sorted(self._records)]

    def proven(self) -> bool:
        """Whether the script has ever completed in this study."""
        return any(record.state == "COMPLETE" for record in self._records.values())

    def has_queued(self, kind: str | None = None) -> bool:
        return any(kind in (None, trial.kind) for trial in self._queue)

    def queued(self) -> Sequence[Queued]:
        """What waits, the next one first."""
        return tuple(self._queue)

    def withdraw(self, trial: Queued, why: str) -> None:
        """Close a queued trial that nobody wants any more."""
        self._queue.remove(trial)
        self._database.finish_trial(trial.trial_id, "FAIL", attrs=ending_attrs(TrialStatus.CANCELLED, reason=why))
        self._remember(trial.trial_id)

    def verdict(self) -> Verdict | None:
        """What the last confirmation came to."""
        return verdict_of(self._database.study_attrs(self._study_id))

    def memory_summary(self) -> str:
        """What the trials have shown of the device's memory, in a line; "" if nothing."""
        return self._sampler.memory_summary()

    def stop_request(self) -> str:
        """Return how somebody has asked this driver to stop, "" if nobody has: see `request_stop`."""
        return self._held.stop_request()

    def ask(self) -> Suggestion:
        """What to try next: queued parameters first, then the advisor's or the sampler's. Raises SpaceExhausted.

        The trial exists in the database, RUNNING and with all its parameters, before this returns.
        """
        trial = self._start_queued() or self._start_advised() or self._start_proposed()
        self._running[trial.number] = trial
        if self._advisor is not None:
            self._advisor.look_ahead(len(self._records), len(self._running), self._sight)
        return Suggestion(trial.number, dict(trial.params), trial.alone)

    def report(self, progress: Progress) -> str:
        """Keep the train loss at fixed percents of the budget, which the dashboard draws as a curve.

        Returns why the trial is hopeless and is to be cut, "" if it may go on.
        """
        percent = max((p for p in CURVE_PERCENTS if p <= 100 * progress.fraction), default=0)
        curve = self._curves.setdefault(progress.number, {})
        if progress.loss is None or not isfinite(progress.loss) or percent <= max(curve, default=0):
            return ""
        curve[percent] = progress.loss
        trial = self._running[progress.number]
        try:
            self._database.report(trial.trial_id, percent, progress.loss)
            return self._judge(trial, curve)
        except StorageError:
            found = self._database.find_trial(self._study_id, progress.number)
            if found is not None and not found.state.is_finished():
                raise
            return ""  # a person has told it, in the dashboard: its curve is of no use any more

    def tell(self, job: Job, outcome: Outcome) -> TrialRecord:
        """Close a trial for good: artifacts on the disk, then queue, attributes and state in one transaction."""
        trial = self._running[job.number]
        consequence = consequence_of(outcome)
        value = float(outcome.summary[job.metric.name]) if outcome.status is TrialStatus.COMPLETE else None
        attrs, kept = _attrs(job, outcome), self._artifacts.write(self._keepsakes(job, outcome))

        def close() -> Queued | None:
            told = self._database.finish_trial(trial.trial_id, consequence.state, value, attrs=attrs, artifacts=kept)
            if not told or not self._again(trial, consequence):
                return None  # also if a person has told it otherwise, in the dashboard
            attempt = trial.attempt + (consequence.again is not Again.ALWAYS)
            again = replace(trial, attempt=attempt, alone=trial.alone or consequence is CROWDED)
            return self._create("WAITING", again, requeue_of=trial.number)

        queued = self._lease.write(close, stands=lambda queued: self._stands(trial, queued))
        del self._running[job.number]
        self._curves.pop(job.number, None)
        self._condemned.discard(job.number)
        if queued is not None:
            self.adopt_queued(queued)
            self._requeued.add(trial.number)
        record = self._remember(trial.trial_id)
        seen = footprint(record.state, record.status, record.summary)
        self._sampler.finished(trial.number, record.state, record.value, seen)
        return record

    def renew(self) -> None:
        """Say that this driver is alive. Raises LeaseLostError if another one has taken the study over."""
        self._lease.renew()

    def is_ours(self) -> bool:
        """Whether no other driver has taken the study over: its views are then the other's to write."""
        return self._lease.is_held()

    def enqueue(self, params: Mapping[str, Value], kind: str, source: str = "") -> None:
        """Put parameters at the end of the queue."""
        self.adopt_queued(self._create("WAITING", Queued(params, kind, source=source)))

    def adopt_queued(self, trial: Queued) -> None:
        """A WAITING trial of the database joins the queue; the baseline goes first, since all else is measured by it."""
        if trial.kind == "baseline":
            self._queue.appendleft(trial)
        else:
            self._queue.append(trial)

    def adopt_enqueued(self, record: TrialRecord, params: Mapping[str, Value]) -> None:
        """A WAITING trial that another program made becomes one of the queue, under its own number."""
        source = "enqueue_trial"
        choices, attrs = self._choices(), origin_attrs("start", source=source)
        if fill_waiting(self._database, record.trial_id, self._stored(params), choices, attrs):
            self.adopt_queued(Queued(params, "start", source=source, trial_id=record.trial_id, number=record.number))

    def adopt_running(self, trial: Queued) -> None:
        """A RUNNING trial that an earlier driver left: to be told like any other."""
        self._running[trial.number] = trial

    def adopt_finished(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        if self._pruner is not None and record.value is not None:
            self._pruner.completed(record.params, record.curve, record.value)
        elif self._pruner is not None and record.status == TrialStatus.HOPELESS:
            self._pruner.cut()

    def discard(self, record: TrialRecord, why: str, status: TrialStatus = TrialStatus.LOST) -> None:
        """Close a trial that cannot be told: another program's, or one without its parameters."""
        self._database.finish_trial(record.trial_id, "FAIL", attrs=ending_attrs(status, reason=why))
        self._remember(record.trial_id)

    def adopt_requeue(self, number: int) -> None:
        """The parameters of trial `number` are in the queue already, whatever becomes of the trial itself."""
        self._requeued.add(number)

    def _judge(self, trial: Queued, curve: Mapping[int, float]) -> str:
        """One verdict a trial, and only on what was proposed: whatever else is queued, somebody wants to know."""
        if self._pruner is None or trial.kind not in ("sampler", "advisor") or trial.number in self._condemned:
            return ""
        verdict = self._pruner.judge(trial.number, self._stored(trial.params), curve)
        if verdict is None:
            return ""
        self._condemned.add(trial.number)
        self._database.set_trial_attrs(trial.trial_id, condemned_attrs(str(verdict)))
        return "" if verdict.spared else str(verdict)

    def _start_queued(self) -> Queued | None:
        while self._queue:
            trial = self._queue.popleft()
            if self._start(trial):
                self._sampler.started(trial.number, trial.params)
                return trial
        return None

    def _start(self, trial: Queued) -> bool:
        """False if somebody has deleted or told it meanwhile."""
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
            # a note that is lost with the answer to its commit comes with the next one
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

    def _sight(self) -> StudyView:
        running = [trial.params for trial in self._running.values()]
        return StudyView(self.records(), running, self._sampler.preview())

    def _create(self, state: Literal["RUNNING", "WAITING"], new: Queued, requeue_of: int | None = None) -> Queued:
        created = self._database.create_trial(
            self._study_id,
            state=state,
            params=self._stored(new.params),
            choices=self._choices(),
            attrs=origin_attrs(
                new.kind, attempt=new.attempt, requeue_of=requeue_of, alone=new.alone, source=new.source
            ),
        )
        return replace(new, trial_id=created.trial_id, number=created.number)

    def _choices(self) -> dict[str, tuple[Stored, ...]]:
        return {p.name: p.stored_choices for p in self._space.parameters}

    def _stands(self, told: Queued, queued: Queued | None) -> bool:
        found = self._database.find_trial(self._study_id, told.number)
        return found is not None and found.state.is_finished() and (queued is None or self._exists(queued))

    def _exists(self, trial: Queued, state: str | None = None) -> bool:
        """Whether a trial stands in the database, although the answer to its commit was lost."""
        found = self._database.find_trial(self._study_id, trial.number)
        return found is not None and found._trial_id == trial.trial_id and state in (None, found.state.name)

    def _stored(self, params: Mapping[str, Value]) -> dict[str, Stored]:
        return {p.name: p.encode(params[p.name]) for p in self._space.parameters}

    def _again(self, trial: Queued, consequence: Consequence) -> bool:
        return trial.number not in self._requeued and trial.attempt < consequence.again

    def _keepsakes(self, job: Job, outcome: Outcome) -> dict[str, str]:
        again = shell_script(job)
        kept = {
            **({RUN: again} if again else {}),
            **job.files,
            "train.patch": make_patch(self._originals, job.files),
            "params.toml": params_text(job.params, job.number),
            "log.txt": outcome.log,
        }
        curve = "".join(f"{fraction:.4f},{loss:.6f}\n" for fraction, loss in outcome.curve)
        return kept | ({"curve.csv": "fraction,train_loss\n" + curve} if curve else {})

    def _remember(self, trial_id: int) -> TrialRecord:
        record = record_of(self._database.trial(trial_id))
        self.adopt_finished(record)
        return record


def _attrs(job: Job, outcome: Outcome) -> Mapping[str, Any]:
    script = hashlib.sha256(repr(sorted(job.files.items())).encode()).hexdigest()[:16]
    return ending_attrs(
        outcome.status, reason=outcome.reason, seconds=outcome.seconds, slot=outcome.slot, script=script,
        summary=outcome.summary, device=outcome.device,
    )  # fmt: skip
