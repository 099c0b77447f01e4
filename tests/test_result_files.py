"""What a study leaves on disk for people: kept up to date, at a price that stays small beside the study's own work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from optimize.reporting.files import EVERY_S, SHARE, ResultFiles
from optimize.reporting.shown_study import ShownStudy
from optimize.study.stored import find_study
from storage import TrialRecord, open_database
from tests.databases import empty_database

ONE = TrialRecord(0, 1, "PRUNED", "diverged", {"DEPTH": 2}, kind="baseline")


def views(folder: Path, slow_s: float = 0.0) -> ResultFiles:
    database = open_database(empty_database(folder))
    database.create_study("s", "minimize", "val_bpb", {})
    stored = find_study(database, "s", folder)
    stored.paths.create()

    def records() -> Sequence[TrialRecord]:
        time.sleep(slow_s)  # as a long study takes
        return [ONE]

    return ResultFiles(ShownStudy(stored, records, print))


def test_the_tables_are_there_from_the_first_tick_on(tmp_path: Path) -> None:
    views(tmp_path).on_tick()
    assert "diverged" in (tmp_path / "s" / "results.tsv").read_text()


def test_they_are_not_rewritten_at_every_trial(tmp_path: Path) -> None:
    kept = views(tmp_path)
    kept.on_tick()
    (tmp_path / "s" / "results.tsv").unlink()
    kept.on_trial_end(ONE)
    kept.on_tick()
    assert not (tmp_path / "s" / "results.tsv").exists()
    kept.write()
    assert (tmp_path / "s" / "results.tsv").exists()


def test_the_longer_writing_them_takes_the_less_often_it_is_done(tmp_path: Path) -> None:
    kept = views(tmp_path, slow_s=1.2 * EVERY_S / SHARE)
    kept.write()
    assert kept._due - time.monotonic() > EVERY_S
