"""Trials for TensorBoard: a folder each, with parameters, metric, summary and learning curve, for its views SCALARS and HPARAMS.

A trial's file is put there whole, by a rename, so that who looks sees all of it or nothing. No thread, no torch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from optimize.hooks import Curve
from optimize.trial import Metric
from storage import TrialRecord, replace_folder

VERSION = "brain.Event:2"  # what an event file begins with
STEPS = 1000  # of a learning curve: the whole budget, whatever it is


class TensorBoard:
    """The folder of one study's trials."""

    def __init__(self, folder: Path, metric: Metric) -> None:
        self._folder, self._metric = folder, metric
        self.where = f"{folder} (to look at it: tensorboard --logdir {folder})"

    def has(self, record: TrialRecord) -> bool:
        return (self._run(record) / _file_name(record)).exists()

    def write(self, record: TrialRecord, curve: Curve) -> None:
        file = io.BytesIO()
        records = RecordWriter(file)
        for event in self._events(record, curve):
            records.write(event.SerializeToString())
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_folder(self._run(record), {_file_name(record): file.getvalue()})

    def _run(self, record: TrialRecord) -> Path:
        return self._folder / f"trial-{record.number:04}"

    def _events(self, record: TrialRecord, curve: Curve) -> Iterator[Event]:
        begun, ended = _moments(record)
        yield Event(wall_time=begun, file_version=VERSION)
        yield _hparams(
            begun, metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=_start(record, begun))
        )
        for fraction, loss in curve:
            yield _scalar(begun + fraction * (ended - begun), "train_loss", loss, round(STEPS * fraction))
        for tag, value in self._results(record):
            yield _scalar(ended, tag, value, record.number)  # side by side, a point for each trial: the search
        success = Status.STATUS_SUCCESS if record.state == "COMPLETE" else Status.STATUS_FAILURE
        end = SessionEndInfo(status=success, end_time_secs=ended)
        yield _hparams(ended, metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))

    def _results(self, record: TrialRecord) -> Iterator[tuple[str, float]]:
        if record.value is not None:
            yield self._metric.name, record.value
        if record.seconds is not None:
            yield "seconds", record.seconds
        for key, value in record.summary.items():
            if not isinstance(value, str) and key != self._metric.name:
                yield f"summary/{key}", value


def _file_name(record: TrialRecord) -> str:
    """Another trial of this number, of a study that was deleted meanwhile, began at another time."""
    return f"events.out.tfevents.{int(_moments(record)[0])}.optimize"


def _moments(record: TrialRecord) -> tuple[float, float]:
    begun = record.started.timestamp() if record.started else 0.0
    return begun, record.finished.timestamp() if record.finished else begun


def _start(record: TrialRecord, begun: float) -> SessionStartInfo:
    start = SessionStartInfo(start_time_secs=begun, group_name=f"trial {record.number}")
    for name, value in record.params.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    return start


def _scalar(moment: float, tag: str, value: float, step: int) -> Event:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=moment, step=step, summary=summary)


def _hparams(moment: float, tag: str, data: HParamsPluginData) -> Event:
    about = metadata.create_summary_metadata(data)
    summary = Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
    return Event(wall_time=moment, summary=summary)
