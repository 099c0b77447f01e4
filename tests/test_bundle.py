"""A bundle is all of a study at one moment, opens without us, and is there whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import optuna
import pandas
import pytest
from optuna.trial import TrialState

from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.errors import StudyError
from optimize.reporting.files import write_views
from optimize.study.stored import StoredStudy, find_study
from optimize.transfer.bundle import write_bundle
from optimize.trial import Job, Outcome, TrialStatus
from storage import Artifacts, StorageError, open_database, read_records, snapshot
from tests.conftest import Driver, complete
from tests.databases import empty_database, new_trial
from tests.forked import run_forked
from tests.postgres import Server
from tests.test_cli import ROOT, environment, optimize, run
from tests.zoo import SCRIPTS


def bundled(
    driver: Driver, to: Path | None = None, everything: bool = False, *additions: Callable[[StoredStudy], object]
) -> Path:
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        return write_bundle(stored, to, everything, driver.said.append, additions)


def unpacked(archive: Path, to: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        file.extractall(to)
    (root,) = to.iterdir()
    return root


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def some_fail(job) -> Outcome:  # type: ignore[no-untyped-def]
    return Outcome(TrialStatus.CRASHED, 1.0, "it broke") if job.number == 2 else complete(job)


def ran(driver: Driver, ends: Callable[[Job], Outcome] = complete, trials: int = 2) -> None:
    driver.once(f"{trials}-{ends.__name__}", lambda: driver.run(ends, trials=trials))


def test_a_bundle_has_everything_and_its_database_opens_with_plain_optuna(driver: Driver, tmp_path: Path) -> None:
    ran(driver, some_fail, trials=6)
    root = unpacked(bundled(driver), tmp_path / "there")
    assert root.name == "s-bundle"
    kept = {path.relative_to(root / "s").as_posix() for path in (root / "s").rglob("*") if path.is_file()}
    scripts = {f"best/{name}" for name in ("train.py", "run.sh", "train.patch", "params.toml", "summary.toml")}
    assert kept == scripts | {"results.tsv", "trials.csv", "trials.parquet"}
    shown = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    assert shown == ["README.txt", "artifacts", "optuna.db", "s"]
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{root / 'optuna.db'}")
    with driver.database() as database:
        there = find_study(database, "s", driver.settings.runs)
        assert [(t.number, t.state.name, t.params) for t in study.trials] == [
            (r.number, r.state, r.params) for r in there.records()
        ]
        assert (best := there.best()) is not None
        assert study.best_trial.number == best.record.number
        write_views(there)
    assert (root / "s" / "results.tsv").read_text() == (driver.paths.results_tsv).read_text()
    assert (root / "s" / "best" / "train.py").read_text() == (driver.paths.best / "train.py").read_text()


def test_a_bundle_is_a_folder_of_runs_where_nothing_is_missing(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=5)
    root = unpacked(bundled(driver), tmp_path / "best")
    whole = unpacked(bundled(driver, tmp_path / "whole.zip", everything=True), tmp_path / "whole")
    for place, artifacts in ((root, 2), (whole, 5)):  # of the best and of the baseline, or of all
        with closing(open_database(place / "optuna.db")) as database:
            stored = find_study(database, None, place)
            assert (best := stored.best()) is not None
            assert stored.texts(best.record)["log.txt"] == "a log\n"
            assert sum(bool(stored.texts(record)) for record in stored.records()) == artifacts
            assert not Artifacts(place / "artifacts", database).dangling()


def test_the_parquet_is_the_csv_with_types(driver: Driver, tmp_path: Path) -> None:
    ran(driver, some_fail, trials=6)
    root = unpacked(bundled(driver), tmp_path / "there") / "s"
    typed = pandas.read_parquet(root / "trials.parquet")
    text = pandas.read_csv(root / "trials.csv", parse_dates=["started", "finished"])
    assert list(typed.columns) == list(text.columns)
    assert len(typed) == len(text) == 7
    for name in text:
        one, other = typed[name], text[name]
        assert list(one.isna()) == list(other.isna()), name
        assert [a for a in one if not pandas.isna(a)] == [b for b in other if not pandas.isna(b)], name
    assert str(typed["started"].dtype).endswith("UTC]")
    assert typed["X"].dtype == "Int64"
    assert typed["PAIR"].dtype == "string"


def test_all_of_a_bundle_is_of_one_moment(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=4)

    def goes_on(_: StoredStudy) -> None:
        driver.run(trials=7)

    root = unpacked(bundled(driver, None, True, goes_on), tmp_path / "there")
    assert len(optuna.load_study(study_name="s", storage=f"sqlite:///{root / 'optuna.db'}").trials) == 4
    assert len((root / "s" / "results.tsv").read_text().splitlines()) == 5


def test_a_snapshot_of_a_study_that_is_written_all_the_while_is_whole(tmp_path: Path) -> None:
    with closing(open_database(empty_database(tmp_path))) as database:
        study_id = database.create_study("busy", "minimize", "val_bpb")
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                trial_id = new_trial(database, study_id)
                database.report(trial_id, 5, 1.0)
                database.finish_trial(trial_id, "COMPLETE", float(trial_id), attrs={"status": "complete"})

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for n in range(4):
                snapshot(database, ["busy"], tmp_path / f"{n}.db")
        finally:
            over.set()
            thread.join()
    for n in range(4):
        with closing(open_database(tmp_path / f"{n}.db")) as copy:
            trials = copy.trials(copy.find_study("busy") or 0)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        for trial in (t for t in trials if t.state is TrialState.COMPLETE):
            assert trial.value is not None
            assert trial.user_attrs == {"status": "complete"}
            assert trial.intermediate_values == {5: 1.0}


def test_a_study_without_a_trial_can_be_bundled(driver: Driver, tmp_path: Path) -> None:
    with driver.open():
        pass
    root = unpacked(bundled(driver), tmp_path / "there")
    assert "No trial is complete yet" in (root / "README.txt").read_text()
    assert not (root / "s" / "best").exists()


def test_the_verdict_and_the_settings_are_in_it(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=3)
    verdict = Verdict((Finalist(1, 6, 0.02, 0.01, 0.03, True),), 0.95, 0.004, 0.008)
    with driver.database() as database:
        study_id = database.find_study("s") or 0
        for key, value in verdict_attrs(verdict).items():
            database.set_study_attr(study_id, key, value)
        child = database.create_study("s/confirm", "minimize", "val_bpb")
        database.finish_trial(new_trial(database, child), "COMPLETE", 1.0)
        other = database.create_study("other", "minimize", "val_bpb")
        database.finish_trial(new_trial(database, other), "COMPLETE", 1.0)
    driver.paths.settings_json.write_text('{"prepare_args": ["--source", "my texts"]}\n')
    root = unpacked(bundled(driver), tmp_path / "there")
    kept = json.loads((root / "s" / "confirmation.json").read_text())
    assert kept == json.loads(json.dumps(asdict(verdict)))
    assert (root / "s" / "settings.json").read_bytes() == driver.paths.settings_json.read_bytes()
    assert "Confirmed with other seeds: trial 1, 0.020000 better" in (root / "README.txt").read_text()
    with closing(open_database(root / "optuna.db")) as database:
        assert database.study_names() == ["s", "s/confirm"]  # its replicates, and no other study


def test_the_scripts_of_a_confirmed_winner_are_in_it_though_another_has_a_better_value(
    driver: Driver, tmp_path: Path
) -> None:
    ran(driver, trials=4)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        shown = stored.best()
        assert shown is not None
        best = shown.record
        winner = next(r for r in stored.records() if r.number not in (0, best.number))
        told = Finalist(winner.number, 6, 0.02, 0.01, 0.03, True), Finalist(best.number, 6, 0.0, -0.1, 0.1, False)
        for key, value in verdict_attrs(Verdict(told, 0.95, 0.004, 0.008)).items():
            database.set_study_attr(stored.study_id, key, value)
        scripts = stored.texts(winner)["train.py"]
    root = unpacked(bundled(driver), tmp_path / "there")
    assert (root / "s" / "best" / "train.py").read_text() == scripts
    with closing(open_database(root / "optuna.db")) as database:
        assert find_study(database, "s", root).texts(best)["train.py"] != scripts


def test_how_the_best_is_trained_again_is_what_it_left(driver: Driver, tmp_path: Path) -> None:
    (driver.folder / "workload" / "workload.toml").write_text('command = ["{python}", "-u", "train.py"]\n')
    ran(driver, trials=2)
    root = unpacked(bundled(driver), tmp_path / "there")
    assert "cd s/best\nsh run.sh\n" in (root / "README.txt").read_text()
    assert (root / "s" / "best" / "run.sh").is_file()


def test_what_writes_more_views_writes_them_into_the_bundle(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=2)

    def report(stored: StoredStudy) -> None:
        (stored.paths.folder / "report.html").write_text(f"{len(stored.records())} trials")

    root = unpacked(bundled(driver, None, False, report), tmp_path / "there")
    assert (root / "s" / "report.html").read_text() == "2 trials"
    assert "s/report.html" in (root / "README.txt").read_text()


def test_a_lost_artifact_of_the_best_is_said_and_the_rest_is_taken(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=2)
    for path in driver.paths.artifacts.iterdir():
        path.unlink()
    root = unpacked(bundled(driver), tmp_path / "there")
    assert any("artifacts are left out" in line for line in driver.said)
    assert (root / "s" / "results.tsv").exists()


@pytest.mark.parametrize("what", ["a file", "a folder", "a link to nothing"])
def test_what_is_there_is_not_overwritten(driver: Driver, tmp_path: Path, what: str) -> None:
    ran(driver, trials=2)
    to = tmp_path / "mine.zip"
    if what == "a file":
        to.write_text("mine")
    elif what == "a folder":
        to.mkdir()
    else:
        to.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="exists already") as refused:
        bundled(driver, to)
    assert "\n" not in str(refused.value)
    assert what != "a file" or to.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_an_archive_that_appears_meanwhile_is_not_overwritten(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=2)
    to = tmp_path / "mine.zip"
    with pytest.raises(StorageError, match="exists already"):
        bundled(driver, to, False, lambda _: to.write_text("another's"))
    assert to.read_text() == "another's"
    assert leftovers(tmp_path) == []


def test_a_name_that_is_none_of_a_zip_and_a_folder_that_is_not_there_are_one_line(
    driver: Driver, tmp_path: Path
) -> None:
    ran(driver, trials=2)
    with pytest.raises(StudyError, match=r"end in \.zip"):
        bundled(driver, tmp_path / "mine.rar")
    with pytest.raises(StorageError, match="No such file"):
        bundled(driver, tmp_path / "nowhere" / "mine.zip")
    assert not (tmp_path / "nowhere").exists()


def test_two_bundles_of_the_default_name_stand_side_by_side(driver: Driver) -> None:
    ran(driver, trials=2)
    first = bundled(driver)
    assert first.parent == driver.paths.folder
    assert first.name.startswith("s-bundle-20")
    assert bundled(driver) != first
    assert len(list(driver.paths.folder.glob("*.zip"))) == 2
    assert leftovers(driver.paths.folder) == []


KILLED = """
import sys, time
from pathlib import Path
from optimize.transfer.bundle import write_bundle
from optimize.study.stored import find_study
from storage import open_database

def hang(stored):
    print("hanging", flush=True)
    time.sleep(3600)

runs = Path(sys.argv[1])
write_bundle(find_study(open_database(runs / "optuna.db"), "s", runs), Path(sys.argv[2]), True, print, (hang,))
"""


def test_a_kill_leaves_only_what_the_next_call_removes(driver: Driver, tmp_path: Path) -> None:
    ran(driver, trials=2)
    folder = tmp_path / "bundles"
    folder.mkdir()
    argv = [sys.executable, "-c", KILLED, str(driver.settings.runs), str(folder / "killed.zip")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        bundled(driver, folder / "beside.zip")
        assert len(leftovers(folder)) == 1  # somebody works in it
        process.send_signal(signal.SIGKILL)
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["beside.zip"]
    assert len(leftovers(folder)) == 1
    bundled(driver, folder / "after.zip")
    assert leftovers(folder) == []


@pytest.mark.slow
def test_a_bundle_as_a_user_makes_it(driver: Driver, tmp_path: Path) -> None:
    script = (SCRIPTS / "ok.py").read_text()
    (driver.folder / "workload" / "train.py").write_text(f"X = 4\nY = 0.5\nPAIR = (0.8, 0.95)\nSIZE = 8\n{script}")
    assert run(driver, "--trials", "3").returncode == 0
    made = optimize(driver, "export", "--bundle", "--artifacts", "--to", "all.zip")
    assert made.returncode == 0, made.stderr
    assert made.stderr == "written: all.zip\n"
    root = unpacked(driver.folder / "all.zip", tmp_path / "there")
    again = subprocess.run([sys.executable, "train.py"], cwd=root / "s" / "best", capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "val_bpb:" in again.stdout
    shown = optimize(driver, "show", "1", "--runs", str(root))
    assert shown.returncode == 0, shown.stderr
    assert json.loads((root / "s" / "settings.json").read_text())["storage"] is None
    twice = optimize(driver, "export", "--bundle", "--to", "all.zip")
    assert (twice.returncode, len(twice.stderr.splitlines())) == (2, 1)
    wrong = optimize(driver, "export", "--bundle", "--trial", "1", "--to", "x.zip")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert not (driver.folder / "x.zip").exists()


@pytest.mark.slow
def test_a_bundle_from_a_server_has_no_password_in_it(driver: Driver, tmp_path: Path, postgres: Server) -> None:
    ran(driver, trials=3)
    with postgres.database() as url:
        environ = {**environment(driver), "OPTIMIZE_COPY_URL": url, "OPTIMIZE_STORAGE_URL": url}
        copied = {**environ}
        del copied["OPTIMIZE_STORAGE_URL"]
        run_forked(["copy", "--study", "s"], cwd=driver.folder, env=copied).check_returncode()
        words = ["export", "--bundle", "--artifacts", "--to", "all.zip"]
        run_forked(words, cwd=driver.folder, env=environ).check_returncode()
        root = unpacked(driver.folder / "all.zip", tmp_path / "there")
        for path in (path for path in root.rglob("*") if path.is_file()):
            assert url.encode() not in path.read_bytes(), path
    with closing(open_database(root / "optuna.db")) as database:
        assert len(read_records(database, database.find_study("s") or 0)) == 3
