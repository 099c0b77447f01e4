"""A study looked at from outside: the same answers as from reading all of it, without reading all of it."""

from __future__ import annotations

import pytest

from optimize.errors import StudyError
from optimize.study.stored import StoredStudy, find_study
from storage import Database
from tests.conftest import Driver

pytestmark = pytest.mark.slow  # a whole study each


def stored(driver: Driver, database: Database) -> StoredStudy:
    return find_study(database, "s", driver.settings.runs)


def test_the_latest_and_the_best_trial_are_those_of_all_records(driver: Driver) -> None:
    driver.run(trials=12)
    with driver.database() as database:
        study = stored(driver, database)
        records = study.records()
        assert study.latest(5) == records[-5:]
        assert study.latest(99) == records
        assert study.best() == study.best(records)
        assert study.record(7) == records[7]
        assert study.count() == 12


def test_a_study_without_a_result_has_no_best_trial(driver: Driver) -> None:
    with driver.open() as study:
        study.ask()
    with driver.database() as database:
        assert stored(driver, database).best() is None
        assert [record.state for record in stored(driver, database).latest(5)] == ["RUNNING"]
        with pytest.raises(StudyError, match="there is no trial 7"):
            stored(driver, database).record(7)


def test_looking_at_the_latest_trials_reads_no_others(driver: Driver) -> None:
    rows = []
    for trials in (6, 12):
        driver.run(trials=trials)
        with driver.database() as database:
            study, read = stored(driver, database), []
            # A trial that is read becomes a row of the result, whatever the statement.
            connection = database._rdb.engine.raw_connection()
            connection.driver_connection.row_factory = lambda cursor, row, read=read: read.append(row) or row  # type: ignore[union-attr]
            connection.close()
            study.latest(3)
            study.best()
            rows.append(len(read))
    assert 0 < rows[0] == rows[1]
