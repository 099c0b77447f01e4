"""Finished trials in TensorBoard or MLflow, for people who use these already.

A tracker writes one trial as a whole and knows whether it is there. `TrackerCallback` decides when, and makes sure that it never
ends or delays a study. The database has all trials: the next call with the tracker writes what this one missed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from optimize.errors import OptimizeError
from optimize.reporting.trackers.tracker import CurvePoints, Tracker, reason
from optimize.study.callback import Callback
from optimize.text import amount
from optimize.trial import Metric
from storage import Artifacts, StorageError, StudyPaths, TrialRecord

PAUSE_S = 0.5  # that a tick of the loop spends on waiting trials
LAST_S = 60.0  # that the end of a study spends on them


def open_tracker(name: str, paths: StudyPaths, metric: Metric, tracking: str | None) -> Tracker:
    """Open the tracker of that name. Raises OptimizeError, whatever is wrong with it.

    `tracking` is the address of MLflow's server; None stands for a SQLite file beside our database.
    """
    try:
        if name == "tensorboard":
            from optimize.reporting.trackers.tensorboard import TensorBoard

            return TensorBoard(paths.tensorboard, metric)
        from optimize.reporting.trackers.mlflow import Mlflow

        return Mlflow(tracking, paths, metric)
    except OptimizeError:
        raise
    except Exception as error:  # of the package, or of a server that does not answer
        raise OptimizeError(f"--log {name}: {reason(error)}. Correct that, or leave out --log {name}.") from None


class TrackerCallback(Callback):
    """Run one tracker beside a study: finished trials wait here, and are written in the pauses of the loop."""

    def __init__(self, name: str, tracker: Tracker, artifacts: Artifacts, say: Callable[[str], None]) -> None:
        self._name, self._tracker, self._artifacts, self._say = name, tracker, artifacts, say
        self._waiting: deque[TrialRecord] = deque()
        self._broken = False

    def begin(self, earlier: Sequence[TrialRecord]) -> None:
        """Queue trials that ended before this call; those that are missing there are written."""
        self._say(f"{self._name}: {self._tracker.where}")
        self._waiting.extend(earlier)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._waiting.append(record)

    def on_tick(self) -> None:
        self._write(PAUSE_S)

    def close(self) -> None:
        """Write what waits, for a minute at most."""
        self._write(LAST_S)
        if self._waiting and not self._broken:
            self._say(
                f"{self._name}: {amount(len(self._waiting), 'trial')} missing; the next call with --log {self._name} writes them"
            )

    def _write(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._waiting and not self._broken and time.monotonic() < until:
            record = self._waiting.popleft()
            try:
                if not self._tracker.has(record):
                    self._tracker.write(record, self._curve(record))
            except Exception as error:  # whatever it is: a study does not end for a view
                self._broken = True
                later = f"the study goes on without it; the next call with --log {self._name} writes what is missing"
                self._say(f"{self._name}: trial {record.number}: {reason(error)}; {later}")

    def _curve(self, record: TrialRecord) -> CurvePoints:
        """Return the whole curve, else the points in the database."""
        try:
            lines = self._artifacts.read(record.trial_id, "curve.csv").splitlines()[1:]
            points = [line.split(",") for line in lines]
            return [(float(fraction), float(loss)) for fraction, loss in points]
        except (StorageError, ValueError):
            return [(percent / 100, loss) for percent, loss in record.curve.items()]
