"""Finished trials as hooks are given them, and what TensorBoard and MLflow read back of a study."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from storage import StudyPaths, TrialRecord

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


def study_paths(folder: Path) -> StudyPaths:
    """Of a study in a folder with an awkward name."""
    found = StudyPaths(folder / "a folder #1 with 100%", "s")
    found.create()
    return found


def scalars(run: Path) -> dict[str, list[tuple[int, float, float]]]:
    """What TensorBoard reads from a folder: tag -> (step, value, moment)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run))
    found.Reload()
    return {tag: [(e.step, e.value, e.wall_time) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def runs_of(paths: StudyPaths) -> Sequence[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{paths.mlflow}")
    experiment = client.get_experiment_by_name(paths.study)
    assert experiment is not None
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: int(run.data.tags["optimize.trial"]))
