"""What runs beside the loop while replicates are trained: it queues what comes next, keeps the verdict, shows what ended.

It decides nothing about winners; `confirm/rounds.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from optimize.confirm.replicates import KIND, Key, key_of, key_of_record
from optimize.confirm.rounds import Rounds
from optimize.confirm.verdict import Verdict, verdict_attrs
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.terminal import LiveView
from optimize.study.callback import Callback
from optimize.study.held import HeldStudy
from optimize.study.stopping import COUNTED, Budget, StopSignals, counted
from optimize.study.study import Study
from optimize.text import duration, value_text
from optimize.trial import Job, Slot
from storage import TrialRecord


class ConfirmCallback(Callback):
    """Queues the next replicates as trials end, and writes the verdict into the parent study."""

    def __init__(self, study: Study, rounds: Rounds, parent: HeldStudy, stop_signals: StopSignals) -> None:
        self._study, self._rounds, self._parent, self._stop_signals = study, rounds, parent, stop_signals
        self._running: dict[int, Key] = {}
        self._trained = {
            key_of_record(record, rounds.space): record for record in study.records() if record.state in COUNTED
        }
        self.verdict: Verdict | None = None
        self._advance(first=True)

    def name_of(self, record: TrialRecord) -> str:
        """`trial 7, seed 43`, and what else a replicate has that the trial had not."""
        return self._rounds.name_of(record.params)

    def name_of_job(self, job: Job) -> str:
        space = self._rounds.space
        return self._rounds.name_of(dict(zip(space.names, key_of(job.params, space), strict=True)))

    def on_start(self, job: Job, slot: Slot) -> None:
        self._running[job.number] = key_of(job.params, self._rounds.space)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._running.pop(record.number, None)
        key = key_of_record(record, self._rounds.space)
        if key not in self._queued():  # else it is tried again
            self._trained[key] = record
        self._advance()

    def on_tick(self) -> None:
        self._parent.lease.renew()
        self._stop_signals.ask(self._parent.stop_request())

    def _queued(self) -> set[Key]:
        return {key_of(trial.params, self._rounds.space) for trial in self._study.queued()}

    def _advance(self, first: bool = False) -> None:
        wanted = self._rounds.wanted(self._trained)
        if first:
            self._withdraw({each.key for each in wanted})
        under_way = self._queued() | set(self._running.values())
        for each in wanted:
            if each.key not in under_way:
                self._study.enqueue(each.params, KIND, each.of.name)
        verdict = self._rounds.verdict(self._trained)
        if verdict is not None and verdict != self.verdict:
            self._parent.write_attrs(verdict_attrs(verdict))
            self.verdict = verdict

    def _withdraw(self, wanted: set[Key]) -> None:
        """What an earlier call queued for finalists of that time."""
        for trial in self._study.queued():
            if key_of(trial.params, self._rounds.space) not in wanted:
                self._study.withdraw(trial, "its finalist is none any more, or was left out")


class ConfirmLiveView(LiveView):
    """A line for each replicate: what was repeated, with which seed, and what it gave."""

    def __init__(
        self, console: Console, shown: ShownStudy, rounds: Rounds, slots: Sequence[Slot], confirming: ConfirmCallback
    ) -> None:
        super().__init__(console, shown, Budget(max(rounds.at_most(), counted(shown.records()))), slots)
        self._confirming = confirming

    def what(self, job: Job) -> str:
        return self._confirming.name_of_job(job)

    def line(self, record: TrialRecord) -> Text:
        value = value_text(record.value) if record.value is not None else record.status or record.state.lower()
        took = duration(record.seconds or 0.0)
        line = Text(f"{record.number:>5}  {value:<14}{took:>10}  {self._confirming.name_of(record)}")
        return line if record.value is not None else line.append(f"\n{'':>7}{record.reason}", style="yellow")
