"""A verdict is the same after it lay in a database."""

from __future__ import annotations

import json

import pytest

from optimize.confirm.replicates import ranked, with_winner
from optimize.confirm.verdict import CONFIRMATION, Finalist, Verdict, verdict_attrs, verdict_of
from storage import TrialRecord
from tests.conftest import Driver

VERDICT = Verdict(
    finalists=(
        Finalist(7, 3, 0.012, 0.004, 0.020, confirmed=True, doubts=("it saw the data more than once",)),
        Finalist(4, 1, -0.001, -0.02, 0.018, confirmed=False, rejected=True),
    ),
    level=0.95,
    noise=0.003,
    floor=0.006,
    lines=("the other split agrees",),
)


def test_a_verdict_survives_json() -> None:
    assert verdict_of(json.loads(json.dumps(verdict_attrs(VERDICT)))) == VERDICT


def test_the_winner_is_the_best_that_is_confirmed() -> None:
    assert VERDICT.winner == VERDICT.finalists[0]
    assert Verdict((VERDICT.finalists[1],), 0.95, 0.003, 0.006).winner is None


def test_a_study_that_was_never_confirmed_has_none() -> None:
    assert verdict_of({}) is None


@pytest.mark.parametrize(
    "kept", [1, "x", [], {}, {"finalists": 3}, {"finalists": [{"trial": 1}]}, {"finalists": [], "since": 9}]
)
def test_a_verdict_of_another_release_is_none_and_breaks_nothing(kept: object) -> None:
    assert verdict_of({CONFIRMATION: kept}) is None


def test_an_earlier_winner_is_added_to_the_finalists_once(driver: Driver) -> None:
    plan = driver.plan
    params = {**plan.space.encode(plan.baseline), "X": 2}
    records = [TrialRecord(3, 3, "COMPLETE", "complete", params, value=1.0)]
    among = ranked(plan, records)
    assert with_winner(plan, [], among, records, 3) == among
    assert with_winner(plan, among, among, records, 3) == among
