"""Which trial lies in best/, and what is said of it."""

from __future__ import annotations

import pytest

from optimize.doubts import doubts
from optimize.standing import standing
from optimize.verdict import Finalist, Verdict
from storage import TrialRecord

BASELINE = TrialRecord(0, 100, "COMPLETE", "complete", kind="baseline", value=2.0)


def trial(number: int, value: float | None) -> TrialRecord:
    return TrialRecord(number, 100 + number, "COMPLETE" if value is not None else "PRUNED", value=value, kind="sampler")


def verdict(*finalists: Finalist) -> Verdict:
    return Verdict(finalists, 0.95, 0.01, 0.02)


REAL = Finalist(2, 3, 0.30, 0.2, 0.4, confirmed=True)
LUCKY = Finalist(1, 3, 0.01, -0.1, 0.1, confirmed=False)
RECORDS = [BASELINE, trial(1, 1.5), trial(2, 1.7), trial(3, None)]


def test_without_a_verdict_the_best_value_is_shown_unconfirmed() -> None:
    shown = standing(RECORDS, "minimize", None)
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (1, False)
    assert "never trained with another seed" in shown.why


def test_the_confirmed_winner_is_shown_though_another_finalist_has_a_better_value() -> None:
    shown = standing(RECORDS, "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (2, True)
    assert shown.attrs()["confirmed"] is True
    assert str(shown) == "confirmed: gain +0.300000 (+0.200000 to +0.400000) over the baseline, 3 other seeds"


def test_a_later_trial_with_a_better_value_is_shown_unconfirmed() -> None:
    shown = standing([*RECORDS, trial(4, 1.4)], "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (4, False)
    assert "came after trial 2, which is confirmed" in shown.why


def test_a_later_trial_that_is_worse_than_the_winner_changes_nothing() -> None:
    shown = standing([*RECORDS, trial(4, 1.8)], "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert shown.record.number == 2


def test_without_a_winner_the_best_value_is_shown_with_what_is_known_of_it() -> None:
    shown = standing(RECORDS, "minimize", verdict(LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (1, False)
    assert "not told from luck" in shown.why


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_direction_is_heeded(direction: str) -> None:
    shown = standing([trial(1, 1.0), trial(2, 2.0)], direction, None)
    assert shown is not None
    assert shown.record.number == (1 if direction == "minimize" else 2)


def test_a_baseline_that_nothing_beats_and_a_study_without_a_value() -> None:
    shown = standing([BASELINE, trial(1, 2.5)], "minimize", None)
    assert shown is not None
    assert shown.why == "the baseline: nothing has a better value"
    assert standing([trial(3, None)], "minimize", None) is None


def test_a_training_beyond_its_budget_is_doubted() -> None:
    def used(seconds: float) -> list[str]:
        record = TrialRecord(1, 1, "COMPLETE", value=1.0, summary={"training_seconds": seconds, "eval_tokens": 10.0})
        baseline = TrialRecord(0, 0, "COMPLETE", value=1.0, summary={"training_seconds": 300.0, "eval_tokens": 20.0})
        return doubts(record, baseline, {"training_seconds": 300.0})

    assert used(301.0) == ["eval_tokens 10.0, the baseline's was 20.0"]  # a last step that began in time
    assert used(400.0)[0] == "training_seconds 400, its budget is 300"
