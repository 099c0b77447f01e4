"""A study's database and the copies of it, for `chaos_world.py`. It reads with SQLite alone: our own code is judged."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Snapshot:
    """A copy of the database, and the results in it: ident -> when the trial was told (s since 1970)."""

    path: Path
    told: dict[str, float]

    def dump(self) -> list[str]:
        return _dump(self.path)


class Files:
    """The files of one database, and the copies that were made of it."""

    def __init__(self, path: Path, aside: Path) -> None:
        self.path, self._aside, self._count = path, aside, 0
        aside.mkdir()

    def all(self) -> list[Path]:
        """The database and what lies beside it."""
        return sorted(self.path.parent.glob(f"{self.path.name}*"))

    def beside(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)

    def contents(self) -> list[bytes]:
        """Of the file and its -wal."""
        return [path.read_bytes() for path in (self.path, self.beside("-wal"))]

    def has_wal(self) -> bool:
        wal = self.beside("-wal")
        return wal.exists() and wal.stat().st_size > 0

    def copy(self) -> Snapshot:
        self._count += 1
        path = self._aside / f"copy-{self._count}.db"
        with (
            closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)) as old,
            closing(sqlite3.connect(path)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
        return Snapshot(path, _told(path))

    def put(self, snapshot: Snapshot) -> None:
        """As a person does it by hand: away with what is there, and the copy in its place."""
        for path in self.all():
            path.unlink()
        shutil.copyfile(snapshot.path, self.path)

    def rename(self, path: Path) -> None:
        """Put a copy in the place of the database, in one step."""
        new = self.path.with_name("new.db")
        shutil.copyfile(path, new)
        new.replace(self.path)

    def copy_over(self, path: Path) -> None:
        """Write a copy over the open file, as `cp` does."""
        shutil.copyfile(path, self.path)

    def restore(self, path: Path) -> None:
        """Let SQLite write a copy over the open file."""
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(self.path, timeout=30)) as new:
            old.backup(new)

    def dump(self) -> list[str]:
        return _dump(self.path)

    def is_unlocked(self) -> bool:
        try:
            with closing(sqlite3.connect(self.path, timeout=0.2, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True


def _dump(path: Path) -> list[str]:
    """All but the leases: whoever looks at a study may make their table, and a driver gives its lease back."""
    there = f"file:{path}?immutable=1"  # as the file is, whatever -wal lies beside it
    with closing(sqlite3.connect(there, uri=True)) as connection, contextlib.suppress(sqlite3.DatabaseError):
        return [line for line in connection.iterdump() if "lease" not in line]
    return []


def _told(path: Path) -> dict[str, float]:
    query = (
        "SELECT datetime_complete, value_json FROM trials JOIN trial_user_attributes USING (trial_id)"
        " WHERE state = 'COMPLETE' AND key = 'summary'"
    )
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # a driver that was stopped before it had made the tables
            rows = []
    return {
        json.loads(text).get("ident", ""): datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        for at, text in rows
    }


def foreign_database(path: Path) -> Snapshot:
    """A database in which another study, with trials under way, has the id of ours."""
    path.unlink(missing_ok=True)
    code = "import optuna, sys; s = optuna.create_study(study_name='other', storage=sys.argv[1]); [s.ask() for _ in range(40)]"
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=True, capture_output=True)
    return Snapshot(path, {})


def idents_aside(folder: Path) -> set[str]:
    return {row.get("ident", "") for row in _rows_aside(folder)}


def _rows_aside(folder: Path) -> Iterator[dict[str, str]]:
    for path in folder.glob("trials.csv.lost-*"):
        with path.open(newline="") as file:
            yield from csv.DictReader(file)
