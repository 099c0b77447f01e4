"""What is left of a trial whose guardian died: its own record of its end counts before anybody's guess."""

from __future__ import annotations

from pathlib import Path

from optimize.runner.diagnosis import Exit
from optimize.runner.workdir import recover_outcome, write_exit
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
