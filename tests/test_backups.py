"""A backup folder: whole whenever one looks, never another study's, never in the way; and what comes back from it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimize.transfer.backup import Backups
from storage import Artifacts, BackupFolder, Database, StorageError, TrialRecord, open_database, restore_backup
from tests.databases import new_trial, small_database
from tests.zoo import eventually

RETRY_S = 60.0
NO_REST = (0.0, 0.0)
RECORD = TrialRecord(0, 1, "COMPLETE")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    small_database(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def database(runs: Path) -> Iterator[Database]:
    with closing(open_database(runs / "optuna.db")) as opened:
        yield opened


def finish_one(database: Database, runs: Path, **files: str) -> None:
    """A trial that left files."""
    artifacts = Artifacts(runs / "artifacts", database).write({f"{name}.txt": text for name, text in files.items()})
    database.finish_trial(new_trial(database, 1), "COMPLETE", 1.0, artifacts=artifacts)


def trials(path: Path) -> int:
    with closing(open_database(path, create=False)) as database:
        assert database.integrity_check() == []
        return sum(database.counts(1).values())


# --- the folder ---------------------------------------------------------------------------------------------------------


def test_a_backup_comes_back_as_it_was(database: Database, runs: Path, tmp_path: Path) -> None:
    finish_one(database, runs, log="a log", patch="a patch")
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    restored = restore_backup(tmp_path / "kept", tmp_path / "again")
    assert (list(restored.studies), restored.trials, restored.missing, restored.lines) == (["cpu"], 2, 0, [])
    with closing(open_database(tmp_path / "again" / "optuna.db")) as back:
        artifacts = Artifacts(tmp_path / "again" / "artifacts", back)
        last = back.trials(1)[-1]._trial_id
        assert {name: artifacts.read(last, name) for name in artifacts.names(last)} == {
            "log.txt": "a log",
            "patch.txt": "a patch",
        }
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_only_new_files_are_copied_and_the_last_backup_but_one_stays(
    database: Database, runs: Path, tmp_path: Path
) -> None:
    finish_one(database, runs, log="first")
    folder = BackupFolder(tmp_path / "kept", database, runs / "artifacts")
    folder.write()
    (first,) = (tmp_path / "kept" / "artifacts").iterdir()
    os.utime(first, (1, 1))  # would be new in a copy
    finish_one(database, runs, log="second")
    folder.write()
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()  # a later call, which has to look itself
    assert first.stat().st_mtime == 1
    assert len(list((tmp_path / "kept" / "artifacts").iterdir())) == 2
    finish_one(database, runs, log="third")
    folder.write()
    assert trials(tmp_path / "kept" / "optuna.db") == 4
    assert trials(tmp_path / "kept" / "optuna.previous.db") == 3


def test_a_file_that_was_cut_off_is_copied_again(database: Database, runs: Path, tmp_path: Path) -> None:
    finish_one(database, runs, log="a long log")
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    (copy,) = (tmp_path / "kept" / "artifacts").iterdir()
    copy.write_text("a lo")
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    assert copy.read_text() == "a long log"


@pytest.mark.parametrize("spoil", ["cut", "gone", "letter", "page"])
def test_a_damaged_database_gives_way_to_the_one_before(
    database: Database, runs: Path, tmp_path: Path, spoil: str
) -> None:
    folder = BackupFolder(tmp_path / "kept", database, runs / "artifacts")
    folder.write()
    finish_one(database, runs, log="x")
    folder.write()
    newest = tmp_path / "kept" / "optuna.db"
    data = newest.read_bytes()
    if spoil == "gone":  # killed between two renames
        newest.unlink()
    else:
        middle = len(data) // 2
        newest.write_bytes(
            {"cut": data[:middle], "letter": b"Dear all", "page": data[:8192] + b"\xff" * 8192 + data[16384:]}[spoil]
        )
    restored = restore_backup(tmp_path / "kept", tmp_path / "again")
    assert restored.trials == 1
    assert len(restored.lines) == (spoil != "gone")
    assert all("the backup before it is taken" in line for line in restored.lines)


def test_where_nothing_is_whole_nothing_is_written(database: Database, runs: Path, tmp_path: Path) -> None:
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    (tmp_path / "kept" / "optuna.db").write_text("Dear all")
    with pytest.raises(StorageError, match="no backup in it is whole"):
        restore_backup(tmp_path / "kept", tmp_path / "again")
    with pytest.raises(StorageError, match="no backup here"):
        restore_backup(tmp_path / "nowhere", tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "runs"]


def test_nothing_is_restored_over_what_is_there(database: Database, runs: Path, tmp_path: Path) -> None:
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    before = (runs / "optuna.db").read_bytes()
    with pytest.raises(StorageError, match="holds studies already"):
        restore_backup(tmp_path / "kept", runs)
    assert (runs / "optuna.db").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    with pytest.raises(StorageError, match="not empty"):
        restore_backup(tmp_path / "kept", tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert restore_backup(tmp_path / "kept", tmp_path / "empty").trials == 1


def test_missing_files_are_counted_and_results_come_back(database: Database, runs: Path, tmp_path: Path) -> None:
    finish_one(database, runs, log="a", patch="b", curve="c")
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    for path in list((tmp_path / "kept" / "artifacts").iterdir())[:2]:
        path.unlink()
    restored = restore_backup(tmp_path / "kept", tmp_path / "again")
    assert (restored.trials, restored.missing) == (2, 2)


def test_nobody_drives_what_was_restored(database: Database, runs: Path, tmp_path: Path) -> None:
    from storage import acquire, holder_of

    lease = acquire(database, 1)
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    restore_backup(tmp_path / "kept", tmp_path / "again")
    with closing(open_database(tmp_path / "again" / "optuna.db")) as back:
        assert holder_of(back, 1) is None
    lease.release()


# --- whose backup it is ---------------------------------------------------------------------------------------------------


def test_a_new_database_never_replaces_the_backup_that_should_have_been_restored(
    database: Database, runs: Path, tmp_path: Path
) -> None:
    BackupFolder(tmp_path / "kept", database, runs / "artifacts").write()
    (tmp_path / "fresh").mkdir()
    small_database(tmp_path / "fresh")
    with (
        closing(open_database(tmp_path / "fresh" / "optuna.db")) as fresh,
        pytest.raises(StorageError, match="optimize restore"),
    ):
        BackupFolder(tmp_path / "kept", fresh, tmp_path / "fresh" / "artifacts")
    assert trials(tmp_path / "kept" / "optuna.db") == 1


def test_a_machine_that_was_thought_dead_leaves_its_successors_backup_alone(
    database: Database, runs: Path, tmp_path: Path
) -> None:
    old = BackupFolder(tmp_path / "kept", database, runs / "artifacts")
    old.write()
    restore_backup(tmp_path / "kept", tmp_path / "again")
    with closing(open_database(tmp_path / "again" / "optuna.db")) as successor:
        finish_one(successor, tmp_path / "again", log="x")
        BackupFolder(tmp_path / "kept", successor, tmp_path / "again" / "artifacts").write()
    with pytest.raises(StorageError, match="does not come from"):
        old.write()
    assert trials(tmp_path / "kept" / "optuna.db") == 2


def test_a_database_that_is_gone_is_not_kept_as_an_empty_one(database: Database, runs: Path, tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path / "kept", database, runs / "artifacts")
    folder.write()
    for path in runs.glob("optuna.db*"):
        path.unlink()
    with pytest.raises(StorageError):
        folder.write()
    small_database(runs)
    with pytest.raises(StorageError):
        folder.write()
    assert trials(tmp_path / "kept" / "optuna.db") == 1


def test_two_drivers_of_one_database_share_a_folder(database: Database, runs: Path, tmp_path: Path) -> None:
    folders = [BackupFolder(tmp_path / "kept", database, runs / "artifacts") for _ in range(2)]
    failed: list[BaseException] = []

    def drive(folder: BackupFolder) -> None:
        try:
            for _ in range(5):
                finish_one(database, runs, log="x")
                folder.write()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=drive, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert trials(tmp_path / "kept" / "optuna.db") == 11
    assert restore_backup(tmp_path / "kept", tmp_path / "again").missing == 0


def test_a_backup_that_is_open_is_not_replaced(database: Database, runs: Path, tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path / "kept", database, runs / "artifacts")
    folder.write()
    with closing(open_database(tmp_path / "kept" / "optuna.db")) as looked_at:
        new_trial(looked_at, 1)
        with pytest.raises(StorageError, match="open in another program"):
            folder.write()
    folder.write()


def test_where_the_disk_was_a_folder_is_not_made(database: Database, runs: Path, tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path / "drive" / "kept", database, runs / "artifacts")
    folder.write()
    (tmp_path / "drive").rename(tmp_path / "elsewhere")
    finish_one(database, runs, log="x")
    with pytest.raises(StorageError):
        folder.write()
    assert not (tmp_path / "drive").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "drive")
    folder.write()
    assert trials(tmp_path / "drive" / "kept" / "optuna.db") == 2


def test_a_backup_of_an_earlier_release_is_restored_and_left_alone(
    database: Database, runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs, tmp_path / "kept", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    with closing(sqlite3.connect(tmp_path / "kept" / "optuna.db")) as connection:
        assert "optimize_backups" not in {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert restore_backup(tmp_path / "kept", tmp_path / "again").trials == 1


# --- when one is made ---------------------------------------------------------------------------------------------------


def test_a_disk_that_never_answers_delays_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    never = threading.Event()
    backups = Backups(never.wait, "the drive", said.append, NO_REST, last_s=0.1)
    for _ in range(3):
        backups.on_trial_end(RECORD)
        backups.on_tick()
    backups.close()
    assert said == ["the drive: the last backup was not ready after 0 s; the one before it is whole"]
    never.set()


def test_trials_that_end_during_a_backup_share_the_next() -> None:
    calls: list[int] = []
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def write() -> None:
        calls.append(1)
        began.release()
        assert go_on.acquire(timeout=RETRY_S)

    backups = Backups(write, "the drive", lambda line: None, NO_REST)
    backups.on_trial_end(RECORD)
    assert began.acquire(timeout=RETRY_S)
    for _ in range(5):
        backups.on_trial_end(RECORD)
    go_on.release(10)
    assert eventually(lambda: len(calls) == 2, RETRY_S)
    backups.close()
    assert len(calls) == 3  # and the last one, of what is left behind


def test_a_failure_is_one_line_and_is_tried_again() -> None:
    said: list[str] = []
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise StorageError("the drive: no space left")

    backups = Backups(write, "the drive", said.append, NO_REST)
    for number in range(1, 4):
        backups.on_trial_end(RECORD)
        assert eventually(lambda number=number: len(tries) >= number, RETRY_S)  # type: ignore[misc]
    backups.close()
    assert said == [
        "the drive: no space left (no backup was made; the study goes on, and the next trial tries again)",
        "the drive: backups work again",
    ]


def test_where_nothing_happened_nothing_is_kept() -> None:
    calls: list[int] = []
    Backups(lambda: calls.append(1), "the drive", lambda line: None).close()
    assert calls == []


def test_after_a_backup_it_rests_as_long_as_that_is_worth_and_the_end_does_not_wait_for_it() -> None:
    calls: list[int] = []
    backups = Backups(lambda: calls.append(1), "the drive", lambda line: None, rest_s=(3600.0, 3600.0))
    backups.on_trial_end(RECORD)
    assert eventually(lambda: len(calls) == 1, RETRY_S)
    backups.on_trial_end(RECORD)
    backups.close()
    assert len(calls) == 2
