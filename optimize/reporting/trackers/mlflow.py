"""Trials for MLflow: each one an MLflow run with parameters, metric, summary and learning curve, in an experiment of the study.

They go to the server of MLFLOW_TRACKING_URI, or to MLflow's own SQLite file beside our database. An MLflow run that a dead
driver left half written is completed, not written twice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime
from shlex import quote

from mlflow import MlflowClient
from mlflow.entities import Metric as Point
from mlflow.entities import Param, Run, RunStatus

from optimize.errors import OptimizeError
from optimize.reporting.trackers.tracker import CurvePoints, reason
from optimize.trial import Metric, TrialStatus
from storage import StudyPaths, TrialRecord

STEPS = 1000  # of a learning curve: the whole budget, whatever its unit
MOST_PARAMS, MOST_POINTS = 100, 1000  # of one request
NUMBER = "optimize.trial"
ENDED_EARLY = (TrialStatus.HOPELESS, TrialStatus.TIMED_OUT, TrialStatus.CANCELLED)


class Mlflow:
    """Write the trials of one study to its MLflow experiment."""

    def __init__(self, tracking: str | None, paths: StudyPaths, metric: Metric) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs each table that it makes
        self._metric, self._study = metric, paths.study
        self._client = MlflowClient(tracking_uri=tracking or f"sqlite:///{paths.mlflow.resolve()}")
        # MLflow needs a place for artifacts, though none are written; a server has its own
        place = None if tracking else (paths.root / "mlflow-artifacts").resolve().as_uri()
        self._experiment = self._find_or_create(paths.study, place)
        self._runs = {_key(run): run.info for run in self._all_runs()}
        server = f"experiment {paths.study} at {reason(Exception(tracking))}" if tracking else ""
        self.where = (
            server
            or f"{paths.mlflow} (to view it: `mlflow ui --backend-store-uri {quote(f'sqlite:///{paths.mlflow}')}`)"
        )

    def has(self, record: TrialRecord) -> bool:
        run = self._runs.get((_ms(record.started), str(record.number)))
        return run is not None and RunStatus.is_terminated(RunStatus.from_string(run.status))

    def write(self, record: TrialRecord, curve: CurvePoints) -> None:
        known = self._runs.get((_ms(record.started), str(record.number)))
        run = known.run_id if known else self._create_run(record)
        params = [Param(name, str(value)) for name, value in record.params.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run, params=params[first : first + MOST_PARAMS])
        self._client.log_batch(run, metrics=list(self._points(record, curve))[:MOST_POINTS])
        self._client.set_terminated(run, _ended(record), _ms(record.finished))

    def _create_run(self, record: TrialRecord) -> str:
        name, tags = f"trial {record.number}", _tags(record, self._study)
        run = self._client.create_run(self._experiment, start_time=_ms(record.started), run_name=name, tags=tags)
        return str(run.info.run_id)

    def _points(self, record: TrialRecord, curve: CurvePoints) -> Iterator[Point]:
        begun, ended = _ms(record.started), _ms(record.finished)
        if record.value is not None:
            yield Point(_name(self._metric.name), record.value, ended, 0)
        if record.seconds is not None:
            yield Point("seconds", record.seconds, ended, 0)
        for key, value in record.summary.items():
            if not isinstance(value, str) and key != self._metric.name:
                yield Point(f"summary/{_name(key)}", float(value), ended, 0)
        for fraction, loss in curve:
            yield Point("train_loss", loss, int(begun + fraction * (ended - begun)), round(STEPS * fraction))

    def _find_or_create(self, study: str, place: str | None) -> str:
        found = self._client.get_experiment_by_name(study)
        if found is None:
            return str(self._client.create_experiment(study, artifact_location=place))
        if found.lifecycle_stage != "active":
            raise OptimizeError(
                f"--log mlflow: MLflow has deleted the experiment {study}. Restore it there, or use another --study."
            )
        return str(found.experiment_id)

    def _all_runs(self) -> Iterator[Run]:
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token or None)
            yield from page
            token = page.token or None


def _key(run: Run) -> tuple[int, str]:
    """Return what identifies a trial: one of the same number in a deleted study of this name began at another time."""
    return run.info.start_time, run.data.tags.get(NUMBER, "")


def _tags(record: TrialRecord, study: str) -> dict[str, str]:
    known = {
        NUMBER: str(record.number),
        "optimize.study": study,
        "optimize.status": record.status,
        "optimize.reason": record.reason,
        "optimize.kind": record.kind,
        "optimize.source": record.source,
        "optimize.device": record.device,
        "optimize.taken_from": record.taken_from,
    }
    return {key: value for key, value in known.items() if value}


def _ended(record: TrialRecord) -> str:
    if record.state == "COMPLETE":
        return "FINISHED"
    return "KILLED" if record.status in ENDED_EARLY else "FAILED"


def _name(key: str) -> str:
    """Return the name of a figure with the characters that MLflow allows."""
    return re.sub(r"[^\w\- ]", "_", key)


def _ms(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment else 0
