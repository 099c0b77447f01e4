"""An *environment* ending: one configuration that cannot run here, or a machine on which nothing can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from optimize.errors import StudyAborted
from optimize.runner.causes import CAUSES
from optimize.study.environment_endings import standing_lines
from optimize.trial import Job, Outcome, TrialStatus
from storage import TrialRecord, read_records
from tests.conftest import Driver, complete

UNABLE = Outcome(TrialStatus.ENVIRONMENT, 1.0, "no kernel image is available")


def unable(when: Callable[[Job], bool]) -> Callable[[Job], Outcome]:
    return lambda job: UNABLE if when(job) else complete(job)


def records(driver: Driver) -> list[TrialRecord]:
    with driver.database() as database:
        return list(read_records(database, database.find_study("s") or 0))


def statuses(driver: Driver) -> list[str]:
    return [record.status or record.state for record in records(driver)]


ONE = {"X": 2, "Y": 0.25, "PAIR": (0.8, 0.95)}


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_configuration_stands_after_two_attempts_and_the_rest_goes_on(
    driver: Driver, slots: int, seed: int
) -> None:
    driver.set(seed=seed)
    reason, _ = driver.run(unable(lambda job: job.params == ONE), slots=slots)
    assert "tried" in reason
    assert statuses(driver).count("environment") == 2
    assert statuses(driver).count("complete") == 23
    assert "WAITING" not in statuses(driver)
    lines = standing_lines(records(driver), {})
    assert len(lines) == 1
    assert "no kernel image is available" in lines[0]
    assert "X=2" in lines[0]
    assert driver.run()[1].ended == []  # nor at the next start


@pytest.mark.slow
def test_a_second_attempt_that_completes_is_no_ending_to_speak_of(driver: Driver) -> None:
    driver.run(unable(lambda job: job.number == 2), trials=5)
    assert statuses(driver).count("environment") == 1
    assert standing_lines(records(driver), {}) == []


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_two_different_configurations_in_a_row_stop_the_study_and_none_is_lost(driver: Driver, slots: int) -> None:
    driver.run(trials=3)
    with pytest.raises(StudyAborted, match="no kernel image is available"):
        driver.run(unable(lambda job: True), slots=slots)
    assert "complete" not in statuses(driver)[3:]
    assert statuses(driver).count("environment") <= 3
    assert statuses(driver).count("WAITING") == (2 if slots < 3 else 3)
    driver.run()
    assert statuses(driver).count("complete") == 24
    assert standing_lines(records(driver), {}) == []


@pytest.mark.slow
def test_two_that_each_had_a_first_attempt_between_others_stand(driver: Driver) -> None:
    other = {**ONE, "X": 4, "Y": 1.0}
    for first in (ONE, other):
        with driver.open() as study:
            study.enqueue(first, "start")
            study.enqueue({**first, "PAIR": (0.9, 0.95)}, "start")
    driver.run(unable(lambda job: job.params in (ONE, other)), trials=8, slots=1)
    assert len(standing_lines(records(driver), {})) == 2
    assert statuses(driver).count("complete") == 8


@pytest.mark.slow
def test_several_that_cannot_run_here_stop_the_study_only_once_each(driver: Driver) -> None:
    driver.run(trials=2)
    bad = unable(lambda job: job.params["X"] == 4)
    for _ in range(8):
        try:
            driver.run(bad)
        except StudyAborted:
            continue
        break
    assert statuses(driver).count("complete") >= 16
    assert "WAITING" not in statuses(driver)
    assert len(standing_lines(records(driver), {})) == 24 - statuses(driver).count("complete")


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_where_nothing_else_has_completed_it_stops_the_study_and_is_queued(driver: Driver, number: int) -> None:
    if number:
        driver.run(trials=1)
    with pytest.raises(StudyAborted, match="its parameters are queued"):
        driver.run(unable(lambda job: job.number >= number), trials=9)
    assert "WAITING" in statuses(driver)
    assert driver.run(trials=4)[1].ended[-1][1] == "complete"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data/exp/model_4.cfg", "crashed"),
        ("/mnt/data/me/work/step.tmp", "crashed"),
        ("/home/me/database/settings.ini", "crashed"),
        ("metadata/labels.yaml", "crashed"),
        ("/mnt/data", "environment"),
        ("/home/me/.cache/autoresearch/token_bytes", "environment"),
        ("/work/train_data.bin", "environment"),
        ("/mnt/x/data_00.zst", "environment"),
    ],
)
def test_a_missing_file_is_no_missing_data_because_of_a_folder(path: str, status: str) -> None:
    line = f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'"
    found = next((cause.status.value for cause in CAUSES if cause.pattern.search(line)), "crashed")
    assert found == status
