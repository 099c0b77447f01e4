"""The hook for MLflow: what its own client reads back, and what a server that is not there costs."""

from __future__ import annotations

import socket
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from optimize.config.environment import tracking_uri
from optimize.errors import OptimizeError
from optimize.reporting.trackers import open_tracker
from optimize.trial import Metric
from storage import StudyPaths
from tests.finished import BEGUN, CURVE, record, runs_of, study_paths

# MLflow's own
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    return study_paths(tmp_path)


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


def test_mlflow_reads_metric_summary_curve_and_parameters(paths: StudyPaths, manners: None) -> None:
    from mlflow import MlflowClient

    hook = open_tracker("mlflow", paths, Metric(), None)
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


def test_mlflow_gets_each_trial_once_and_a_half_written_one_is_completed(paths: StudyPaths, manners: None) -> None:
    first: Any = open_tracker("mlflow", paths, Metric(), None)
    first.write(record(0), CURVE)
    half = record(1)
    first._client.create_run(first._experiment, int(BEGUN.timestamp() * 1000) + 20_000, {"optimize.trial": "1"})
    again = open_tracker("mlflow", paths, Metric(), None)
    assert again.has(record(0))
    assert not again.has(half)
    again.write(half, CURVE)
    done, completed = runs_of(paths)
    assert completed.info.status == "FINISHED"
    assert completed.data.metrics == done.data.metrics
    assert not again.has(record(0, started=BEGUN + timedelta(days=1)))  # of a new study of the same name


def test_a_server_that_is_not_there_is_one_line_before_any_trial(paths: StudyPaths, manners: None) -> None:
    with pytest.raises(OptimizeError, match=r"--log mlflow: .*127\.0\.0\.1") as caught:
        open_tracker("mlflow", paths, Metric(), "http://me:secret@127.0.0.1:9")
    assert len(caught.value.problems) == 1
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_is_asked_once_more_and_no_oftener(
    paths: StudyPaths, manners: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OptimizeError, match="--log mlflow"):
            open_tracker("mlflow", paths, Metric(), url)
        assert asked(silent) == 2  # by itself MLflow asks seven times more


def asked(server: socket.socket) -> int:
    """How many connections wait to be accepted."""
    server.setblocking(False)
    for number in count():
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError
