"""Trains repeats beside a search: opens their study when the first is due, queues what is wanted, and keeps the verdict.

What is wanted, and what the verdict is, is decided in `confirm/policy.py`. The loop starts and tells the trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimize.confirm.campaign import FEWEST_TRIALS, Campaign, Decision, planned_after, share, share_beside
from optimize.confirm.ledger import SCALE, Key, Ledger
from optimize.confirm.policy import decide
from optimize.confirm.replicates import REPEAT, Variation, child_plan
from optimize.confirm.verdict import verdict_attrs
from optimize.errors import StudyError
from optimize.reporting.files import ResultFiles
from optimize.reporting.terminal import LiveView, RepeatLines
from optimize.session.session import Session
from optimize.study.callback import Callback
from optimize.study.sources import Moment, Repeats, Source
from optimize.study.stopping import COUNTED, Budget, counted
from optimize.study.study import Study
from optimize.text import amount
from optimize.trial import Job, Slot, Suggestion
from storage import TrialRecord

_NOBODY: Sequence[Callback] = ()


class SearchRepeats(Repeats):
    """The repeats of one open study. `of_search` is a callback of the search, and `callbacks` are told of a new verdict.

    Without a live view nothing is shown of them, and no tables are written.
    """

    def __init__(
        self,
        session: Session,
        study: Study,
        variation: Variation,
        slots: Sequence[Slot],
        budget: Budget,
        live: LiveView | None,
    ) -> None:
        self._session, self._search, self._slots, self._live = session, study, slots, live
        self._plan, self._variation, self._budget = child_plan(session.plan, variation), variation, budget
        self._ledger = Ledger(session.plan, variation, self._plan.space)
        self._verdict, self._decision = study.verdict(), Decision((), 0)
        self._source: Source | None = None
        self._off = False  # their study is none that could be gone on with
        self._moment = Moment(counted(study.records()), 0, len(slots), 0.0, False)
        self._state: object = None  # in which the last decision was made
        self._running: dict[int, Key] = {}
        self._ended = 0  # repeats of this call
        self._in_a_row = 0  # repeats since the search began a trial
        self._searched = False  # has the search begun a trial in this call?
        self._took, self._took_s = 0, 0.0
        self.of_search, self.callbacks = _OfSearch(self), _NOBODY
        for record in study.records():
            self.add_trial(record)
        if session.database.find_study(self._plan.settings.study) is not None:
            self._open()

    @property
    def source(self) -> Source | None:
        return self._source

    @property
    def done(self) -> int:
        return self._ledger.done

    def has_due(self) -> bool:
        return self._source is not None and self._source.study.has_queued()

    def decide(self, moment: Moment) -> int:
        nothing_new = moment.exhausted and not self._searched and not self._ledger.repeats
        if self._off or nothing_new:  # a study that had ended trains nothing by surprise
            return 0
        self._moment = moment
        under_way = self._under_way()
        state = (
            replace(moment, elapsed_s=0.0),
            self._planned(),
            len(under_way),
            self._took,
            self._ended,
            self._in_a_row,
        )
        if state != self._state:
            self._state = state
            self._ledger.drop(under_way)
            for key in self._due():
                self._queue(key)
        # a check that runs is one training for the loop, and counts as more
        return self._decision.reserved + (SCALE - 1) * sum(key.scale > 1 for key in self._under_way())

    def announcement(self) -> str:
        """Return a line on how many trainings will be repeats; "" where none will."""
        trials, hours = self._budget.trials, self._budget.hours
        what = "repeat the best with other seeds (--confirm 0: none)"
        if trials is not None and not hours:
            return f"verdict: the last {share(trials)} of {trials} trainings {what}" if share(trials) else ""
        return f"verdict: the last trainings {what}" if hours else f"verdict: up to a tenth of the trainings {what}"

    def finish(self, over: bool) -> None:
        if self._ledger.repeats and not self._off:  # the last trial of the search says something as well
            self._look(over)

    def why_no_verdict(self) -> str:
        """Return why the study has none, in a line; "" where it has one, or needs none."""
        planned = self._planned()
        if self._verdict is not None or self._off:
            return ""
        if planned is not None and not share(planned):
            return f"no verdict: of {amount(planned, 'training')} none is kept for repeats; {FEWEST_TRIALS} are needed"
        return "no verdict yet: no repeat of a candidate has ended"

    # What callbacks tell

    def add_trial(self, record: TrialRecord) -> None:
        """Take a trial of the search that has ended."""
        self._ledger.add_trial(record)
        self._count(record)

    def search_began(self) -> None:
        self._searched, self._in_a_row = True, 0

    def repeat_began(self, job: Job) -> None:
        self._in_a_row += 1
        if key := self._ledger.key_of(job.params):
            self._running[job.number] = key

    def repeat_ended(self, record: TrialRecord) -> None:
        key = self._running.pop(record.number, None)
        self._ledger.add_repeat(record, again=key in self._queued())
        self._ended += 1
        if key is None or key.scale == 1:
            self._count(record)
        if self._live is not None:
            self._live.count_repeats(self.done)
        self._look()

    def name_of(self, job: Job) -> str:
        """Return `trial 7, seed 43`."""
        key = self._ledger.key_of(job.params)
        return self._ledger.name_of(key) if key else ""

    def words_of(self, record: TrialRecord) -> str:
        """Return which repeat has ended, and what its trial counts as now."""
        key = self._ledger.key_of_record(record)
        state = self._decision.state_of(key.number) if key else None
        return "" if key is None else f"{self._ledger.name_of(key)}{f': {state}' if state else ''}"

    # What is decided

    def _planned(self) -> int | None:
        moment, begun = self._moment, self._begun()
        mean_s = self._took_s / self._took if self._took else 0.0
        free = moment.free or (0 if moment.running else 1)  # all that rest may come back
        planned = self._budget.planned(begun, moment.running, free, moment.elapsed_s, mean_s)
        if moment.exhausted:
            ends = planned_after(moment.searching)
            return ends if planned is None else min(planned, ends)
        return planned

    def _begun(self) -> int:
        return self._moment.searching + self._ledger.spent

    def _left(self) -> int:
        """How many trainings of the share have not begun."""
        planned = self._planned()
        return (share_beside(self._begun()) if planned is None else share(planned)) - self._ledger.spent

    def _due(self) -> Sequence[Key]:
        """Decide what to train now. Nothing is decided where nothing could follow: that takes milliseconds for many trials."""
        planned, left = self._planned(), self._left()
        if left <= 0 or (planned is not None and 2 * self._begun() < planned):
            self._decision = replace(self._decision, wanted=(), reserved=0 if planned is None else max(left, 0))
            return ()
        self._look()
        if planned is None and (self._in_a_row > 0 or not self._searched):
            return ()  # beside the search, not before it
        return [Key(*each) for each in self._decision.wanted] or self._checks()

    def _checks(self) -> Sequence[Key]:
        """Return what tells whether the winner is bound to this budget, once all is settled and it fits the share."""
        best, planned, left = self._decision.best, self._planned(), self._left()
        if best is None or self._under_way() or (planned is not None and self._begun() + left < planned):
            return ()
        wanted = self._ledger.checks_of(best)
        room = left if planned is None else min(left, planned - self._begun())
        return wanted if SCALE * len(wanted) <= room else ()

    def _look(self, over: bool = False) -> None:
        """Decide anew, and keep the verdict where it has changed."""
        self._decision = found = decide(self._campaign(over))
        verdict = self._ledger.verdict(found, self._verdict)
        # what `optimize confirm` found stands until there is more to say
        stands = self._verdict is not None and not self._verdict.beside and not self._ended
        if verdict is not None and verdict != self._verdict and not stands:
            self._search.held.write_attrs(verdict_attrs(verdict))
            self._verdict = verdict
            for callback in self.callbacks:
                callback.on_verdict(verdict)

    def _campaign(self, over: bool) -> Campaign:
        return self._ledger.campaign(self._moment.searching, self._planned(), self._moment.free, self._verdict, over)

    def _count(self, record: TrialRecord) -> None:
        if record.state in COUNTED and record.seconds:
            self._took, self._took_s = self._took + 1, self._took_s + record.seconds

    # Their study

    def _open(self) -> None:
        """Open it. What an earlier call has queued is trained only if it would be wanted now as well."""
        try:
            study = self._session.open_beside(self._plan, self._slots)
        except StudyError as error:
            self._off = True
            self._session.say(f"no verdict: {error}")
            return
        study.held.mark_beside()
        queued = [(each, self._ledger.key_of(each.params)) for each in study.queued()]
        self._ledger.add_repeats(study.records(), {key for _, key in queued if key is not None})
        for record in study.records():
            self._count(record)
        callbacks = (_OfRepeats(self), *self._views(study), self._session.backups)
        self._source = Source(study, self._prepare, callbacks, beside=True)
        self._look()
        for each, key in queued:
            if key is not None and key[:2] in self._decision.wanted and key.scale == 1 and each.kind == REPEAT:
                self._ledger.begin(key)
            else:
                study.withdraw(each, "this repeat is not wanted now")

    def _views(self, study: Study) -> Sequence[Callback]:
        if self._live is None:
            return ()
        self._live.count_repeats(self.done)
        files = ResultFiles(self._session.shown(study))
        self._session.at_close(files.write)
        return RepeatLines(self._live, self.name_of, self.words_of), files

    def _queue(self, key: Key) -> None:
        if self._source is None:
            self._open()
        if self._source is not None and key not in self._under_way():
            self._source.study.enqueue(self._ledger.params_of(key), REPEAT, self._ledger.trial_of(key))
            self._ledger.begin(key)

    def _queued(self) -> set[Key]:
        waiting = self._source.study.queued() if self._source is not None else ()
        return {key for each in waiting if (key := self._ledger.key_of(each.params)) is not None}

    def _under_way(self) -> set[Key]:
        return self._queued() | set(self._running.values())

    def _prepare(self, suggestion: Suggestion) -> Job:
        return self._plan.job(suggestion, self._variation.scale(suggestion.params))


class _OfSearch(Callback):
    def __init__(self, repeats: SearchRepeats) -> None:
        self._repeats = repeats

    def on_start(self, job: Job, slot: Slot) -> None:
        self._repeats.search_began()

    def on_trial_end(self, record: TrialRecord) -> None:
        self._repeats.add_trial(record)


class _OfRepeats(Callback):
    def __init__(self, repeats: SearchRepeats) -> None:
        self._repeats = repeats

    def on_start(self, job: Job, slot: Slot) -> None:
        self._repeats.repeat_began(job)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._repeats.repeat_ended(record)
