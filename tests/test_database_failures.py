"""What goes wrong under a SQLite database: a lock that stays, a full disk, a driver that is killed."""

from __future__ import annotations

import functools
import random
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage import Database, StorageError, StorageFullError, open_database
from storage.sqlite import connect
from tests.databases import small_database
from tests.forked import Forked

pytestmark = pytest.mark.slow  # real processes

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_database(tmp_path)


def test_a_lock_is_waited_for(path: Path) -> None:
    with closing(open_database(path)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        order: list[str] = []
        threading.Timer(0.3, lambda: (order.append("unlocked"), other.execute("COMMIT"))).start()
        database.set_study_attr(1, "x", 1)
        order.append("written")
        assert order == ["unlocked", "written"]


def test_a_lock_that_stays_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.BUSY_S", 0.1)
    with closing(open_database(path, retry_s=0.2)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another program"):
            database.set_study_attr(1, "x", 1)
        with pytest.raises(StorageError, match="locked by another program"), database.transaction():
            pass
        other.execute("ROLLBACK")
        database.set_study_attr(1, "x", 1)


def test_reading_goes_on_while_another_program_writes(path: Path) -> None:
    with closing(open_database(path)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM trials")
        assert len(database.trials(1)) == 1


def test_a_full_disk_is_told_and_what_was_finished_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.connect", _connect_to_a_small_disk)
    with closing(open_database(path)) as database:
        with pytest.raises(StorageFullError, match="no space left"):
            _fill(database)
        assert database.counts(1)["COMPLETE"] == 1
        assert database.integrity_check() == []
    monkeypatch.undo()
    with closing(open_database(path)) as database:
        database.set_study_attr(1, "after", 1)
        assert database.study_attrs(1)["after"] == 1


def test_a_full_disk_while_a_database_is_made_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.connect", functools.partial(_connect_to_a_small_disk, pages=5))
    with pytest.raises(StorageFullError, match="no space left"):
        open_database(tmp_path / "optuna.db")
    assert list(tmp_path.iterdir()) == []


def _connect_to_a_small_disk(path: Path, journal: str, sync: str, pages: int = 60) -> sqlite3.Connection:
    connection = connect(path, journal, sync)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return connection


def _fill(database: Database) -> None:
    for number in range(1000):
        database.set_study_attr(1, f"key {number}", "x" * 1000)


WRITER = """
import sys
import tempfile
from storage import open_database
database = open_database(sys.argv[1])
params = {f"P{i}": 1 for i in range(14)}
choices = {name: [1, 2] for name in params}
while True:
    trial = database.create_trial(1, state="RUNNING", params=params, choices=choices, attrs={"origin": {"a": 1}})
    database.report(trial.trial_id, 50, 3.0)
    ending = {"status": "complete", "reason": "", "summary": {"x": 1}, "ending": {}}
    with database.transaction():
        database.create_trial(1, state="WAITING", params=params, choices=choices, attrs={"of": trial.number})
        database.finish_trial(trial.trial_id, "COMPLETE", 1.0, attrs=ending, artifacts={"artifacts:1": "x"})
    print(trial.number, flush=True)
"""


@pytest.mark.slow
def test_a_driver_killed_at_any_moment_leaves_every_trial_whole(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    with closing(open_database(path)) as database:
        database.create_study("cpu", "minimize", "val_bpb")
    for seed in range(12):
        told = _killed(WRITER, path, after_s=random.Random(seed).random() / 2, wait_for_line=True)
        with closing(open_database(path)) as database:
            trials = database.trials(1)
            assert database.integrity_check() == []
        assert all(len(trial.params) == 14 for trial in trials)
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        assert all(len(trial.user_attrs) == 5 and trial.system_attrs and trial.value == 1.0 for trial in complete)
        assert sorted(t.user_attrs["of"] for t in trials if "of" in t.user_attrs) == [t.number for t in complete]
        assert {int(number) for number in told} <= {trial.number for trial in complete}
    assert len(complete) >= 12


@pytest.mark.slow
def test_a_database_created_by_processes_that_are_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    create = "import sys, storage; print(1, flush=True); storage.open_database(sys.argv[1]).close()"
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        _killed(create, folder / "optuna.db", after_s=random.Random(seed).random() / 4, wait_for_line=True)
        if (folder / "optuna.db").exists():
            assert (folder / "optuna.db").stat().st_size > 0
        with closing(open_database(folder / "optuna.db")) as database:
            database.create_study("cpu", "minimize", "val_bpb")
            assert database.integrity_check() == []


def _killed(program: str, path: Path, after_s: float, wait_for_line: bool = False) -> list[str]:
    """The lines that a program wrote before it was killed."""
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with Forked(["-c", program, str(path)], cwd=ROOT, stdout=pipe, stderr=nowhere) as process:
        assert process.stdout is not None
        first = [process.stdout.readline()] if wait_for_line else []
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        return first + process.stdout.read().split()
