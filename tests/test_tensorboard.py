"""The hook for TensorBoard: what its own reader finds in the files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimize.reporting.trackers import open_tracker
from optimize.trial import Metric
from storage import StudyPaths
from tests.finished import BEGUN, CURVE, record, scalars, study_paths


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    return study_paths(tmp_path)


def sessions(run: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    found = EventAccumulator(str(run))
    found.Reload()
    content = found.PluginTagToContent(metadata.PLUGIN_NAME)
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data) for tag, data in content.items()}


def test_tensorboard_reads_metric_summary_curve_and_parameters(paths: StudyPaths) -> None:
    hook = open_tracker("tensorboard", paths, Metric(), None)
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
    hook = open_tracker("tensorboard", paths, Metric(), None)
    for _ in range(2):
        hook.write(record(0), CURVE)
    files = list((paths.tensorboard / "trial-0000").iterdir())
    assert len(files) == 1
    later = record(0, started=BEGUN + timedelta(days=1), finished=BEGUN + timedelta(days=1, seconds=9))
    assert not hook.has(later)
    hook.write(later, [])
    assert len(list((paths.tensorboard / "trial-0000").iterdir())) == 1


def test_a_failed_trial_has_no_metric_but_its_parameters_and_curve(paths: StudyPaths) -> None:
    hook = open_tracker("tensorboard", paths, Metric(), None)
    hook.write(record(3, state="FAIL", status="crashed", value=None, summary={}, seconds=None), CURVE[:1])
    run = paths.tensorboard / "trial-0003"
    assert set(scalars(run)) == {"train_loss"}
    assert sessions(run)["_hparams_/session_end_info"].session_end_info.status == 2  # failure
