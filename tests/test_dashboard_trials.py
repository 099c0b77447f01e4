"""What the dashboard is given of a trial has room on its page, and the database keeps what it has."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from optimize.reporting.notes import trial_note
from optimize.trial import Job, Metric, Outcome, TrialStatus
from storage import TrialRecord, dashboard_storage
from tests.conftest import Driver, complete

ROOM = 100  # characters of a line: the page of a trial is 950 pixels wide in a window of 1,280


def long_summary(job: Job) -> Outcome:
    ended = complete(job)
    figures = {f"figure_{n}": f"{n} of a long text that a script prints" for n in range(30)}
    return replace(ended, summary={**ended.summary, **figures}, reason="a long reason " * 20)


def test_each_attribute_of_a_trial_is_a_short_line(driver: Driver) -> None:
    driver.run(long_summary, trials=2)
    with driver.database() as database:
        storage = dashboard_storage(database)
        trials, kept = storage.get_all_trials(1), database.storage.get_all_trials(1)
        best = storage.get_best_trial(1)
    for trial in [*trials, best]:
        lines = [
            f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in trial.user_attrs.items()
        ]
        assert max(map(len, lines)) <= ROOM
        assert trial.user_attrs["status"] == "complete"
        assert isinstance(trial.user_attrs["summary val_bpb"], float)
    assert isinstance(kept[0].user_attrs["summary"], dict)


def test_attributes_of_other_programs_are_as_they_are(driver: Driver) -> None:
    driver.run(trials=1)
    with driver.database() as database:
        trial = database.storage.get_all_trials(1)[0]
        database.storage._backend.create_new_trial(1)  # type: ignore[attr-defined]
        mine = {"mine": {"a": 1}, "text": "x" * 500}
        for key, value in mine.items():
            database.storage.set_trial_user_attr(trial._trial_id + 1, key, value)
        shown = dashboard_storage(database).get_all_trials(1)
    assert shown[1].user_attrs == mine


def test_a_trial_that_goes_on_is_read_again(driver: Driver) -> None:
    with driver.open() as study, driver.database() as database:
        suggestion = study.ask()
        assert suggestion is not None
        storage = dashboard_storage(database)
        assert "status" not in storage.get_all_trials(1)[0].user_attrs
        study.tell(driver.job(suggestion), Outcome(TrialStatus.DIVERGED, 1.0, "the loss is NaN"))
        assert storage.get_all_trials(1)[0].user_attrs["reason"] == "the loss is NaN"


def test_a_study_that_takes_the_ids_of_a_deleted_one_is_shown_as_it_is(driver: Driver) -> None:
    driver.run(trials=1)
    with driver.database() as database:
        storage = dashboard_storage(database)
        before = storage.get_all_trials(1, deepcopy=False)[0]
        storage.delete_study(1)
    driver.run(lambda job: replace(complete(job), summary={"val_bpb": 9.0}), trials=1)
    after = storage.get_all_trials(1, deepcopy=False)[0]
    assert after._trial_id == before._trial_id
    assert after.user_attrs["summary val_bpb"] == 9.0


@pytest.mark.parametrize("status", ["complete", "crashed"])
def test_no_line_of_a_note_is_longer_than_the_page(status: str) -> None:
    value = 1.0 if status == "complete" else None
    summary = {f"a_figure_with_a_name_{n}": "a text of a script " * 3 for n in range(10)}
    record = TrialRecord(
        3,
        4,
        "COMPLETE" if value else "FAIL",
        status,
        {"X": 2},
        value,
        reason="word " * 60,
        kind="start",
        source="somewhere " * 20,
        device="a device " * 5,
        slot="gpu:0",
        seconds=12.0,
        summary=summary,
    )
    links = {f"a_file_with_a_long_name_{n}.txt": f"/artifacts/1/4/{'0' * 36}" for n in range(8)}
    note = trial_note(record, Metric(), None, {"train.patch": "+" + "x" * 200, "log.txt": "y" * 300}, links)
    seen = [re.sub(r"\]\(\S*\)", "]", line) for line in note.splitlines()]
    assert max(map(len, seen)) <= ROOM
