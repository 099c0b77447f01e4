"""A backup after each trial, in a thread of its own: a disk that is slow, full or gone delays no trial and ends no study.

`storage/backups.py` makes a backup and keeps it whole; this module decides when, and what to say about it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from optimize.study.callback import Callback
from optimize.trial import Job, Slot
from storage import BackupFolder, Database, TrialRecord

SHARE = 4  # after a backup, it rests this many times as long as the backup took
REST_S = (5.0, 240.0)  # the least and the longest rest, below the length of a five-minute trial
LAST_S = 60.0  # how long the end of a study waits for the last backup


@contextmanager
def open_backups(folder: Path, database: Database, artifacts: Path, say: Callable[[str], None]) -> Iterator[Callback]:
    """Open a callback that keeps a backup in this folder.

    Raises StorageError if the folder cannot be used, or holds a backup of another database.
    """
    backups = Backups(BackupFolder(folder, database, artifacts).write, str(folder), say)
    try:
        yield backups
        backups.changed()
    finally:
        backups.close()


class Backups(Callback):
    """Call `write` when a trial has ended, one call at a time; trials that end meanwhile share the next call."""

    def __init__(
        self,
        write: Callable[[], None],
        where: str,
        say: Callable[[str], None],
        rest_s: tuple[float, float] = REST_S,
        last_s: float = LAST_S,
    ) -> None:
        self._write, self._where, self._say, self._rest_s, self._last_s = write, where, say, rest_s, last_s
        self._news = threading.Condition()
        self._wanted, self._made = 0, 0  # number of the latest change of the study, and of the one that was backed up
        self._touched = False
        self._closing = False
        self._trouble = ""
        self._lines: deque[str] = (
            deque()
        )  # from the thread; the loop's thread says them, between lines of the live view
        # A daemon, so that a disk that never answers does not keep the program from ending.
        threading.Thread(target=self._work, name="backups", daemon=True).start()

    def on_start(self, job: Job, slot: Slot) -> None:
        self.changed()

    def on_trial_end(self, record: TrialRecord) -> None:
        self._ask()

    def changed(self) -> None:
        """Note a change that the last backup must have, but for which none is made now."""
        self._touched = True

    def on_tick(self) -> None:
        while self._lines:
            self._say(self._lines.popleft())

    def close(self) -> None:
        """Make the last backup and wait for it, but not for ever."""
        if self._touched:
            self._ask()
        with self._news:
            self._closing = True
            self._news.notify_all()
            kept = self._news.wait_for(lambda: self._made >= self._wanted, self._last_s)
        self.on_tick()
        if not kept:
            self._say(
                f"{self._where}: the last backup was not ready after {self._last_s:.0f} s; the one before it is whole"
            )

    def _ask(self) -> None:
        with self._news:
            self._wanted, self._touched = self._wanted + 1, True
            self._news.notify_all()

    def _work(self) -> None:
        while (goal := self._next()) is not None:
            started = time.monotonic()
            self._try()
            took = time.monotonic() - started
            with self._news:
                self._made = goal
                self._news.notify_all()
                least, most = self._rest_s
                self._news.wait_for(lambda: self._closing, min(max(least, SHARE * took), most))

    def _next(self) -> int | None:
        """Return the change that the next backup will contain; None when no more will come."""
        with self._news:
            self._news.wait_for(lambda: self._made < self._wanted or self._closing)
            return self._wanted if self._made < self._wanted else None

    def _try(self) -> None:
        try:
            self._write()
        except Exception as error:  # whatever it is: a study does not end for its backup
            line = f"{error or type(error).__name__} (no backup was made; the study goes on, and the next trial tries again)"
            self._lines.extend([line] if line != self._trouble else [])
            self._trouble = line
            return
        if self._trouble:
            self._lines.append(f"{self._where}: backups work again")
        self._trouble = ""
