"""What an earlier release left opens, says the same and goes on: `data/612ce2a/` was made by the real commands of that commit.

In it are a workload, a runs folder with a study of 18 trials (complete, pruned and failed) that was confirmed, what
`optimize status --json` said of it, a backup, and a bundle (without its report, figures and Parquet file).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from optimize.advisor.usage import ADVICE
from optimize.confirm.verdict import CONFIRMATION
from optimize.importing.import_study import IMPORTED
from optimize.reporting.files import write_views
from optimize.reporting.notify.notified import NOTIFIED
from optimize.reporting.status_json import document
from optimize.search.whole import RULES
from optimize.study.comparable import ABOUT, CONSTANTS, DEVICE_BATCH, FINGERPRINT, SPACE_FILE
from optimize.study.held import BESIDE, STOP
from optimize.study.prior import PRIOR
from optimize.study.start_from import FROM
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import BASELINE, Outcome, TrialStatus
from storage import open_database, read_records
from storage.sql import BACKUPS, LEASES
from tests.conftest import Driver, complete
from tests.forked import run_forked

ROOT = Path(__file__).parent.parent
LEFT = Path(__file__).parent / "data" / "612ce2a" / "studies.tar.xz"
STUDY = ("--workload", "./workload", "--space", "./workload/space.toml", "--profile", "cpu", "--study", "small")
HERE = ("--mixed-devices",)  # the studies were made on a processor that need not be this one
WINNER = 5

# Names in databases never change: a release that finds none of its own would take a study for another program's.
STUDY_ATTRS = {"fingerprint", "baseline", "constants", "about"}
TRIAL_ATTRS = {"origin", "status", "reason", "summary", "ending"}
ORIGIN = {"kind", "attempt", "requeue_of"}
ENDING = {"seconds", "slot", "script"}
SYSTEM_ATTRS = {"artifacts", "dashboard", "optimize:note", "study:metric_names"}
LATER = {
    "stop",
    "from",
    "confirmation",
    "advice",
    "imported",
    "rules",
    "device_batch",
    "beside",
    "space_file",
    "prior",
    "notified",
}  # what a study may get


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(LEFT) as left:
        left.extractall(tmp_path / "left", filter="data")
    return tmp_path / "left"


CONFIRMED, WORD = b"confirmed = true\n", b'verdict = "confirmed"\n'  # the word is new


def said(folder: Path) -> dict[str, object]:
    """What the earlier release said of its study."""
    return json.loads((folder / "status.json").read_text())  # type: ignore[no-any-return]


@contextmanager
def opened(runs: Path, study: str = "small") -> Iterator[StoredStudy]:
    with closing(open_database(runs / "optuna.db", create=False)) as database:
        yield find_study(database, study, runs)


def optimize(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "config")}
    ended = run_forked(words, cwd=folder, env=environment, timeout=300)
    assert ended.returncode == 0, (words, ended.stderr)
    return ended


def tells(new: object, old: object) -> bool:
    """Whether all that `old` says stands in `new` as well; keys may have been added."""
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return all(key in new and tells(new[key], value) for key, value in old.items())
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(tells, new, old))
    return new == old


def table(runs: Path, name: str) -> list[str]:
    with closing(sqlite3.connect(runs / "optuna.db")) as connection:
        return [column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")]


def keys_in(runs: Path, owner: str, kind: str) -> set[str]:
    with closing(sqlite3.connect(runs / "optuna.db")) as connection:
        found = {key for (key,) in connection.execute(f"SELECT key FROM {owner}_{kind}_attributes")}
    return {key.partition(":")[0] if key.startswith(("artifacts:", "dashboard:")) else key for key in found}


def goes_on(folder: Path, runs: str) -> None:
    """`optimize run` adds four trainings, repeats among them; the earlier trials stay as they are."""
    with opened(folder / runs) as stored:
        before = stored.records()
    ended = optimize(folder, "run", *STUDY, "--trust", "--slots", "1", "--trials", "16", *HERE, "--runs", runs)
    assert "goes on after 12 trials, best val_bpb 0.276284 in trial 5" in ended.stderr
    with opened(folder / runs) as stored:
        after = stored.records()
    assert after[: len(before)] == before
    assert Counter(record.state for record in after[len(before) :]).keys() <= {"COMPLETE", "PRUNED", "FAIL"}
    with opened(folder / runs, "small/confirm") as stored:
        repeats = [record for record in stored.records() if record.kind == "repeat"]
    assert sum(record.state in ("COMPLETE", "PRUNED") for record in (*after, *repeats)) == 16


def test_the_database_says_the_same(folder: Path) -> None:
    with opened(folder / "runs") as stored:
        new = json.loads(json.dumps(document("runs/optuna.db", [stored], 20)))
    assert tells(new, said(folder))


def test_tables_and_the_best_are_written_again_as_they_were(folder: Path) -> None:
    runs = folder / "runs"
    files = [path for path in sorted((runs / "small").rglob("*")) if path.is_file() and path.name != "settings.json"]
    before = {path: path.read_bytes().replace(CONFIRMED, CONFIRMED + WORD) for path in files}
    assert {path.name for path in files} >= {"results.tsv", "trials.csv", "train.py", "train.patch", "summary.toml"}
    for path in files:
        path.unlink()
    for name in ("small", "small/confirm"):
        with opened(runs, name) as stored:
            write_views(stored)
    assert {path: path.read_bytes() for path in files} == before


def test_a_verdict_is_read(folder: Path) -> None:
    with opened(folder / "runs") as stored:
        verdict, best = stored.verdict(), stored.best()
        assert stored.children() == ["small/confirm"]
    assert verdict is not None
    assert verdict.winner is not None
    assert (verdict.winner.number, verdict.winner.pairs, verdict.repeated) == (WINNER, 2, (WINNER, 6))
    assert verdict.winner.gain == pytest.approx(0.31696)
    assert best is not None
    assert (best.record.number, best.confirmed) == (WINNER, True)


def test_names_in_databases_are_what_they_were(folder: Path, driver: Driver) -> None:
    def one_fails(job) -> Outcome:  # type: ignore[no-untyped-def]
        return Outcome(TrialStatus.CRASHED, 1.0, "it broke") if job.number == 2 else complete(job)

    driver.run(one_fails, trials=4)
    for runs in (folder / "runs", driver.paths.root):
        assert keys_in(runs, "study", "user") - LATER == STUDY_ATTRS
        assert keys_in(runs, "trial", "user") == TRIAL_ATTRS
        assert keys_in(runs, "study", "system") | keys_in(runs, "trial", "system") <= SYSTEM_ATTRS
        with closing(open_database(runs / "optuna.db")) as database:
            trials = [
                trial for name in database.study_names() for trial in database.trials(database.find_study(name) or 0)
            ]
        inside = [trial.user_attrs for trial in trials]
        assert {key for attrs in inside for key in attrs["origin"]} - {"source"} == ORIGIN
        assert {key for attrs in inside for key in attrs.get("ending", ())} - {"device"} == ENDING
        for ours in {LEASES, BACKUPS} if runs.parent == folder else {LEASES}:
            assert table(runs, ours.name) == ours.columns.keys()
    assert {FINGERPRINT, BASELINE, CONSTANTS, ABOUT} == STUDY_ATTRS
    assert {
        STOP,
        FROM,
        CONFIRMATION,
        ADVICE,
        IMPORTED,
        RULES,
        DEVICE_BATCH,
        BESIDE,
        SPACE_FILE,
        PRIOR,
        NOTIFIED,
    } == LATER


@pytest.mark.slow
def test_a_study_goes_on_and_is_confirmed_further(folder: Path) -> None:
    goes_on(folder, "runs")
    seeds = ("--seeds", "3", "--finalists", "2", *HERE)
    ended = optimize(folder, "confirm", *STUDY, "--trust", "--slots", "1", *seeds)
    assert "trial 5 is better than the baseline" in ended.stdout
    with opened(folder / "runs", "small/confirm") as stored:
        assert len(stored.records()) > 6


@pytest.mark.slow
def test_what_only_looks_works(folder: Path) -> None:
    assert "best val_bpb 0.276284 in trial 5, confirmed" in optimize(folder, "status").stdout
    assert tells(json.loads(optimize(folder, "status", "--json").stdout), said(folder))
    shown = optimize(folder, "show", "5").stdout
    assert "val_bpb 0.276284" in shown
    assert "+DEPTH = 5" in shown
    optimize(folder, "report")
    assert "0.276284" in (folder / "runs/small/report.html").read_text()
    optimize(folder, "export", "--trial", "5", "--to", "five")
    assert (folder / "five/train.py").read_text() == (folder / "runs/small/best/train.py").read_text()
    assert "nothing was broken" in optimize(folder, "check", "--repair", *STUDY).stderr


@pytest.mark.slow
def test_a_backup_comes_back_and_goes_on(folder: Path) -> None:
    shutil.rmtree(folder / "runs")
    assert (
        "restored to runs: small, 18 trials, and 6 repeats with other seeds"
        in optimize(folder, "restore", "kept").stderr
    )
    assert tells(json.loads(optimize(folder, "status", "--json").stdout), said(folder))
    goes_on(folder, "runs")


@pytest.mark.slow
def test_a_bundle_opens_and_comes_in_as_a_study(folder: Path) -> None:
    with zipfile.ZipFile(folder / "small-bundle.zip") as archive:
        archive.extractall(folder)
    with opened(folder / "small-bundle") as stored:
        before = stored.records()
        assert json.loads((folder / "small-bundle/small/confirmation.json").read_text())["repeated"] == [WINNER, 6]
        best = stored.best()
        assert best is not None
        assert stored.texts(best.record)["train.py"] == (folder / "runs/small/best/train.py").read_text()
    optimize(folder, "import", "small-bundle/optuna.db", "--study", "archive", "--source-study", "small")
    with closing(open_database(folder / "runs/optuna.db")) as database:
        after = read_records(database, database.find_study("archive") or 0)
    told = [
        (each.number, each.state, each.status, each.value, each.params, each.curve, each.started) for each in before
    ]
    assert told == [
        (each.number, each.state, each.status, each.value, each.params, each.curve, each.started) for each in after
    ]
