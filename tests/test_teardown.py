"""A signal after the summary takes no result away; one before it, or any other exit code, is a crash."""

from __future__ import annotations

import signal

import pytest

from optimize.runner.diagnosis import Exit, diagnose
from optimize.trial import Metric, TrialStatus

RESULT = "step 00100 (100.0%) | loss: 2.1\n---\nval_bpb:          2.500000\n"
ABORTS = [-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL, 128 + signal.SIGABRT, 128 + signal.SIGSEGV]


@pytest.mark.parametrize("code", ABORTS)
@pytest.mark.parametrize(
    "after", ["", "terminate called without an active exception\n", "Fatal Python error: Aborted\n", "\n\n"]
)
def test_a_signal_in_the_teardown_takes_no_result_away(code: int, after: str) -> None:
    outcome = diagnose(RESULT + after, Exit(code, 1.0), Metric())
    assert (outcome.status, outcome.summary["val_bpb"]) == (TrialStatus.COMPLETE, 2.5)
    assert "after its summary" in outcome.reason


@pytest.mark.parametrize("code", ABORTS)
def test_a_signal_before_the_result_is_whole_is_a_crash(code: int) -> None:
    assert diagnose(RESULT.rstrip("\n"), Exit(code, 1.0), Metric()).status is not TrialStatus.COMPLETE
    goes_on = RESULT + "step 00200 (20.0%) | loss: 2.0\n"
    assert diagnose(goes_on, Exit(code, 1.0), Metric()).status is not TrialStatus.COMPLETE
    assert diagnose("step 1 (1.0%) | loss: 3\n", Exit(code, 1.0), Metric()).status is not TrialStatus.COMPLETE


def test_an_exit_code_that_is_no_signal_is_a_crash_after_the_result_as_before_it() -> None:
    for code in (1, 2, 127, 128, 255):
        assert diagnose(RESULT, Exit(code, 1.0), Metric()).status is TrialStatus.CRASHED
