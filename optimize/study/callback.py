"""What the loop tells while a study runs, to the terminal, the files on disk and others."""

from __future__ import annotations

from optimize.confirm.verdict import Verdict
from optimize.study.stopping import StopLevel
from optimize.trial import Job, Progress, Slot
from storage import TrialRecord


class Callback:
    """Called by the loop, in its thread. Override what you need."""

    def on_start(self, job: Job, slot: Slot) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, record: TrialRecord) -> None: ...

    def on_verdict(self, verdict: Verdict) -> None:
        """Called when repeats have changed the verdict: another trial may be the best."""

    def on_stop(self, level: StopLevel, why: str) -> None: ...

    def on_tick(self) -> None:
        """Called about once a second and after every event, when free slots are busy again."""
