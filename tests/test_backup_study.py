"""A study and its backup, as a user loses the one and goes on from the other: real processes, killed."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from storage import StorageError, TrialRecord, open_database, read_records, restore_backup
from tests.conftest import Driver
from tests.databases import small_database
from tests.forked import Forked
from tests.test_cli import ROOT, environment, flags, optimize, run, slow_down
from tests.zoo import eventually

pytestmark = pytest.mark.slow
RETRY_S = 120.0

KEEPS = """
    import sys
    from contextlib import closing
    from pathlib import Path
    from storage import Artifacts, BackupFolder, open_database
    from tests.databases import new_trial

    runs, kept = Path(sys.argv[1]), Path(sys.argv[2])
    with closing(open_database(runs / "optuna.db")) as database:
        artifacts = Artifacts(runs / "artifacts", database)
        folder = BackupFolder(kept, database, artifacts.folder)
        while True:
            files = artifacts.write({f"{name}.txt": name * 100_000 for name in "abcd"})
            database.finish_trial(new_trial(database, 1), "COMPLETE", 1.0, artifacts=files)
            folder.write()
            print(sum(database.counts(1).values()), flush=True)
"""


def kept_trials(folder: Path) -> int:
    """How many finished trials a backup has; looked at without opening it."""
    path = folder / "optuna.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0])


def records(runs: Path) -> list[TrialRecord]:
    with closing(open_database(runs / "optuna.db")) as database:
        return read_records(database, database.find_study("s") or 0)


def start(driver: Driver, *words: str) -> subprocess.Popen[str]:
    words = ("run", "--trust", *flags(driver), *words)
    with (driver.folder / "said.txt").open("w") as said:
        return Forked(words, cwd=driver.folder, env=environment(driver), stdout=said, stderr=said)


def test_a_driver_killed_in_the_middle_of_a_backup_leaves_a_whole_one(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    runs.mkdir()
    small_database(runs)
    draw, least = random.Random(0), 0
    for number in range(8):
        words = ["-c", textwrap.dedent(KEEPS), str(runs), str(kept)]
        process = Forked(words, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(2):
            least = int(process.stdout.readline())
        time.sleep(draw.uniform(0, 0.1))  # wherever it is by then
        process.kill()
        out, _ = process.communicate()
        least = int(out.split()[-1]) if out.split() else least
        restored = restore_backup(kept, tmp_path / f"again-{number}")
        assert restored.trials >= least
        assert restored.missing == 0


def test_a_study_whose_folder_is_deleted_goes_on_from_its_backup(driver: Driver) -> None:
    slow_down(driver, 0.5)
    runs, kept = driver.folder / "runs", driver.folder / "kept"
    process = start(driver, "--backup", "kept")
    assert eventually(lambda: kept_trials(kept) >= 3 or process.poll() is not None, RETRY_S)
    assert process.poll() is None, (driver.folder / "said.txt").read_text()
    process.kill()
    process.wait()
    before = {record.number: record for record in records(runs)}
    shutil.rmtree(runs)

    refused = run(driver, "--trials", "20", "--backup", "kept")  # a new study would replace what was kept
    assert refused.returncode == 2
    assert "optimize restore" in refused.stderr.splitlines()[-1]
    shutil.rmtree(runs)

    restored = optimize(driver, "restore", "kept")
    assert restored.returncode == 0, restored.stderr
    assert (runs / "s" / "results.tsv").exists()
    ended = [record for record in records(runs) if record.is_finished]
    assert len(ended) >= 3
    assert all(record == before[record.number] for record in ended)
    assert "--- a/train.py" in optimize(driver, "show", str(ended[-1].number)).stdout

    went_on = run(driver, "--trials", str(len(ended) + 3), "--backup", "kept")
    assert went_on.returncode == 0, went_on.stderr
    after = records(runs)
    assert [record.number for record in after] == list(range(len(after)))
    assert after[: len(ended)] == ended
    assert kept_trials(kept) == sum(record.state == "COMPLETE" for record in after) >= len(ended) + 3
    again = optimize(driver, "restore", "kept")
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1


def test_a_disk_that_vanishes_ends_no_study(driver: Driver) -> None:
    slow_down(driver, 0.2)
    kept = driver.folder / "kept"
    process = start(driver, "--backup", "kept", "--trials", "12")
    assert eventually(lambda: kept_trials(kept) >= 1 or process.poll() is not None, RETRY_S)
    kept.rename(driver.folder / "unplugged")
    kept.touch()  # not even a folder
    assert process.wait(timeout=RETRY_S) == 0
    said = (driver.folder / "said.txt").read_text()
    assert "12 trials are done" in said
    assert said.count("the study goes on") == 1
    assert "Traceback" not in said


def test_two_studies_share_a_backup(driver: Driver) -> None:
    slow_down(driver, 0.2)
    words = ["run", "--trust", *flags(driver)[:-1]]
    both = [
        Forked(
            [*words, name, "--trials", "4", "--slots", "1", "--backup", "kept"],
            cwd=driver.folder,
            env=environment(driver),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        for name in ("s", "t")
    ]
    for process in both:
        _, said = process.communicate(timeout=RETRY_S)
        assert process.returncode == 0, said
        assert "no backup" not in said
    assert kept_trials(driver.folder / "kept") == 8
    assert restore_backup(driver.folder / "kept", driver.folder / "again").missing == 0


def test_a_folder_that_cannot_be_is_one_line_before_any_trial(driver: Driver) -> None:
    (driver.folder / "file").touch()
    for folder, why in (("file", "file"), ("file/kept", "file")):
        ended = run(driver, "--trials", "1", "--backup", folder)
        assert ended.returncode == 2
        assert why in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr
        assert "baseline" not in ended.stderr


def test_what_is_no_backup_is_one_line(driver: Driver) -> None:
    (driver.folder / "empty").mkdir()
    for folder in ("nowhere", "empty"):
        ended = optimize(driver, "restore", folder)
        assert ended.returncode == 2
        assert len(ended.stderr.splitlines()) == 1
        assert "no backup here" in ended.stderr
    assert not (driver.folder / "runs").exists()
    with pytest.raises(StorageError):
        restore_backup(driver.folder / "empty", driver.folder / "runs")
