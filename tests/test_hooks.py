"""Finished trials in TensorBoard and MLflow: what these read back, what happens twice, and what a broken one costs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import OptimizeError, SettingsError
from optimize.hooks import Curve, Hook, TrialLog, open_hook, reason, unfit
from optimize.settings import load_settings, tracking_uri
from optimize.stored_study import find_study
from optimize.trial import Metric
from storage import Artifacts, Database, StudyPaths, TrialRecord, open_database
from tests.conftest import Driver
from tests.databases import empty_database

ROOT = Path(__file__).parent.parent
BEGUN = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)
SUMMARY = {"val_bpb": 1.5, "num_steps": 40.0, "dtype": "bf16", "mfu (%)": 3.0}
CURVE = [(0.1, 3.0), (0.5, 2.5), (1.0, 2.0)]


def record(number: int, **changes: Any) -> TrialRecord:
    known: dict[str, Any] = {
        "state": "COMPLETE",
        "status": "complete",
        "params": {"DEPTH": 4, "LR": 0.02, "BETAS": "(0.8, 0.95)", "BIAS": True},
        "value": 1.5,
        "seconds": 10.0,
        "summary": SUMMARY,
        "curve": {10: 3.0, 50: 2.5},
        "started": BEGUN + timedelta(seconds=20 * number),
        "finished": BEGUN + timedelta(seconds=20 * number + 10),
    }
    return TrialRecord(number, number + 1, **(known | changes))


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    found = StudyPaths(tmp_path / "a folder #1 with 100%", "s")
    found.create()
    return found


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

    def write(self, record: TrialRecord, curve: Curve) -> None:
        self.tried.append(record.number)
        if len(self.tried) > 1:
            raise ConnectionError("http://me:secret@host is gone")


def log_of(hook: Hook, database: Database, folder: Path, said: list[str]) -> TrialLog:
    return TrialLog("tensorboard", hook, Artifacts(folder / "artifacts", database), said.append)


# --- when a trial is written --------------------------------------------------------------------------------------------


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
        def write(self, record: TrialRecord, curve: Curve) -> None:
            written.append(record.number)
            time.sleep(0.3)

    log = log_of(Slow(), database, tmp_path, [])
    log.begin([record(number) for number in range(9)])
    log.on_tick()
    assert 1 <= len(written) <= 2  # half a second of it
    log.close()
    assert written == list(range(9))


def test_an_unknown_or_missing_hook_is_named_before_any_trial(driver: Driver) -> None:
    assert unfit(["tensorboard", "mlflow"]) == []
    driver.set(log=("wandb", "tensorbord"))
    with pytest.raises(SettingsError) as caught:
        _ = driver.plan
    assert len(caught.value.problems) == 2
    assert "Use tensorboard or mlflow" in caught.value.problems[0]


def test_a_package_that_is_not_there_is_one_line_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.hooks.find_spec", lambda name: None)
    (line,) = unfit(["mlflow"])
    assert ".venv/bin/pip install -c constraints.txt -e '.[mlflow]'" in line


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


# --- TensorBoard --------------------------------------------------------------------------------------------------------


def scalars(run: Path) -> dict[str, list[tuple[int, float, float]]]:
    """What TensorBoard reads from a folder: tag -> (step, value, moment)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run))
    found.Reload()
    return {tag: [(e.step, e.value, e.wall_time) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def sessions(run: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    found = EventAccumulator(str(run))
    found.Reload()
    content = found.PluginTagToContent(metadata.PLUGIN_NAME)
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data) for tag, data in content.items()}


def test_tensorboard_reads_metric_summary_curve_and_parameters(paths: StudyPaths) -> None:
    hook = open_hook("tensorboard", paths, Metric(), None)
    assert not hook.has(record(7))
    hook.write(record(7), CURVE)
    assert hook.has(record(7))
    run = paths.tensorboard / "trial-0007"
    found = scalars(run)
    assert {tag: [point[:2] for point in points] for tag, points in found.items()} == {
        "val_bpb": [(7, 1.5)],
        "z_summary/seconds": [(7, 10.0)],
        "z_summary/num_steps": [(7, 40.0)],
        "z_summary/mfu (%)": [(7, 3.0)],
        "train_loss": [(100, 3.0), (500, 2.5), (1000, 2.0)],
    }
    assert found["train_loss"][1][2] == BEGUN.timestamp() + 145
    columns = sessions(run)["_hparams_/experiment"].experiment
    assert [each.display_name for each in columns.metric_infos] == ["val_bpb", "seconds"]
    assert [each.name for each in columns.hparam_infos] == ["DEPTH", "LR", "BETAS", "BIAS"]
    start, end = (sessions(run)[f"_hparams_/session_{which}_info"] for which in ("start", "end"))
    assert {name: value.WhichOneof("kind") for name, value in start.session_start_info.hparams.items()} == {
        "DEPTH": "number_value",
        "LR": "number_value",
        "BETAS": "string_value",
        "BIAS": "bool_value",
    }
    assert start.session_start_info.group_name == "trial-0007"
    assert end.session_end_info.status == 1  # success


def test_tensorboard_gets_each_trial_once_and_a_new_study_of_the_name_its_own(paths: StudyPaths) -> None:
    hook = open_hook("tensorboard", paths, Metric(), None)
    for _ in range(2):
        hook.write(record(0), CURVE)
    files = list((paths.tensorboard / "trial-0000").iterdir())
    assert len(files) == 1
    later = record(0, started=BEGUN + timedelta(days=1), finished=BEGUN + timedelta(days=1, seconds=9))
    assert not hook.has(later)
    hook.write(later, [])
    assert len(list((paths.tensorboard / "trial-0000").iterdir())) == 1


def test_a_failed_trial_has_no_metric_but_its_parameters_and_curve(paths: StudyPaths) -> None:
    hook = open_hook("tensorboard", paths, Metric(), None)
    hook.write(record(3, state="FAIL", status="crashed", value=None, summary={}, seconds=None), CURVE[:1])
    run = paths.tensorboard / "trial-0003"
    assert set(scalars(run)) == {"train_loss"}
    assert sessions(run)["_hparams_/session_end_info"].session_end_info.status == 2  # failure


# --- MLflow -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def manners(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the session sets it up, but undone after the test."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    environ: dict[str, str] = {}
    tracking_uri(environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def runs_of(paths: StudyPaths) -> Sequence[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{paths.mlflow}")
    experiment = client.get_experiment_by_name(paths.study)
    assert experiment is not None
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: int(run.data.tags["optimize.trial"]))


mlflow_warns = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own making


@pytest.mark.slow
@mlflow_warns
def test_mlflow_reads_metric_summary_curve_and_parameters(paths: StudyPaths, manners: None) -> None:
    from mlflow import MlflowClient

    hook = open_hook("mlflow", paths, Metric(), None)
    hook.write(record(0), CURVE)
    hook.write(record(1, state="PRUNED", status="hopeless", reason="cut", value=None, summary={}), CURVE[:2])
    hook.write(record(2, state="FAIL", status="crashed", value=None, params={f"P{n}": n for n in range(150)}), [])
    done, cut, crashed = runs_of(paths)
    assert done.info.run_name == "trial 0"
    assert (done.info.status, cut.info.status, crashed.info.status) == ("FINISHED", "KILLED", "FAILED")
    assert done.data.params == {"DEPTH": "4", "LR": "0.02", "BETAS": "(0.8, 0.95)", "BIAS": "True"}
    assert done.data.metrics == {
        "val_bpb": 1.5, "seconds": 10.0, "summary/num_steps": 40.0, "summary/mfu ___": 3.0, "train_loss": 2.0,
    }  # fmt: skip
    assert cut.data.tags["optimize.reason"] == "cut"
    assert "val_bpb" not in cut.data.metrics
    assert len(crashed.data.params) == 150
    history = MlflowClient(tracking_uri=f"sqlite:///{paths.mlflow}").get_metric_history(done.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == [(100, 3.0), (500, 2.5), (1000, 2.0)]
    assert done.info.start_time == BEGUN.timestamp() * 1000
    assert done.info.end_time == (BEGUN.timestamp() + 10) * 1000


@pytest.mark.slow
@mlflow_warns
def test_mlflow_gets_each_trial_once_and_a_half_written_one_is_completed(paths: StudyPaths, manners: None) -> None:
    first: Any = open_hook("mlflow", paths, Metric(), None)
    first.write(record(0), CURVE)
    half = record(1)
    first._client.create_run(first._experiment, int(BEGUN.timestamp() * 1000) + 20_000, {"optimize.trial": "1"})
    again = open_hook("mlflow", paths, Metric(), None)
    assert again.has(record(0))
    assert not again.has(half)
    again.write(half, CURVE)
    done, completed = runs_of(paths)
    assert completed.info.status == "FINISHED"
    assert completed.data.metrics == done.data.metrics
    assert not again.has(record(0, started=BEGUN + timedelta(days=1)))  # of a new study of the same name


@pytest.mark.slow
@mlflow_warns
def test_a_server_that_is_not_there_is_one_line_before_any_trial(paths: StudyPaths, manners: None) -> None:
    with pytest.raises(OptimizeError, match=r"--log mlflow: .*127\.0\.0\.1") as caught:
        open_hook("mlflow", paths, Metric(), "http://me:secret@127.0.0.1:9")
    assert len(caught.value.problems) == 1
    assert "secret" not in str(caught.value)


@pytest.mark.slow
@mlflow_warns
def test_a_server_that_never_answers_costs_seconds_not_minutes(
    paths: StudyPaths, manners: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optimize.hooks.mlflow  # noqa: F401  which takes a while, and is not what is measured

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before, url = time.monotonic(), f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OptimizeError, match="--log mlflow"):
            open_hook("mlflow", paths, Metric(), url)
    assert time.monotonic() - before < 110  # by itself it waits 120 for an answer, and asks seven times more


# --- the whole command --------------------------------------------------------------------------------------------------

NETWORK = """\
import sys
def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and not isinstance(arguments[1], (str, bytes)):
        open({file!r}, "a").write(f"{{event}} {{arguments}}\\n")
sys.addaudithook(heard)
"""
OUTSIDE_OF_CI = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")


@pytest.mark.slow
def test_a_study_with_both_writes_every_trial_once_and_calls_nobody(driver: Driver) -> None:
    (driver.folder / "sitecustomize.py").write_text(NETWORK.format(file=str(driver.folder / "network.txt")))
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE_OF_CI}
    environment |= {"PYTHONPATH": f"{driver.folder}:{ROOT}", "XDG_CONFIG_HOME": str(driver.folder / "config")}
    flags = [
        "run",
        "--trust",
        "--profile",
        "./profile.toml",
        "--workload",
        "./workload",
        "--space",
        "./space.toml",
        "--study",
        "s",
    ]

    def run(*words: str) -> str:
        argv = [sys.executable, "-m", "optimize", *flags, *words]
        ended = subprocess.run(
            argv, cwd=driver.folder, env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        return ended.stderr

    run("--trials", "3", "--log", "tensorboard")
    said = run("--trials", "5", "--log", "tensorboard", "--log", "mlflow")
    assert "tensorboard --logdir runs/s/tensorboard" in said
    assert "mlflow.store" not in said
    run("--trials", "6", "--log", "tensorboard", "--log", "mlflow")
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
