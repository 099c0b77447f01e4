"""Waits for what happens to a study, whoever drives it: trials that end, a better best, a verdict, the end of its driver.

All of it is read from the database. What a reader has seen already is a *cursor*, a short text that it gives back: nothing is kept
here between two calls, so a reader that dies or asks twice misses nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from optimize.errors import SettingsError
from optimize.reporting.events import BEST, END, TRIAL_END, VERDICT
from optimize.reporting.status_json import SCHEMA, confirmation_json, trial_json
from optimize.study.best import BestTrial
from optimize.study.stored import StoredStudy
from storage import holder_of, record_of, states_from

MOST_SECONDS = 50.0  # of one call: clients give up after a minute
MOST_EVENTS = 30  # trials that are told one by one
POLL_S = 0.5
UNTIL = ("event", "best", "end")
_FINISHED = ("COMPLETE", "PRUNED", "FAIL")
_SEEN = r"(\d{1,9}(?:\.\d{1,9}(?:-\d{1,9})?)*)"
_CURSOR = re.compile(rf"{_SEEN}~{_SEEN}~(d?)~(\d{{0,9}})(c?)~([0-9a-f]{{0,8}})", re.ASCII)


def check_until(until: str) -> None:
    """Raise SettingsError for what cannot be waited for."""
    if until not in UNTIL:
        raise SettingsError(f"--until: {until!r:.40}. Use {', '.join(UNTIL)}.")


@dataclass(frozen=True, slots=True)
class Seen:
    """The trials of one study that a reader knows: all below `below`, but for those that had not ended."""

    below: int = 0
    open: frozenset[int] = frozenset()

    @property
    def first(self) -> int:
        """The first number that there may be news of."""
        return min(self.open, default=self.below)

    def is_news(self, number: int) -> bool:
        """Return whether the end of this trial was not seen."""
        return number >= self.below or number in self.open

    def to_text(self) -> str:
        """Return `12.3.5-9`: the bound, then what is open."""
        spans = list[list[int]]()
        for number in sorted(self.open):
            if spans and number == spans[-1][1] + 1:
                spans[-1][1] = number
            else:
                spans.append([number, number])
        return ".".join([str(self.below), *(f"{a}-{b}" if a != b else str(a) for a, b in spans)])


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a reader knows of a study, and of the study of its replicates."""

    main: Seen = Seen()
    replicates: Seen = Seen()
    driven: bool = False
    best: int | None = None
    confirmed: bool = False
    verdict: str = ""  # a digest

    def __str__(self) -> str:
        best = "" if self.best is None else f"{self.best}{'c' if self.confirmed else ''}"
        driven = "d" if self.driven else ""
        return f"{self.main.to_text()}~{self.replicates.to_text()}~{driven}~{best}~{self.verdict}"


def parse_cursor(text: str) -> Cursor:
    """Return the cursor of a text that an answer had. Raises SettingsError for any other."""
    found = _CURSOR.fullmatch(text)
    if found is None or len(text) > 10_000:
        raise SettingsError(f"after: {text!r:.60} is no cursor. Give that of an earlier answer, or leave it out.")
    main, replicates, driven, best, confirmed, verdict = found.groups()
    try:
        return Cursor(
            _seen(main), _seen(replicates), bool(driven), int(best) if best else None, bool(confirmed), verdict
        )
    except ValueError:
        raise SettingsError(f"after: {text!r:.60} is no cursor. Give that of an earlier answer.") from None


def _seen(text: str) -> Seen:
    below, *spans = text.split(".")
    numbers: set[int] = set()
    for span in spans:
        first, _, last = span.partition("-")
        if int(last or first) - int(first) > 10_000:
            raise ValueError(span)
        numbers.update(range(int(first), int(last or first) + 1))
    return Seen(int(below), frozenset(numbers))


@dataclass(frozen=True, slots=True)
class News:
    """What has happened since a cursor, and the cursor from there on."""

    events: list[dict[str, Any]]
    cursor: Cursor
    left_out: int = 0  # ended trials that are not told one by one

    def is_enough(self, until: str) -> bool:
        """Return whether a reader who waits for `event`, `best` or `end` is to be told."""
        wanted = {"event": None, "best": (BEST, VERDICT, END), "end": (END,)}[until]
        return any(wanted is None or event["event"] in wanted for event in self.events) or not self.cursor.driven


def cursor_of(stored: StoredStudy) -> Cursor:
    """Return the cursor of this moment: what comes later is news."""
    return news(stored, Cursor()).cursor


def news(stored: StoredStudy, since: Cursor) -> News:
    """Return what has happened to a study since a cursor."""
    database = stored.database
    driven = (
        holder_of(database, stored.study_id) is not None
    )  # first: what ends later is told with the trials of before
    main, ended = _ended(stored, stored.study_id, since.main)
    events, left_out = _told(stored, stored.study_id, stored.name, ended)
    replicates = since.replicates
    for child in stored.children():
        child_id = database.find_study(child)
        if child_id is not None:
            replicates, ended = _ended(stored, child_id, since.replicates)
            told, more = _told(stored, child_id, child, ended)
            events, left_out = events + told, left_out + more
    best, verdict = stored.best(), stored.verdict()
    digest = "" if verdict is None else f"{crc32(repr(verdict).encode()):08x}"
    if best is not None and (best.record.number, best.confirmed) != (since.best, since.confirmed):
        events.append(_best(stored, best))
    if verdict is not None and digest != since.verdict:
        events.append({"event": VERDICT, "study": stored.name, "confirmation": confirmation_json(verdict)})
    if not driven and (since.driven or events):
        events.append({"event": END, "study": stored.name})
    number, confirmed = (best.record.number, best.confirmed) if best else (None, False)
    return News(events, Cursor(main, replicates, driven, number, confirmed, digest), left_out)


class Patience:
    """How long a reader goes on waiting for `event`, `best` or `end`: `seconds` from now on at most."""

    def __init__(self, until: str, seconds: float) -> None:
        self._until, self._deadline = until, time.monotonic() + seconds

    def pause(self, found: News) -> float | None:
        """Return after how many seconds to look again; None if what was found is enough, or the time is over."""
        left = self._deadline - time.monotonic()
        return None if found.is_enough(self._until) or left <= 0 else min(POLL_S, left)


def wait_for(stored: StoredStudy, since: Cursor, patience: Patience, sleep: Callable[[float], None]) -> News:
    """Wait until there are news that are enough, or the time is over; return all that there are."""
    found = news(stored, since)
    while (pause := patience.pause(found)) is not None:
        sleep(pause)
        found = news(stored, since)
    return found


def wait_document(stored: StoredStudy, found: News) -> dict[str, Any]:
    """Return the answer to a reader who has waited."""
    return {
        "schema": SCHEMA,
        "study": stored.name,
        "events": found.events,
        "left_out": found.left_out,
        "running": found.cursor.driven,
        "states": stored.database.counts(stored.study_id),
        "cursor": str(found.cursor),
    }


def _ended(stored: StoredStudy, study_id: int, seen: Seen) -> tuple[Seen, list[int]]:
    """Return what a reader knows from now on, and the trials whose end is news."""
    states = states_from(stored.database, study_id, seen.first)
    new = [number for number, state in states.items() if seen.is_news(number) and state in _FINISHED]
    still: set[int] = {number for number, state in states.items() if state not in _FINISHED}
    return Seen(max([seen.below, *(number + 1 for number in states)]), frozenset(still)), new


def _told(stored: StoredStudy, study_id: int, name: str, ended: list[int]) -> tuple[list[dict[str, Any]], int]:
    found = (stored.database.find_trial(study_id, number) for number in ended[-MOST_EVENTS:])
    records = [record_of(trial) for trial in found if trial is not None]
    events = [{"event": TRIAL_END, "study": name, "trial": trial_json(record)} for record in records]
    return events, len(ended) - len(events)


def _best(stored: StoredStudy, best: BestTrial) -> dict[str, Any]:
    record = best.record
    return {
        "event": BEST,
        "study": stored.name,
        "number": record.number,
        "value": record.value,
        "confirmed": best.confirmed,
        "why": best.why,
    }
