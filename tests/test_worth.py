"""What ten more trials are expected to bring: the estimate, where it is shown, and the study that it ends."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from optimize.confirm.verdict import Verdict
from optimize.reporting.facts_shown import facts_note
from optimize.reporting.four_facts import four_facts
from optimize.reporting.standing import read_standing, standing_of
from optimize.reporting.status_json import document
from optimize.study.stopping import Budget
from optimize.study.stored import find_study
from optimize.study.worth import AHEAD, LEAST, expected_gain
from optimize.text import value_text
from optimize.trial import TrialStatus
from storage import TrialRecord
from tests.conftest import Driver
from tests.transfers import records, run_with_endings

STEP = 0.03


def falling(count: int) -> list[float | None]:
    return [2 - STEP * log(n + 1) for n in range(count)]


@pytest.mark.parametrize("count", [LEAST, 30, 200])
def test_a_best_value_that_falls_as_the_logarithm_is_carried_on(count: int) -> None:
    said, came = expected_gain(falling(count), "minimize"), falling(count + AHEAD)
    assert said == pytest.approx(float(came[count - 1] or 0) - float(came[-1] or 0), rel=0.1)
    upside_down = [-value for value in falling(count) if value is not None]
    assert expected_gain(upside_down, "maximize") == pytest.approx(said)


def test_bad_trials_change_nothing_and_a_standstill_promises_little() -> None:
    values = falling(30)
    assert expected_gain([*values[:20], None, 9.0, *values[22:]], "minimize") == pytest.approx(
        expected_gain(values, "minimize"), rel=0.2
    )
    assert expected_gain([*values, *[3.0] * 60], "minimize") == 0
    assert 0 < (expected_gain([*values, *[3.0] * 20], "minimize") or 0) < (expected_gain(values, "minimize") or 0)


@pytest.mark.parametrize("values", [[], falling(LEAST - 1), [None] * 40, [*[None] * 39, 1.0]])
def test_nothing_is_said_of_too_little(values: list[float | None]) -> None:
    assert expected_gain(values, "minimize") is None


def test_equal_values_promise_nothing() -> None:
    assert expected_gain([1.0] * 40, "minimize") == 0


@pytest.fixture
def long(driver: Driver) -> Driver:
    """A driver whose study has run for a while, with a trial that diverged."""
    driver.once("long", lambda: run_with_endings(driver, LEAST + 3, {4: TrialStatus.DIVERGED}))
    return driver


def test_status_report_and_notes_say_it_in_one_line(long: Driver) -> None:
    name = long.settings.study
    with long.database() as database:
        stored = find_study(database, name, long.settings.runs)
        standing, attrs = read_standing(stored), database.study_attrs(stored.study_id)
        (told,) = document("x", [stored], 3)["studies"]
    ended = records(long, name)
    assert standing.gain == expected_gain([record.value for record in ended], "minimize")
    whole = standing_of(name, long.plan.workload.metric, attrs, ended, {})
    assert whole.gain == standing.gain
    assert told["ten_more"] == {"expected_gain": standing.gain, "noise": None}
    line = f"; 10 more may bring {value_text(standing.gain)} for "
    assert line in facts_note(four_facts(standing))
    assert line in four_facts(whole).cost.answer
    noisy = replace(standing, verdict=Verdict((), 0.95, 0.003, 0.006))
    assert "(another seed: 0.003000) for " in four_facts(noisy).cost.answer


def test_a_study_ends_where_more_trials_are_not_worth_it(driver: Driver) -> None:
    reason, told = driver.run(trials=LEAST + 5, until_worth=1000.0)
    assert reason.startswith("10 more trials are expected to bring 0.")
    assert reason.endswith("less than 1000")
    assert len(told.ended) == LEAST
    again, told = driver.run(trials=LEAST + 5, until_worth=1000.0)
    assert (again, len(told.ended)) == (reason, 0)


def test_a_study_goes_on_while_more_trials_are_worth_it() -> None:
    ended = [TrialRecord(n, n, "COMPLETE", value=value) for n, value in enumerate(falling(30))]
    assert Budget(until_worth=0.005).not_worth(ended) is None
    assert Budget().not_worth(ended) is None
    assert Budget(until_worth=0.01).not_worth(ended) == "10 more trials are expected to bring 0.008630, less than 0.01"
