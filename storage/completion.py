"""Asks a SQLite file for names of studies and numbers of trials, for a shell that waits to complete a word.

It needs the standard library only, reads one row after another and is silent about whatever is wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from storage.read_only import ReadOnlyFile

BUSY_S = 0.2  # how long a lock is waited for


def complete_studies(path: Path) -> list[str]:
    """Return the names of all studies in the file, in order; [] if it cannot be read."""
    return [str(name) for (name,) in _asked(path, "SELECT study_name FROM studies ORDER BY study_name")]


def complete_trials(path: Path, study: str | None, count: int) -> list[tuple[str, str]]:
    """Return the newest `count` trials of a study, each as its number and its state; [] if it cannot be read."""
    query = "SELECT number, state FROM trials JOIN studies USING (study_id) WHERE study_name = ? ORDER BY number DESC LIMIT ?"
    return [(str(number), str(state)) for number, state in _asked(path, query, (study, count))]


def _asked(path: Path, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
    if not path.is_file():
        return []
    try:
        with closing(ReadOnlyFile(path)) as file, closing(file.connect(BUSY_S)) as database:
            return database.execute(query, values).fetchall()
    except (OSError, sqlite3.Error):
        return []
