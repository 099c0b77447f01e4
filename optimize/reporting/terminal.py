"""A study in a terminal: the live view while it runs, and the page about one trial.

The live view prints a line for every ended trial and keeps the slots below them; without a terminal only the lines remain.
`trial_page` returns all that is kept of one trial. Tables are in `status.py`.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shlex import quote

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from optimize.config.environment import in_notebook
from optimize.confirm.campaign import VerdictState
from optimize.confirm.caveats import caveats
from optimize.confirm.table import verdict_line
from optimize.confirm.verdict import Verdict
from optimize.reporting.hints import command_line, training_command
from optimize.reporting.program import elsewhere_python, interrupt
from optimize.reporting.run_end import whole
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.status import COLOURS, trial_line
from optimize.reporting.worth_words import ten_more
from optimize.study.best import baseline_of
from optimize.study.callback import Callback
from optimize.study.left_files import LOG, PATCH, PROFILE_PATCH
from optimize.study.stopping import COUNTED, Budget, StopLevel, counted
from optimize.study.stored import StoredStudy
from optimize.study.worth import expected_gain, values_of
from optimize.text import amount, changes, duration, short, value_text, visible
from optimize.trial import Job, Progress, Slot
from storage import TrialRecord, parent_of

FRAME_LINES = 5  # of a terminal's height that the rows of running trials leave free
ECHO = 4  # columns: a ^C that the terminal wrote before the first line must not break it
REFRESH_S = 0.25
AGAIN = "again"  # where others have a trial's number
LOG_LINES = 15  # of a log's end that the page about a trial shows


class LiveView(Callback):
    """Print a line for each ended trial and, on a terminal, a live view of the slots below them."""

    def __init__(self, console: Console, shown: ShownStudy, budget: Budget, slots: Sequence[Slot]) -> None:
        stored, earlier = shown.stored, shown.records()
        self._console, self._study, self._metric, self._budget = console, stored.name, stored.metric, budget
        self._slots, self._baseline = slots, stored.baseline
        self._shown = shown
        self._done, self._repeats, self._reference = counted(earlier), 0, baseline_of(earlier)
        self._has_best = not parent_of(stored.name)  # replicates have no best one
        self._standing = stored.best(earlier)  # after the last verdict
        self._best = self._standing.luckiest if self._standing else None
        took = [r.seconds for r in earlier if r.state in COUNTED and r.seconds]
        self._took, self._took_s = len(took), sum(took)
        self._values = values_of(earlier)
        self._rows: dict[int, _RunningRow] = {}
        self._progress: dict[int, Progress] = {}
        self._started, self._ending = time.monotonic(), False
        self._live = Live(console=console, get_renderable=self._view, auto_refresh=False, transient=True)
        self._left = threading.Event()
        self._refreshing = threading.Thread(target=self._keep_fresh, name="live view", daemon=True)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
            self._refreshing.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()
        if self._refreshing.is_alive():
            self._refreshing.join()
        with self._console:
            self._live.stop()

    def _keep_fresh(self) -> None:
        while not self._left.wait(REFRESH_S):
            self.refresh()

    def refresh(self) -> None:
        """Draw the view anew. The console comes first, as for whoever prints: Rich's own refreshing takes its lock first."""
        with self._console:
            self._live.refresh()

    def on_start(self, job: Job, slot: Slot) -> None:
        self.begin_row(job.number, slot, str(job.number), self.what(job))

    def count_repeats(self, done: int) -> None:
        """Count so many repeats as trainings of the study."""
        self._repeats = done

    def begin_row(self, key: int, slot: Slot, label: str, what: str) -> None:
        """Show a training that runs: a label of five characters, and what it tries."""
        self._rows[key] = _RunningRow(slot.name, label, what, time.monotonic())

    def end_row(self, key: int) -> None:
        """Show it no longer."""
        self._rows.pop(key, None)
        self._progress.pop(key, None)

    def on_progress(self, progress: Progress) -> None:
        self._progress[progress.number] = progress

    def on_trial_end(self, record: TrialRecord) -> None:
        self.end_row(record.number)
        self._done += counted([record])
        if record.state in COUNTED and record.seconds:
            self._took, self._took_s = self._took + 1, self._took_s + record.seconds
        self._values += values_of([record])
        self._reference = self._reference or baseline_of([record])
        self.print(self.line(record))
        if (
            self._has_best
            and record.value is not None
            and (self._best is None or self._metric.better(record.value, self._best.value or 0.0))
        ):
            self._best = record

    def on_verdict(self, verdict: Verdict) -> None:
        before, self._standing = self._standing, self._shown.stored.best(self._shown.records())
        known = before.record.number if before is not None and before.confirmed else None
        if verdict.winner is not None and verdict.winner.number != known:
            self.print(Text(verdict_line(verdict, self._metric), style="bold green"))

    def print(self, line: Text) -> None:
        """Print a line above the view."""
        if self._console.is_terminal:
            self._console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)
        else:
            self._console.print(line, soft_wrap=True, highlight=False)

    def line(self, record: TrialRecord) -> Text:
        """Return the line for an ended trial."""
        return trial_line(record, self._best, self._metric, self._baseline, caveats(record, self._reference))

    def what(self, job: Job) -> str:
        """Return what a running trial tries."""
        return changes(job.params, self._baseline)

    def on_stop(self, level: StopLevel, why: str) -> None:
        running, why = len(self._rows), f"stopped by {why}" if in_notebook() else why
        finishing = f"{why}: no new trial starts; "
        finishing += (
            f"the running trials ({running}) finish first. {self._how_to_cancel()}" if running else "none is running."
        )
        cancelling = (
            f"{why}: the running trials ({running}) are cancelled; their parameters are queued."
            if running
            else f"{why}: no trial is running."
        )
        self._console.print(
            finishing if level is StopLevel.FINISH else cancelling, style="yellow", highlight=False, markup=False
        )
        self._ending = True

    def _how_to_cancel(self) -> str:
        stored, again = self._shown.stored, interrupt()
        if again != "Ctrl-C" or stored.database.path != stored.paths.database:  # its URL may hold a password
            return f"{again[:1].upper()}{again[1:]} again cancels them."
        stop = command_line("stop", {"study": stored.name, "runs": stored.paths.root, "now": True})
        return f"Ctrl-C again, or `{stop}`, cancels them."

    def _view(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        running = list(self._rows.items())  # the loop's thread changes it
        room = max(self._console.height - FRAME_LINES, 1)
        for key, row in islice(running, room):
            rows.add_row(Text(row.slot, style="dim"), *self._row(key, row))
        more = [Text(f"{'':>5} and {len(running) - room} more", style="dim")] if len(running) > room else []
        # A terminal writes ^C where the cursor is: at the end of a full line it would push the view up by one.
        rule = Padding(Rule(style="dim"), (0, ECHO, 0, 0))
        return Group(rule, self._headline(), rows, *more, Text(""))

    def _headline(self) -> Text:
        done, limit = self._done + self._repeats, self._budget.trials
        parts = [
            f"{done} of {amount(limit, 'trial')}" if limit else amount(done, "trial"),
            duration(time.monotonic() - self._started),
        ]
        if self._best is not None:
            parts.append(self._about_best(self._best))
        if (gain := expected_gain(self._values, self._metric.direction)) is not None and self._best is not None:
            parts.append(ten_more(gain))
        if limit and not self._ending and (left := self._seconds_left(limit - done)):
            parts.append(f"about {duration(left)} left")
        return Text(f"{self._study}   ", style="bold", no_wrap=True, overflow="ellipsis").append(
            "   ".join(parts), style="default"
        )

    def _about_best(self, luckiest: TrialRecord) -> str:
        """Return the best trial and what it counts as; where one is confirmed, also a better value since the last verdict."""
        now = self._standing
        is_new = now is None or luckiest.number != now.luckiest.number
        state = VerdictState.CANDIDATE if luckiest is not self._reference else None
        words = [(luckiest, state)] if is_new else []
        if now is not None and (now.confirmed or not is_new):
            words.insert(0, (now.record, now.state))
        told = (f"{value_text(r.value)} (trial {r.number}{f', {state}' if state else ''})" for r, state in words)
        return f"best {self._metric.name} {', '.join(told)}"

    def _seconds_left(self, trials: int) -> float | None:
        took = self._took_s / self._took if self._took else None  # the mean, since pruned trials take less time
        return trials * took / len(self._slots) if took else None

    def _row(self, key: int, row: _RunningRow) -> tuple[RenderableType, ...]:
        progress, elapsed = self._progress.get(key), time.monotonic() - row.since
        params = Text(row.what, style="dim", overflow="ellipsis", no_wrap=True)
        label = Text(f"{row.label:>5}", style="cyan")
        if progress is None:
            return label, ProgressBar(width=20, pulse=True), Text("starting"), Text(""), Text(duration(elapsed)), params
        loss = Text("" if progress.loss is None else f"loss {progress.loss:.3f}")
        speed = Text("" if progress.tokens_per_s is None else f"{progress.tokens_per_s:,.0f} tok/s")
        left = Text("" if progress.remaining_s is None else f"{duration(progress.remaining_s)} left")
        return label, ProgressBar(total=1.0, completed=progress.fraction, width=20), loss, speed, left, params


@dataclass(frozen=True, slots=True)
class _RunningRow:
    """A training that runs."""

    slot: str
    label: str
    what: str
    since: float  # of the monotonic clock


class RepeatLines(Callback):
    """Show repeats in the live view of the search that they belong to."""

    def __init__(self, live: LiveView, name_of: Callable[[Job], str], words_of: Callable[[TrialRecord], str]) -> None:
        """Take what a running repeat is called, and what to say of one that has ended."""
        self._live, self._name_of, self._words_of = live, name_of, words_of

    def on_start(self, job: Job, slot: Slot) -> None:
        self._live.begin_row(~job.number, slot, AGAIN, self._name_of(job))

    def on_progress(self, progress: Progress) -> None:
        self._live.on_progress(replace(progress, number=~progress.number))

    def on_trial_end(self, record: TrialRecord) -> None:
        self._live.end_row(~record.number)
        self._live.print(repeat_line(record, self._words_of(record)))


def repeat_line(record: TrialRecord, what: str) -> Text:
    """Return a replicate that has ended on one line."""
    value = value_text(record.value) if record.value is not None else record.status or record.state.lower()
    line = Text(f"{AGAIN:>5}  {value:<25}{duration(record.seconds or 0.0):>10}  {what}")
    return line if record.value is not None else line.append(f"\n{'':>7}{record.reason}", style="yellow")


def trial_page(record: TrialRecord, stored: StoredStudy) -> RenderableType:
    """Return everything about one trial; print it with `crop=False`."""
    texts, metric = stored.texts(record), stored.metric
    value = "" if record.value is None else f"   {metric.name} {value_text(record.value)}"
    took = "" if record.seconds is None else f"   {duration(record.seconds)}"
    facts = [Text(f"{key} {short(value)}", style="dim") for key, value in record.summary.items() if key != metric.name]
    folder = writable(f"trial-{record.number}")
    profile = texts.get(PROFILE_PATCH, "") if record.kind == "baseline" else ""
    export = command_line(
        "export", {"study": stored.name, "runs": stored.paths.root, "trial": record.number, "to": folder}
    )
    again = f"{export} && cd {quote(folder)} && {training_command(texts, elsewhere_python())}"
    return Group(
        Text(
            f"trial {record.number}   {record.status or record.state.lower()}{value}{took}",
            style="bold",
        ),
        *(Text(f"{what}: {where}", style="dim") for what, where in _origins(record) if where),
        Text(record.reason, style=COLOURS[record.state]),
        *(
            [Text(f"judged hopeless, but ran on: {record.condemned}")]
            if record.condemned and record.value is not None
            else []
        ),
        _params_table(record, stored.baseline),
        Columns(facts, padding=(0, 2)),
        *(_section("what the profile changes in the script", _indented(_patch(profile))) if profile else ()),
        *(_section("patch, against the baseline", _indented(_patch(texts.get(PATCH, "")))) if texts else ()),
        *(_section("train loss", _losses(record.curve)) if texts or record.curve else ()),
        *(_section("last lines of the log", _indented(_log(texts))) if LOG in texts else ()),
        *(_section("train it again", _indented(Text(again))) if texts else ()),
    )


def writable(name: str) -> str:
    """Return the path of a new folder in the current one, or among temporary files where that cannot be written."""
    return name if os.access(".", os.W_OK) else str(Path(tempfile.gettempdir(), name))


def _patch(patch: str) -> Text:
    return Syntax("", "diff", background_color="default").highlight(patch.rstrip("\n") or "nothing changed")


def _log(texts: Mapping[str, str]) -> Text:
    return Text("\n".join(visible(texts.get(LOG, "")).splitlines()[-LOG_LINES:]), style="dim")


def _origins(record: TrialRecord) -> tuple[tuple[str, str], ...]:
    words = {"replicate": "replicate of", "repeat": "repeat of", "advisor": "proposed by", "proposal": "proposed by"}
    what = words.get(record.kind, "start from")
    return (what, record.source), ("copied from", record.taken_from)


def _section(title: str, content: RenderableType) -> tuple[RenderableType, ...]:
    return Text(f"\n{title}", style="bold"), content


def _indented(text: Text) -> Text:
    return whole(Text("\n").join(Text("  ") + line for line in text.split("\n")))


def _params_table(record: TrialRecord, baseline: Mapping[str, object]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in record.params.items():
        before = short(baseline.get(name))
        changed = short(value) != before
        note = f"baseline {before}" if changed and name in baseline else ""
        table.add_row(f"  {name}", short(value), note, style="bold" if changed else "dim")
    return table


def _losses(curve: Mapping[int, float]) -> RenderableType:
    """Return the train loss at percents of the budget: `5% 6.81  10% 5.92 ...`."""
    points = [f"{percent}% {loss:.3f}" for percent, loss in curve.items()] or ["none was read on its way"]
    return Padding(Columns(points, padding=(0, 2)), (0, 2))
