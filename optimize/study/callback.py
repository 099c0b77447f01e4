"""Who looks on while a study runs, such as the terminal or the files on disk; called by the loop, in its thread."""

from __future__ import annotations

from optimize.study.stopping import StopLevel
from optimize.trial import Job, Progress, Slot
from storage import TrialRecord


class Callback:
    """Overrides what interests it."""

    def on_start(self, job: Job, slot: Slot) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, record: TrialRecord) -> None: ...

    def on_stop(self, wish: StopLevel, why: str) -> None: ...

    def on_tick(self) -> None:
        """About once a second, and after every event; slots that were free are busy again by then."""
