"""What a study leaves on disk for people: results.tsv, trials.csv and best/, rewritten whole from the database.

Every one of them can be made again at any time; nothing is read back from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from optimize.trial import Metric
from optimize.watch import Watch
from storage import Artifacts, StudyPaths, TrialRecord, best_record, write_best, write_results, write_trials

EVERY_S = 5.0
NOT_IN_BEST = ("log.txt", "curve.csv")


class Views(Watch):
    """Keeps the files of one study up to date: at most every five seconds, and when `write` is called."""

    def __init__(
        self,
        paths: StudyPaths,
        metric: Metric,
        records: Callable[[], Sequence[TrialRecord]],
        artifacts: Artifacts,
    ) -> None:
        self._paths, self._metric, self._records, self._artifacts = paths, metric, records, artifacts
        self._stale = True
        self._written = 0.0
        self._exported: int | None = None  # the trial that lies in best/

    def on_trial_end(self, record: TrialRecord) -> None:
        self._stale = True

    def on_tick(self) -> None:
        if self._stale and time.monotonic() - self._written >= EVERY_S:
            self.write()

    def write(self) -> None:
        """Rewrite the tables, and best/ where the best trial is another than the one that lies there."""
        records = self._records()
        best = best_record(records, self._metric.direction)
        _write_tables(self._paths, records, self._metric)
        if best is not None and best.number != self._exported:
            _write_best(self._paths, best, self._metric, self._artifacts)
            self._exported = best.number
        self._stale, self._written = False, time.monotonic()


def write_views(
    paths: StudyPaths, records: Sequence[TrialRecord], metric: Metric, artifacts: Artifacts
) -> Sequence[Path]:
    """Everything, once; returns what was written."""
    best = best_record(records, metric.direction)
    _write_tables(paths, records, metric)
    if best is None:
        return [paths.results_tsv, paths.trials_csv]
    _write_best(paths, best, metric, artifacts)
    return [paths.results_tsv, paths.trials_csv, paths.best]


def _write_tables(paths: StudyPaths, records: Sequence[TrialRecord], metric: Metric) -> None:
    write_results(paths.results_tsv, records, metric=metric.name, direction=metric.direction)
    write_trials(paths.trials_csv, records, metric=metric.name)


def _write_best(paths: StudyPaths, best: TrialRecord, metric: Metric, artifacts: Artifacts) -> None:
    names = [name for name in artifacts.names(best.trial_id) if name not in NOT_IN_BEST]
    texts = {name: artifacts.read(best.trial_id, name) for name in names}
    write_best(paths.best, texts, best, metric=metric.name)
