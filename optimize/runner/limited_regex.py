"""Applies a regex of workload.toml to lines within a limit of processor time, so that no line can hang the reader.

Processor time, because a busy machine makes no regex slow. The limit holds in the main thread, where guardians run their jobs:
Python's matcher looks for signals all along, and their handlers run there only.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from types import FrameType

from optimize.runner.numbers import compile_pattern

LINE_S = 0.1  # for one line; a sound regex takes some millionths
SAVED_S = 0.5  # what lines may take beyond what they earn
EARNED_S = 0.005  # by each line

_ticking = False


class RegexTooSlowError(Exception):
    """A regex took longer on a line than it may."""


class LimitedRegex:
    """A regex that skips a line which takes too long, and gives up for good when too many do."""

    def __init__(self, text: str) -> None:
        self._regex, self._saved_s = compile_pattern(text), SAVED_S
        self.skipped = 0  # lines that took longer than LINE_S
        self.example = ""  # the last of them

    @property
    def gave_up(self) -> bool:
        """Whether lines have taken so long that it matches nothing any more."""
        return self._saved_s <= 0

    def search(self, line: str) -> re.Match[str] | None:
        """Return the match in this line; None as well where that takes too long."""
        if self.gave_up:
            return None
        began, found = time.thread_time(), None
        try:
            found = search_within(self._regex, line, LINE_S)
        except RegexTooSlowError:
            self.skipped, self.example = self.skipped + 1, line
        self._saved_s = min(self._saved_s + EARNED_S - (time.thread_time() - began), SAVED_S)
        if self.gave_up:
            self.example = line
        return found


def search_within(regex: re.Pattern[str], line: str, limit_s: float) -> re.Match[str] | None:
    """Return the match in this line. Raises RegexTooSlowError after `limit_s` of processor time, in the main thread only."""
    global _ticking
    if threading.current_thread() is not threading.main_thread():
        return regex.search(line)
    if signal.getsignal(signal.SIGVTALRM) is not _end_search:
        signal.signal(signal.SIGVTALRM, _end_search)
    _ticking = True
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
        return regex.search(line)
    finally:
        _ticking = False  # a signal that is on its way ends nothing else
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _end_search(number: int, frame: FrameType | None) -> None:
    if _ticking:
        raise RegexTooSlowError
