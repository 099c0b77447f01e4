"""A trial's folder: how it is measured and removed, and what it tells of a trial whose guardian died."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimize.runner.diagnosis import Exit
from optimize.runner.workdir import folder_bytes, recover_outcome, remove_folder, write_exit
from optimize.trial import Outcome, TrialStatus

LOST = Outcome(TrialStatus.LOST, 7.0, "its guardian died", slot="cpu:0")


def test_a_trial_that_had_ended_is_not_lost(tmp_path: Path) -> None:
    write_exit(tmp_path, Outcome(TrialStatus.COMPLETE, 5.0, summary={"val_bpb": 1.0}), Exit(0, 5.0))
    (tmp_path / "log").write_text("the log")
    found = recover_outcome(tmp_path, LOST)
    assert (found.status, found.summary, found.log) == (TrialStatus.COMPLETE, {"val_bpb": 1.0}, "the log")


def test_a_trial_without_a_record_of_its_end_is_lost_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("the log")
    found = recover_outcome(tmp_path, LOST)
    assert (found.status, found.reason, found.log) == (TrialStatus.LOST, "its guardian died", "the log")


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    assert remove_folder(tmp_path / "absent")


def test_a_folder_that_is_a_link_is_only_unlinked(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    assert remove_folder(tmp_path / "link")
    assert (tmp_path / "precious").exists()


@pytest.mark.slow
def test_a_very_deep_folder_is_measured_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    here = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(1200):
            os.mkdir("deep")  # noqa: PTH102  (an absolute path would be too long)
            os.chdir("deep")
            Path("full").write_bytes(b"x" * 10)  # in memory a folder takes no room
    finally:
        os.chdir(here)
    assert folder_bytes(folder) > 0
    assert remove_folder(folder)


def test_a_folders_size_is_what_it_takes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "full").write_bytes(b"x" * 1_000_000)
    with (tmp_path / "a" / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)
    assert 1_000_000 <= folder_bytes(tmp_path) < 2_000_000
