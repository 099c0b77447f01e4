"""Finished trials in TensorBoard and MLflow: what these read back, what happens twice, and what a broken one costs."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimize.config.environment import tracking_uri
from optimize.config.plan import unfit_trackers
from optimize.config.settings import load_settings
from optimize.errors import SettingsError
from optimize.reporting.trackers import TrackerCallback
from optimize.reporting.trackers.tracker import CurvePoints, Tracker, reason
from optimize.study.stored import find_study
from storage import Artifacts, Database, TrialRecord, open_database
from tests.conftest import Driver
from tests.databases import empty_database
from tests.finished import record, runs_of, scalars
from tests.forked import run_forked
from tests.test_cli import flags

ROOT = Path(__file__).parent.parent


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with closing(open_database(empty_database(tmp_path))) as database:
        yield database


class Broken:
    """A hook that fails at its second trial."""

    where = "nowhere"

    def __init__(self) -> None:
        self.tried: list[int] = []

    def has(self, record: TrialRecord) -> bool:
        return False

    def write(self, record: TrialRecord, curve: CurvePoints) -> None:
        self.tried.append(record.number)
        if len(self.tried) > 1:
            raise ConnectionError("http://me:secret@host is gone")


def log_of(hook: Tracker, database: Database, folder: Path, said: list[str]) -> TrackerCallback:
    return TrackerCallback("tensorboard", hook, Artifacts(folder / "artifacts", database), said.append)


def test_a_hook_that_fails_costs_one_line_and_is_switched_off(tmp_path: Path, database: Database) -> None:
    hook, said = Broken(), list[str]()
    log = log_of(hook, database, tmp_path, said)
    log.begin([record(0)])
    for number in (1, 2, 3):
        log.on_trial_end(record(number))
        log.on_tick()
    log.close()
    assert hook.tried == [0, 1]
    assert len(said) == 2
    assert "trial 1: http://***@host is gone; the study goes on" in said[1]


def test_what_takes_long_is_spread_over_the_pauses_of_the_loop(tmp_path: Path, database: Database) -> None:
    written: list[int] = []

    class Slow(Broken):
        def write(self, record: TrialRecord, curve: CurvePoints) -> None:
            written.append(record.number)
            time.sleep(0.3)

    log = log_of(Slow(), database, tmp_path, [])
    log.begin([record(number) for number in range(9)])
    log.on_tick()
    assert 1 <= len(written) <= 2  # half a second of it
    log.close()
    assert written == list(range(9))


def test_an_unknown_or_missing_hook_is_named_before_any_trial(driver: Driver) -> None:
    assert unfit_trackers(["tensorboard", "mlflow"]) == []
    driver.set(log=("wandb", "tensorbord"))
    with pytest.raises(SettingsError) as caught:
        _ = driver.plan
    assert len(caught.value.problems) == 2
    assert "Use tensorboard or mlflow" in caught.value.problems[0]


def test_a_package_that_is_not_there_is_one_line_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.config.plan.find_spec", lambda name: None)
    (line,) = unfit_trackers(["mlflow"])
    assert "`pip install 'mlflow-skinny>=3.17,<4'`" in line


def test_flags_and_profile_switch_it_on(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('log = ["mlflow"]\n')
    profile = str(tmp_path / "mine.toml")
    assert load_settings(profile, "", {}, {}).log == ("mlflow",)
    assert load_settings(profile, "", {"log": ["tensorboard"]}, {}).log == ("tensorboard",)
    assert load_settings("cpu", "", {"log": None}, {}).log == ()


def test_mlflows_client_is_taught_manners_unless_somebody_else_has() -> None:
    environ = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
    assert tracking_uri(environ) == "http://127.0.0.1:5000"
    assert environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    assert tracking_uri({}) is None


def test_a_reason_holds_no_password() -> None:
    assert reason(ValueError("https://me:secret@host/path:\n refused.")) == "https://***@host/path: refused"
    assert reason(TimeoutError()) == "TimeoutError"


NETWORK = """\
import sys
def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and not isinstance(arguments[1], (str, bytes)):
        open({file!r}, "a").write(f"{{event}} {{arguments}}\\n")
sys.addaudithook(heard)
"""
OUTSIDE_OF_CI = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, as this reads what is there
def test_a_study_with_both_writes_every_trial_once_and_calls_nobody(driver: Driver) -> None:
    network = NETWORK.format(file=str(driver.folder / "network.txt"))
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE_OF_CI}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(driver.folder / "config")}

    def run(*words: str) -> str:
        argv = ["-c", f"{network}from optimize.__main__ import main\nmain()", "run", "--trust", *flags(driver), *words]
        ended = run_forked(argv, cwd=driver.folder, env=environment, timeout=300)
        ended.check_returncode()
        return ended.stderr

    run("--trials", "4", "--log", "tensorboard")
    said = run("--trials", "6", "--log", "tensorboard", "--log", "mlflow")
    assert "tensorboard --logdir runs/s/tensorboard" in said
    assert "mlflow.store" not in said
    with driver.database() as database:
        records = find_study(database, "s", driver.paths.root).records()
    written = sorted(driver.paths.tensorboard.glob("trial-*/events*"))
    assert len(written) == len(records) == 6
    found = runs_of(driver.paths)
    assert [run.data.tags["optimize.trial"] for run in found] == [str(record.number) for record in records]
    assert [run.data.metrics.get("val_bpb") for run in found] == [record.value for record in records]
    curve = scalars(driver.paths.tensorboard / "trial-0000")["train_loss"]
    assert [step for step, _, _ in curve] == [250, 500, 750, 1000]
    assert not (driver.folder / "network.txt").exists()
