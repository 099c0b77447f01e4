"""Writes what happens to a study as JSON lines, for programs: `--events FILE`.

Each line is written whole, and a file that is there is added to. What cannot be written is said once, and is no error: the
database has it all. `docs/agents.md` lists the events.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optimize.confirm.verdict import Verdict
from optimize.errors import SettingsError
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.status_json import as_json, confirmation_json, trial_json
from optimize.study.callback import Callback
from optimize.study.stopping import StopLevel
from optimize.trial import Job, Slot
from storage import TrialRecord, parent_of

START, TRIAL_START, TRIAL_END, BEST, STOPPING, VERDICT, END = (
    "start", "trial_start", "trial_end", "best", "stopping", "verdict", "end",
)  # fmt: skip


class EventsFile(Callback):
    """Adds a line for each event of a call, to a file that is open for as long as the call."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._said = self._ended = self._torn = False
        self._study = ""
        self._shown: ShownStudy | None = None
        self._best: TrialRecord | None = None  # by its single value
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise SettingsError(f"--events: {path}: {error.strerror}. Name a file in a folder that is there.") from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def about(self, shown: ShownStudy) -> EventsFile:
        """Write that this process drives a study from now on; what follows is about it."""
        self._study, self._shown = shown.stored.name, shown
        best = None if parent_of(self._study) else shown.stored.best(shown.records())
        self._best = best.luckiest if best else None
        self.write(START, pid=os.getpid(), metric=shown.stored.metric.name, finished=len(shown.records()))
        return self

    def on_start(self, job: Job, slot: Slot) -> None:
        params = {name: as_json(value) for name, value in job.params.items()}
        self.write(TRIAL_START, number=job.number, params=params, slot=slot.name)

    def on_trial_end(self, record: TrialRecord) -> None:
        self.write(TRIAL_END, trial=trial_json(record))
        if self._shown is None or record.value is None or parent_of(self._study):
            return
        before = self._best
        if before is None or before.value is None or self._shown.stored.metric.better(record.value, before.value):
            self._best = record
            self.write(BEST, number=record.number, value=record.value, before=before.value if before else None)

    def on_stop(self, level: StopLevel, why: str) -> None:
        self.write(STOPPING, why=why, now=level is StopLevel.CANCEL)

    def confirmed(self, study: str, verdict: Verdict) -> None:
        """Write what a confirmation has found."""
        self._study = study
        self.write(VERDICT, confirmation=confirmation_json(verdict))

    def end(self, code: int, reason: str = "", problems: Iterable[str] = ()) -> None:
        """Write that the call ends, with its exit code. Only the first call counts."""
        if not self._ended:
            self._ended = True
            self.write(END, pid=os.getpid(), code=code, reason=reason or None, problems=list(problems))

    def write(self, event: str, **facts: Any) -> None:
        """Add one line."""
        line = {"event": event, "time": datetime.now(UTC).isoformat(), "study": self._study or None, **facts}
        text = f"{json.dumps(line, allow_nan=False)}\n".encode()
        try:
            written = os.write(self._file, b"\n" + text if self._torn else text)
            self._torn = written < len(text)  # a disk is full: the next line begins on its own
        except OSError as error:
            if not self._said:
                self._said = True
                self._say(f"--events: {self._path}: {error.strerror} (the study goes on)")


@contextmanager
def opened_events(
    path: Path, say: Callable[[str], None], problems_of: Callable[[Exception], Iterable[str] | None]
) -> Iterator[EventsFile]:
    """Open the file of events; its last line says how the call ended.

    `problems_of` returns the lines of an error that a user can cause, None for a bug. Raises SettingsError.
    """
    events = EventsFile(path, say)
    try:
        yield events
        events.end(0)
    except SystemExit as ended:
        events.end(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
    except KeyboardInterrupt:
        events.end(130)
        raise
    except Exception as error:
        problems = problems_of(error)
        events.end(1 if problems is None else 2, problems=[repr(error)] if problems is None else problems)
        raise
    finally:
        events.close()
