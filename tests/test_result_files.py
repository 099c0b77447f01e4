"""What a study leaves on disk for people: kept up to date, at a price that stays small beside the study's own work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from optimize.reporting.files import EVERY_S, SHARE, ResultFiles
from optimize.reporting.shown_study import ShownStudy
from optimize.study.stored import find_study
from storage import TrialRecord, open_database
from tests.databases import empty_database

ONE = TrialRecord(0, 1, "PRUNED", "diverged", {"DEPTH": 2}, kind="baseline")


class Clock:
    """The time of a test: it passes when something is said to take long."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("optimize.reporting.files.time", clock)
    return clock


def views(folder: Path, clock: Clock | None = None, slow_s: float = 0.0) -> ResultFiles:
    database = open_database(empty_database(folder))
    database.create_study("s", "minimize", "val_bpb", {})
    stored = find_study(database, "s", folder)
    stored.paths.create()

    def records() -> Sequence[TrialRecord]:
        if clock:
            clock.now_s += slow_s  # as a long study takes
        return [ONE]

    return ResultFiles(ShownStudy(stored, records, print))


def test_the_tables_are_there_from_the_first_tick_on(tmp_path: Path) -> None:
    views(tmp_path).on_tick()
    assert "diverged" in (tmp_path / "s" / "results.tsv").read_text()


def written_again(kept: ResultFiles, table: Path) -> bool:
    """Whether a trial that ends now makes them anew."""
    table.unlink()
    kept.on_trial_end(ONE)
    kept.on_tick()
    again = table.exists()
    table.touch()
    return again


def test_they_are_not_rewritten_at_every_trial(tmp_path: Path, clock: Clock) -> None:
    kept, table = views(tmp_path, clock), tmp_path / "s" / "results.tsv"
    kept.on_tick()
    assert not written_again(kept, table)
    clock.now_s += EVERY_S
    assert written_again(kept, table)
    assert not written_again(kept, table)
    table.unlink()
    kept.write()
    assert table.exists()


def test_the_longer_writing_them_takes_the_less_often_it_is_done(tmp_path: Path, clock: Clock) -> None:
    slow_s = 2 * EVERY_S / SHARE
    kept, table = views(tmp_path, clock, slow_s), tmp_path / "s" / "results.tsv"
    kept.write()
    clock.now_s += SHARE * slow_s - 1
    assert not written_again(kept, table)
    clock.now_s += 1
    assert written_again(kept, table)
