"""Finished trials where people already look, in TensorBoard or MLflow: one small file for each of them.

A hook knows how to write one trial, whole, and whether it is there. When that happens, and that it never ends or delays a
study, is settled here. The database has it all: whatever a hook has missed is written by the next call that has it on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from optimize.errors import OptimizeError
from optimize.reporting.trackers.tracker import Curve, Tracker, reason
from optimize.study.callback import Callback
from optimize.trial import Metric
from storage import Artifacts, StorageError, StudyPaths, TrialRecord

PAUSE_S = 0.5  # of a tick of the loop, for trials that wait
LAST_S = 60.0  # when the study ends


def open_tracker(name: str, paths: StudyPaths, metric: Metric, tracking: str | None) -> Tracker:
    """The hook of that name. `tracking` is MLflow's server; None: a file beside ours. Raises OptimizeError."""
    try:
        if name == "tensorboard":
            from optimize.reporting.trackers.tensorboard import TensorBoard

            return TensorBoard(paths.tensorboard, metric)
        from optimize.reporting.trackers.mlflow import Mlflow

        return Mlflow(tracking, paths, metric)
    except OptimizeError:
        raise
    except Exception as error:  # of a package of somebody else's, or a server that is not there
        raise OptimizeError(f"--log {name}: {reason(error)}. Mend that, or leave it out.") from None


class TrackerCallback(Callback):
    """One hook while a study runs: finished trials wait here, and are written in the pauses of the loop."""

    def __init__(self, name: str, hook: Tracker, artifacts: Artifacts, say: Callable[[str], None]) -> None:
        self._name, self._hook, self._artifacts, self._say = name, hook, artifacts, say
        self._waiting: deque[TrialRecord] = deque()
        self._broken = False

    def begin(self, earlier: Sequence[TrialRecord]) -> None:
        """Trials that ended before this call, and are not there yet, are written as well."""
        self._say(f"{self._name}: {self._hook.where}")
        self._waiting.extend(earlier)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._waiting.append(record)

    def on_tick(self) -> None:
        self._write(PAUSE_S)

    def close(self) -> None:
        """Write what waits, within reason."""
        self._write(LAST_S)
        if self._waiting and not self._broken:
            self._say(f"{self._name}: {len(self._waiting)} trials are not there yet; the next call with it writes them")

    def _write(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._waiting and not self._broken and time.monotonic() < until:
            record = self._waiting.popleft()
            try:
                if not self._hook.has(record):
                    self._hook.write(record, self._curve(record))
            except Exception as error:  # whatever it is: a study does not end for a view
                self._broken = True
                later = "the study goes on without it, and the next call with it writes what is missing"
                self._say(f"{self._name}: trial {record.number}: {reason(error)}; {later}")

    def _curve(self, record: TrialRecord) -> Curve:
        """The whole curve, else the points in the database."""
        try:
            lines = self._artifacts.read(record.trial_id, "curve.csv").splitlines()[1:]
            points = [line.split(",") for line in lines]
            return [(float(fraction), float(loss)) for fraction, loss in points]
        except (StorageError, ValueError):
            return [(percent / 100, loss) for percent, loss in record.curve.items()]
