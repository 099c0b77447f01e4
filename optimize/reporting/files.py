"""The files of a study for people: results.tsv, trials.csv and best/, rewritten whole from the database.

All of them can be made again at any time; nothing is read back from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from optimize.confirm.verdict import Verdict
from optimize.errors import StudyError
from optimize.reporting.shown_study import ShownStudy
from optimize.study.best import BestTrial
from optimize.study.callback import Callback
from optimize.study.left_files import CURVE, LOG, to_take_away
from optimize.study.stored import StoredStudy
from optimize.trial import Metric
from storage import (
    StorageError,
    StudyPaths,
    Tables,
    TrialRecord,
    check_place,
    write_best,
    write_results,
    write_trials,
)

EVERY_S = 5.0
SHARE = 20  # the loop spends at most one part in so many of its time on these files
NOT_IN_BEST = (LOG, CURVE)


class ResultFiles(Callback):
    """Keep the files of one study up to date: every five seconds, less often where writing them takes long."""

    def __init__(self, shown: ShownStudy) -> None:
        self._shown, self._said = shown, ""
        self._stale = True
        self._due = 0.0
        self._exported: BestTrial | None = None  # what lies in best/

    def on_trial_end(self, record: TrialRecord) -> None:
        self._stale = True

    def on_verdict(self, verdict: Verdict) -> None:
        self._stale = True

    def on_tick(self) -> None:
        if self._stale and time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Rewrite the tables, and best/ where another trial is the best.

        What cannot be written is said once, and is no error: the database has it all.
        """
        started = time.monotonic()
        try:
            if not self._shown.is_ours():
                return
            self._rewrite()
        except StorageError as error:
            if str(error) != self._said:
                self._said = str(error)
                self._shown.say(f"{error} (the study goes on)")
        now = time.monotonic()
        self._due = now + max(EVERY_S, SHARE * (now - started))

    def _rewrite(self) -> None:
        stored, records = self._shown.stored, self._shown.records()
        best = stored.best(records)
        write_tables(stored.paths, records, stored.metric)
        if best is not None and best != self._exported:
            write_best_folder(stored, best)
        self._exported, self._stale = best, False


def write_views(
    stored: StoredStudy, say: Callable[[str], None] = lambda line: None, set_aside: bool = False
) -> Sequence[Path]:
    """Write the tables and best/ of a stored study; return the paths.

    Raises StorageError if the tables there hold trials that the database lacks. `set_aside` renames them, and says so.
    """
    stored.paths.create()
    before, records = Tables(stored.paths), stored.records()
    for line in before.protect(records, stored.database.where, set_aside):
        say(line)
    best, tables = stored.best(records), write_tables(stored.paths, records, stored.metric)
    folder = [write_best_folder(stored, best)] if best else []
    return [*tables, *folder]


def refuse_unwritable(folder: Path, instead: str) -> None:
    """Raise StudyError if nothing can be written in this folder; `instead` is the command that writes elsewhere."""
    try:
        check_place(folder / "any")
    except StorageError:
        raise StudyError(f"{folder}: not writable. Write elsewhere: {instead}") from None


def write_tables(paths: StudyPaths, records: Sequence[TrialRecord], metric: Metric) -> Sequence[Path]:
    """Write results.tsv and trials.csv of the finished trials; return their paths."""
    finished = [record for record in records if record.is_finished]
    write_results(paths.results_tsv, finished, metric=metric.name, direction=metric.direction)
    write_trials(paths.trials_csv, finished, metric=metric.name)
    return [paths.results_tsv, paths.trials_csv]


def write_best_folder(stored: StoredStudy, best: BestTrial) -> Path:
    """Write best/ from the files that the best trial left, with how sure it is; return its path."""
    files = to_take_away(stored.texts(best.record), best.record)
    texts = {name: text for name, text in files.items() if name not in NOT_IN_BEST}
    write_best(stored.paths.best, texts, best.record, metric=stored.metric.name, more=best.attrs())
    return stored.paths.best
