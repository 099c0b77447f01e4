"""The live view of a study in a terminal: a line for every ended trial, and the slots below them.

It is told what happens and draws it; without a terminal only the lines remain. Tables are in `tables.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from optimize.budget import COUNTED, Budget, counted
from optimize.doubts import baseline_of, doubts
from optimize.interruption import Wish
from optimize.phrases import changes, duration
from optimize.showing.tables import trial_line
from optimize.standing import standing
from optimize.trial import Job, Metric, Progress, Slot, Value
from optimize.verdict import Verdict
from optimize.watch import Watch
from storage import TrialRecord

FRAME_LINES = 5  # of a terminal's height, that the rows of running trials leave free


class Display(Watch):
    """Lines for ended trials and, on a terminal, a live view of the slots below them."""

    ranks = True  # whether one of the trials is the best

    def __init__(
        self, console: Console, study: str, metric: Metric, budget: Budget, slots: Sequence[Slot], baseline: Mapping[str, Value],
        earlier: Sequence[TrialRecord], verdict: Verdict | None = None,
    ) -> None:  # fmt: skip
        self._console, self._study, self._metric, self._budget = console, study, metric, budget
        self._slots, self._baseline = slots, baseline
        self._done, self._proof = counted(earlier), baseline_of(earlier)
        best = standing(earlier, metric.direction, verdict) if self.ranks else None
        self._best = best.record if best else None
        took = [r.seconds for r in earlier if r.state in COUNTED and r.seconds]
        self._took, self._took_s = len(took), sum(took)
        self._jobs: dict[int, tuple[Job, Slot, float]] = {}
        self._progress: dict[int, Progress] = {}
        self._started, self._ending = time.monotonic(), False
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def on_start(self, job: Job, slot: Slot) -> None:
        self._jobs[job.number] = (job, slot, time.monotonic())

    def on_progress(self, progress: Progress) -> None:
        self._progress[progress.number] = progress

    def on_trial_end(self, record: TrialRecord) -> None:
        self._jobs.pop(record.number, None)
        self._progress.pop(record.number, None)
        self._done += counted([record])
        self._proof = self._proof or baseline_of([record])
        line = self.line(record)
        if self._console.is_terminal:
            self._console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)
        else:
            self._console.print(line, soft_wrap=True, highlight=False)
        if (
            self.ranks
            and record.value is not None
            and (self._best is None or self._metric.better(record.value, self._best.value or 0.0))
        ):
            self._best = record
        if record.state in COUNTED and record.seconds:
            self._took, self._took_s = self._took + 1, self._took_s + record.seconds

    def line(self, record: TrialRecord) -> Text:
        """An ended trial."""
        return trial_line(record, self._best, self._metric, self._baseline, doubts(record, self._proof))

    def what(self, job: Job) -> str:
        """What a running trial tries."""
        return changes(job.params, self._baseline)

    def on_wish(self, wish: Wish, why: str) -> None:
        running = f"trials that run ({len(self._jobs)})"
        finishing = (
            f"{why}: no new trial starts, the {running} finish first. Again (or `make stop NOW=1`) cancels them."
        )
        cancelling = f"{why}: the {running} are cancelled; their parameters are queued."
        self._console.print(finishing if wish is Wish.FINISH else cancelling, style="yellow", highlight=False)
        self._ending = True

    def _view(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        jobs = list(self._jobs.items())  # the loop's thread changes it
        room = max(self._console.height - FRAME_LINES, 1)
        for number, (job, slot, since) in islice(jobs, room):
            rows.add_row(Text(slot.name, style="dim"), *self._row(number, job, time.monotonic() - since))
        more = [Text(f"{'':>5} and {len(jobs) - room} more", style="dim")] if len(jobs) > room else []
        # A terminal writes its ^C where the cursor is: at the end of a full line it would push the view up by one.
        return Group(Rule(style="dim"), self._headline(), rows, *more, Text(""))

    def _headline(self) -> Text:
        done, limit = self._done, self._budget.trials
        parts = [f"{done} of {limit} trials" if limit else f"{done} trials", duration(time.monotonic() - self._started)]
        if self._best is not None:
            parts.append(f"best {self._metric.name} {self._best.value:.6f} (trial {self._best.number})")
        if limit and not self._ending and (left := self._seconds_left(limit - done)):
            parts.append(f"about {duration(left)} left")
        return Text(f"{self._study}   ", style="bold", no_wrap=True, overflow="ellipsis").append(
            "   ".join(parts), style="default"
        )

    def _seconds_left(self, trials: int) -> float | None:
        took = self._took_s / self._took if self._took else None  # the mean, since those that are cut are shorter
        return trials * took / len(self._slots) if took else None

    def _row(self, number: int, job: Job, elapsed: float) -> tuple[RenderableType, ...]:
        progress = self._progress.get(number)
        params = Text(self.what(job), style="dim", overflow="ellipsis", no_wrap=True)
        label = Text(f"{number:>5}", style="cyan")
        if progress is None:
            return label, ProgressBar(width=20, pulse=True), Text("starting"), Text(""), Text(duration(elapsed)), params
        loss = Text("" if progress.loss is None else f"loss {progress.loss:.3f}")
        speed = Text("" if progress.tokens_per_s is None else f"{progress.tokens_per_s:,.0f} tok/s")
        left = Text("" if progress.remaining_s is None else f"{duration(progress.remaining_s)} left")
        return label, ProgressBar(total=1.0, completed=progress.fraction, width=20), loss, speed, left, params
