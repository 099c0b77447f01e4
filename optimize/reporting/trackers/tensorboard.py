"""Trials for TensorBoard: a folder each, with parameters, metric, summary and learning curve, for its views SCALARS and HPARAMS.

A rename puts a trial's folder there, so that TensorBoard sees all of it or nothing. It needs no thread and no torch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from optimize.reporting.trackers.tracker import CurvePoints
from optimize.trial import Metric
from storage import TrialRecord, replace_folder

VERSION = "brain.Event:2"  # what an event file begins with
# The page opens only the first two groups of charts: those of curve and metric, if this name sorts last.
REST = "z_summary"
STEPS = 1000  # of a learning curve: the whole budget, whatever its unit


class TensorBoard:
    """Write the trials of one study into a folder for TensorBoard."""

    def __init__(self, folder: Path, metric: Metric) -> None:
        self._folder, self._metric = folder, metric
        self.where = f"{folder} (to view it: `tensorboard --logdir {quote(str(folder))}`)"

    def has(self, record: TrialRecord) -> bool:
        return (self._run(record) / _file_name(record)).exists()

    def write(self, record: TrialRecord, curve: CurvePoints) -> None:
        file = io.BytesIO()
        records = RecordWriter(file)
        for event in self._events(record, curve):
            records.write(event.SerializeToString())
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_folder(self._run(record), {_file_name(record): file.getvalue()})

    def _run(self, record: TrialRecord) -> Path:
        return self._folder / _name(record)

    def _events(self, record: TrialRecord, curve: CurvePoints) -> Iterator[Event]:
        begun, ended = _moments(record)
        yield Event(wall_time=begun, file_version=VERSION)
        yield _hparams(begun, metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=self._columns(record)))
        yield _hparams(
            begun, metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=_start(record, begun))
        )
        for fraction, loss in curve:
            yield _scalar(begun + fraction * (ended - begun), "train_loss", loss, round(STEPS * fraction))
        for tag, value in self._results(record):
            yield _scalar(ended, tag, value, record.number)  # by number: one chart shows all trials
        success = Status.STATUS_SUCCESS if record.state == "COMPLETE" else Status.STATUS_FAILURE
        end = SessionEndInfo(status=success, end_time_secs=ended)
        yield _hparams(ended, metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))

    def _columns(self, record: TrialRecord) -> Experiment:
        """Return the columns of the table HPARAMS: by default it has one for each figure of the summary, and the metric last."""
        infos = [HParamInfo(name=name, type=_type(value)) for name, value in record.params.items()]
        shown = {self._metric.name: self._metric.name, f"{REST}/seconds": "seconds"}
        metrics = [MetricInfo(name=MetricName(tag=tag), display_name=name) for tag, name in shown.items()]
        return Experiment(hparam_infos=infos, metric_infos=metrics)

    def _results(self, record: TrialRecord) -> Iterator[tuple[str, float]]:
        if record.value is not None:
            yield self._metric.name, record.value
        if record.seconds is not None:
            yield f"{REST}/seconds", record.seconds
        for key, value in record.summary.items():
            if not isinstance(value, str) and key != self._metric.name:
                yield f"{REST}/{key}", value


def _name(record: TrialRecord) -> str:
    return f"trial-{record.number:04}"


def _file_name(record: TrialRecord) -> str:
    """Return a name with the trial's start: one of the same number in a deleted study of this name began at another time."""
    return f"events.out.tfevents.{int(_moments(record)[0])}.optimize"


def _moments(record: TrialRecord) -> tuple[float, float]:
    begun = record.started.timestamp() if record.started else 0.0
    return begun, record.finished.timestamp() if record.finished else begun


def _start(record: TrialRecord, begun: float) -> SessionStartInfo:
    start = SessionStartInfo(start_time_secs=begun, group_name=_name(record))
    for name, value in record.params.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    return start


def _type(value: object) -> DataType:
    if isinstance(value, bool):
        return DataType.DATA_TYPE_BOOL
    return DataType.DATA_TYPE_FLOAT64 if isinstance(value, int | float) else DataType.DATA_TYPE_STRING


def _scalar(moment: float, tag: str, value: float, step: int) -> Event:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=moment, step=step, summary=summary)


def _hparams(moment: float, tag: str, data: HParamsPluginData) -> Event:
    about = metadata.create_summary_metadata(data)
    summary = Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
    return Event(wall_time=moment, summary=summary)
