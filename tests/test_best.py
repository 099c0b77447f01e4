"""Which trial lies in best/, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimize.confirm.campaign import VerdictState
from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Finalist, Verdict
from optimize.study.best import find_best
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
    shown = find_best(RECORDS, "minimize", None)
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (1, False)
    assert "never trained with another seed" in shown.why


def test_the_confirmed_winner_is_shown_though_another_finalist_has_a_better_value() -> None:
    shown = find_best(RECORDS, "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (2, True)
    assert shown.attrs()["confirmed"] is True
    assert str(shown) == "confirmed: gain +0.300000 (+0.200000 to +0.400000) over the baseline, 3 other seeds"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.4, "the best single value, 1.400000, is that of trial 4, a candidate: never trained with another seed"),
        (
            1.6,
            "with other seeds its gain is +0.010000; trial 4, 1.600000, is a candidate: never trained with another seed",
        ),
    ],
)
def test_a_later_trial_with_a_better_value_is_a_candidate_beside_the_confirmed_one(value: float, says: str) -> None:
    shown = find_best([*RECORDS, trial(4, value)], "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.state, shown.open) == (2, VerdictState.CONFIRMED, True)
    assert shown.aside.endswith(says)


def test_what_was_luck_makes_room_for_the_next_candidate_and_the_baseline_for_nobody() -> None:
    lost = replace(LUCKY, gain=-0.01)
    shown = find_best(RECORDS, "minimize", verdict(lost))
    assert shown is not None
    assert (shown.record.number, shown.state) == (2, VerdictState.CANDIDATE)
    assert shown.aside.endswith("is that of trial 1, luck: with other seeds its gain is -0.010000")
    shown = find_best([BASELINE, trial(1, 1.5), trial(2, 2.5)], "minimize", verdict(lost))
    assert shown is not None
    assert (shown.record.number, shown.state) == (1, VerdictState.LUCK)
    assert str(shown).startswith("luck: gain -0.010000")
    assert shown.attrs()["verdict"] == "luck"


def test_a_later_trial_that_is_worse_than_the_winner_changes_nothing() -> None:
    shown = find_best([*RECORDS, trial(4, 1.8)], "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert shown.record.number == 2


def test_a_trial_of_the_same_parameters_as_a_finalist_is_judged_with_it() -> None:
    x = {n: {"X": n} for n in range(3)}
    base, lucky, real = (replace(r, params=x[r.number]) for r in RECORDS[:3])
    again = [
        replace(trial(4, 1.6), params=x[1]),
        replace(trial(5, 1.4), params=x[2]),
        replace(trial(6, 1.3), params=x[0]),
    ]
    shown = find_best([base, lucky, real, *again], "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed, shown.open) == (2, True, False)
    shown = find_best([base, lucky, again[0], replace(again[1], params=x[1])], "minimize", verdict(LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.finalist, shown.open) == (5, LUCKY, False)
    assert "may be luck" in shown.why
    shown = find_best([base, again[2]], "minimize", None)
    assert shown is not None
    assert (shown.why, shown.open) == ("the baseline: nothing has a better value", False)


def test_trials_whose_parameters_nobody_knows_are_not_the_same() -> None:
    shown = find_best([BASELINE, trial(1, 1.5), trial(2, 1.7), trial(4, 1.4)], "minimize", verdict(LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.finalist) == (4, None)


def test_a_finalist_that_completed_with_no_other_seed_is_not_taken_for_one_that_came_later() -> None:
    found = replace(verdict(REAL), repeated=(1, 2))
    shown = find_best(RECORDS, "minimize", found)
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (2, True)
    shown = find_best(RECORDS, "minimize", replace(verdict(replace(REAL, confirmed=False)), repeated=(1, 2)))
    assert shown is not None
    assert (shown.record.number, shown.why) == (1, "too few trainings completed with other seeds")


def test_the_best_single_value_is_named_where_it_is_another_trials() -> None:
    shown = find_best(RECORDS, "minimize", verdict(REAL, LUCKY))
    assert shown is not None
    assert shown.luckiest.number == 1
    assert (
        shown.aside
        == "the best single value, 1.500000, is that of trial 1, candidate: with other seeds its gain is +0.010000"
    )
    alone = find_best(RECORDS, "minimize", None)
    assert alone is not None
    assert (alone.luckiest, alone.aside) == (alone.record, "")


def test_without_a_winner_the_best_value_is_shown_with_what_is_known_of_it() -> None:
    shown = find_best(RECORDS, "minimize", verdict(LUCKY))
    assert shown is not None
    assert (shown.record.number, shown.confirmed) == (1, False)
    assert "may be luck" in shown.why


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_direction_is_heeded(direction: str) -> None:
    shown = find_best([trial(1, 1.0), trial(2, 2.0)], direction, None)
    assert shown is not None
    assert shown.record.number == (1 if direction == "minimize" else 2)


def test_a_baseline_that_nothing_beats_and_a_study_without_a_value() -> None:
    shown = find_best([BASELINE, trial(1, 2.5)], "minimize", None)
    assert shown is not None
    assert shown.why == "the baseline: nothing has a better value"
    assert find_best([trial(3, None)], "minimize", None) is None


def test_a_training_beyond_its_budget_is_doubted() -> None:
    def used(seconds: float) -> list[str]:
        record = TrialRecord(1, 1, "COMPLETE", value=1.0, summary={"training_seconds": seconds, "eval_tokens": 10.0})
        baseline = TrialRecord(0, 0, "COMPLETE", value=1.0, summary={"training_seconds": 300.0, "eval_tokens": 20.0})
        return caveats(record, baseline, {"training_seconds": 300.0})

    assert used(301.0) == ["eval_tokens 10.0, the baseline's was 20.0"]  # a last step that began in time
    assert used(400.0)[0] == "training_seconds 400, its budget is 300"
