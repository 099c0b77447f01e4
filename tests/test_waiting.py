"""A reader who waits is told everything once, whatever happened while it was away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.errors import SettingsError
from optimize.reporting.waiting import (
    MOST_EVENTS,
    Cursor,
    News,
    Patience,
    Seen,
    cursor_of,
    news,
    parse_cursor,
    wait_for,
)
from optimize.study.stored import find_study
from optimize.trial import Outcome, TrialStatus
from tests.conftest import Driver, complete


def look(driver: Driver, since: str) -> News:
    with driver.database() as database:
        return news(find_study(database, "s", driver.settings.runs), parse_cursor(since))


def trials(found: News) -> list[int]:
    return [event["trial"]["number"] for event in found.events if event["event"] == "trial_end"]


def kinds(found: News) -> list[str]:
    return [event["event"] for event in found.events if event["event"] != "trial_end"]


@settings(max_examples=30)
@given(
    st.builds(
        Cursor,
        st.builds(Seen, st.integers(0, 99), st.frozensets(st.integers(0, 98), max_size=30)),
        st.builds(Seen, st.integers(0, 9)),
        st.booleans(),
        st.none() | st.integers(0, 9),
        st.just(False),
        st.sampled_from(["", "00ff00ff"]),
    )
)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "7", "x~0~~~", "7.9-999999999~0~~~", "1.~0~~~", "~~~~~~", "9" * 20_000, "1.2-~0~d~~"]
)
def test_any_other_text_is_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="is no cursor"):
        parse_cursor(text)


def test_every_end_is_told_once_in_whatever_order_trials_end(driver: Driver) -> None:
    told: list[int] = []
    since = str(Cursor())
    with driver.open() as study:
        running = {each.number: each for each in (study.ask(), study.ask(), study.ask())}
        for number in (1, 0, None, 2):
            if number is not None:
                job = driver.job(running[number])
                study.tell(job, complete(job))
            found = look(driver, since)
            since = str(found.cursor)
            told += trials(found)
            assert found.cursor.driven
            assert trials(look(driver, since)) == []
        assert found.is_enough("event")
        assert not found.is_enough("end")
    assert told == [1, 0, 2]
    found = look(driver, since)
    assert kinds(found) == ["end"]
    assert found.is_enough("end")


def test_a_better_best_and_a_verdict_are_told(driver: Driver) -> None:
    def worse(job) -> Outcome:  # type: ignore[no-untyped-def]
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 9.0})

    driver.run(trials=2)
    since = str(look(driver, str(Cursor())).cursor)
    driver.run(worse, trials=4)
    found = look(driver, since)
    assert (trials(found), kinds(found)) == ([2, 3], ["end"])
    with driver.database() as database:
        number = find_study(database, "s", driver.settings.runs).best().record.number  # type: ignore[union-attr]
        verdict = Verdict((Finalist(number, 3, 0.02, 0.01, 0.03, True),), 0.95, 0.004, 0.008)
        for key, value in verdict_attrs(verdict).items():
            database.set_study_attr(1, key, value)
    found = look(driver, str(found.cursor))
    assert kinds(found) == ["best", "verdict", "end"]
    assert found.events[0]["confirmed"] is True
    assert found.events[1]["confirmation"]["winner"] == number
    assert look(driver, str(found.cursor)).events == []


def test_of_many_ends_the_last_are_told_and_the_others_counted(driver: Driver) -> None:
    driver.run(trials=24)
    assert look(driver, str(Cursor())).left_out == 0
    with driver.database() as database:
        for _ in range(MOST_EVENTS):
            trial = database.create_trial(1, state="RUNNING", params={}, choices={})
            database.finish_trial(trial.trial_id, "FAIL")
    found = look(driver, str(Cursor()))
    assert (len(trials(found)), found.left_out, trials(found)[-1]) == (MOST_EVENTS, 24, 53)


def test_waiting_ends_with_news_or_with_its_time(driver: Driver) -> None:
    slept: list[float] = []
    with driver.open() as study, driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        job = driver.job(study.ask())
        since = cursor_of(stored)
        assert wait_for(stored, since, Patience("event", 0.0), slept.append).events == []
        assert slept == []

        def meanwhile(seconds: float) -> None:
            slept.append(seconds)
            study.tell(job, complete(job))

        assert trials(wait_for(stored, since, Patience("event", 60.0), meanwhile)) == [0]
        assert len(slept) == 1
    with driver.database() as database:  # nobody drives it: there is nothing to wait for
        stored = find_study(database, "s", driver.settings.runs)
        wait_for(stored, cursor_of(stored), Patience("best", 60.0), slept.append)
    assert len(slept) == 1
