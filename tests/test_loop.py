"""The loop, driven inline on a real study: budgets, slots, endings that stop it, wishes to stop."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from sqlalchemy import event

from optimize.errors import StudyAborted
from optimize.executors.simulated import SimulatedExecutor
from optimize.runner.diagnosis import Exit, diagnose
from optimize.runner.progress import MetricParser
from optimize.study.callback import Callback
from optimize.study.loop import Loop
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Job, Metric, Outcome, Slot, TrialStatus
from storage import TrialRecord, read_records
from tests.conftest import Driver, complete

pytestmark = pytest.mark.slow  # a whole study each


def failing(status: TrialStatus, *numbers: int):  # type: ignore[no-untyped-def]
    """A runner under which trials of these numbers (all but the baseline if none are named) end that way."""

    def run(job: Job) -> Outcome:
        hit = job.number in numbers if numbers else job.number > 0
        return Outcome(status, 1.0, f"{status} because") if hit else complete(job)

    return run


def states(driver: Driver) -> list[str]:
    with driver.database() as database:
        return [r.status or r.state for r in read_records(database, database.find_study("s") or 0)]


def test_a_budget_of_trials_counts_the_baseline_and_is_met_exactly(driver: Driver) -> None:
    reason, told = driver.run(trials=5)
    assert len(told.ended) == 5
    assert "5 trials" in reason


@pytest.mark.parametrize("slots", [2, 3, 8])
def test_many_slots_do_not_overshoot_the_budget(driver: Driver, slots: int) -> None:
    assert len(driver.run(slots=slots, trials=6)[1].ended) == 6


class Listening(Callback):
    """Notes what it is told of, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_start(self, job: Job, slot: Slot) -> None:
        self.heard.append("start")

    def on_trial_end(self, record: TrialRecord) -> None:
        self.heard.append("end")

    def on_tick(self) -> None:
        self.heard.append("tick")


def test_the_next_trial_starts_before_anybody_writes_about_the_last_one(driver: Driver) -> None:
    listening = Listening()
    with driver.open() as study, StopSignals() as stop_signals:
        executor = SimulatedExecutor(complete)
        Loop(study, executor, driver.job, Budget(4), [listening], stop_signals, tick_s=0).run()
    told = [what for what in listening.heard if what != "tick"]
    assert told == ["start", "end"] * 4
    after_endings = [then for what, then in itertools.pairwise(listening.heard) if what == "end"]
    assert after_endings == ["start", "start", "start", "tick"]  # the last one is told of as well


def looks(driver: Driver, trials: int) -> tuple[int, int]:
    """How many statements a call needs, and how often the loop looks at the whole history."""
    statements: list[str] = []
    walks: list[int] = []
    with driver.open() as study, StopSignals() as stop_signals:
        engine, records = study._database._rdb.engine, study.records
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
        study.records = lambda: walks.append(1) or records()  # type: ignore[func-returns-value, method-assign]
        loop = Loop(
            study, SimulatedExecutor(complete), driver.job, Budget(trials), (), stop_signals, tick_s=600
        )  # who wishes to stop is asked once, however long it takes
        loop.run()
    return sum("lease" not in statement for statement in statements), len(walks)


def test_the_work_for_a_trial_does_not_grow_with_the_trials_before_it(driver: Driver) -> None:
    driver.run(trials=5)
    assert looks(driver, 10) == looks(driver, 15)


def test_running_again_goes_on_and_a_met_budget_starts_nothing(driver: Driver) -> None:
    driver.run(trials=4)
    assert [number for number, _ in driver.run(trials=7)[1].ended] == [4, 5, 6]
    assert driver.run(trials=7)[1].ended == []


def test_failures_of_the_world_do_not_count_as_trials(driver: Driver) -> None:
    _, told = driver.run(failing(TrialStatus.CRASHED, 2), trials=4)
    assert told.ended == [(0, "complete"), (1, "complete"), (2, "crashed"), (3, "complete"), (4, "complete")]


def test_bad_parameters_count_as_trials(driver: Driver) -> None:
    assert len(driver.run(failing(TrialStatus.DIVERGED, 2), trials=4)[1].ended) == 4


def test_an_exhausted_space_ends_the_study_with_a_clear_reason(driver: Driver) -> None:
    reason, told = driver.run()
    assert len(told.ended) == 24
    assert "tried" in reason


def test_nothing_else_starts_until_the_script_has_shown_that_it_works(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        return Outcome(TrialStatus.DIVERGED, 1.0, "nan at once")

    with pytest.raises(StudyAborted):
        driver.run(run, slots=8)
    assert states(driver) == ["diverged"]


def test_other_slots_fill_at_the_baselines_first_progress(driver: Driver) -> None:
    listening = Listening()
    with driver.open() as study, StopSignals() as stop_signals:
        Loop(study, SimulatedExecutor(complete, 4), driver.job, Budget(4), [listening], stop_signals, tick_s=0).run()
    assert [what for what in listening.heard if what != "tick"] == ["start"] * 4 + ["end"] * 4


@pytest.mark.parametrize("status", [TrialStatus.OUT_OF_MEMORY, TrialStatus.TIMED_OUT, TrialStatus.INFEASIBLE])
def test_a_baseline_that_does_not_complete_stops_the_study_with_advice(driver: Driver, status: TrialStatus) -> None:
    with pytest.raises(StudyAborted, match=f"the baseline did not complete: {status} because") as caught:
        driver.run(failing(status, 0))
    assert "profile" in str(caught.value) or "show" in str(caught.value)


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("anna\n0.25\nbo\n", "regex = '^{number}$' }. Then give the same command again"),
        ("loss is 0.25\n", "In workload.toml that is metric = "),
        ("---\nloss: 0.25\n", "In workload.toml that is metric = "),
        ("val_bpb: none\n", "Correct the script"),
    ],
)
def test_a_baseline_without_the_metric_ends_with_what_workload_toml_needs(
    driver: Driver, log: str, advice: str
) -> None:
    parser = MetricParser(Metric())
    for line in log.splitlines():
        parser.parse(line.encode())
    with pytest.raises(StudyAborted) as caught:
        driver.run(lambda job: diagnose(log, Exit(0, 1.0), Metric(), parser.found()))
    said = caught.value.problems[0]  # the log follows
    assert advice in said
    assert ("Correct the script" in said) is (advice == "Correct the script")


def test_a_baseline_that_crashes_once_is_tried_again(driver: Driver) -> None:
    _, told = driver.run(failing(TrialStatus.CRASHED, 0), trials=2)
    assert told.ended == [(0, "crashed"), (1, "complete"), (2, "complete")]


def test_a_baseline_that_crashes_twice_stops_the_study(driver: Driver) -> None:
    with pytest.raises(StudyAborted, match="the baseline did not complete"):
        driver.run(failing(TrialStatus.CRASHED, 0, 1))
    assert states(driver) == ["crashed", "crashed"]


def test_a_baseline_that_finds_no_file_is_told_how_a_trial_gets_it(driver: Driver) -> None:
    missing = Outcome(TrialStatus.CRASHED, 1.0, "FileNotFoundError: ../data/cora not found.")
    with pytest.raises(StudyAborted, match=r"not found\. A trial runs in a folder of its own\..*`files`.*`links`"):
        driver.run(lambda job: missing)


def test_after_the_cause_is_mended_the_baseline_is_tried_again(driver: Driver) -> None:
    with pytest.raises(StudyAborted):
        driver.run(failing(TrialStatus.OUT_OF_MEMORY, 0))
    assert driver.run(trials=3)[1].ended[0] == (1, "complete")


def test_crashes_in_a_row_stop_the_study(driver: Driver) -> None:
    with pytest.raises(StudyAborted, match="3 failures in a row"):
        driver.run(failing(TrialStatus.CRASHED), max_consecutive_failures=3)
    assert states(driver).count("crashed") == 6


def test_silences_in_a_row_stop_the_study_with_what_goes_on(driver: Driver) -> None:
    with pytest.raises(StudyAborted, match=r"2 failures in a row.*because\. Then start again: the study goes on\. All"):
        driver.run(failing(TrialStatus.SILENT), max_consecutive_failures=2)


def test_one_success_in_between_forgives_earlier_crashes(driver: Driver) -> None:
    driver.run(failing(TrialStatus.CRASHED, 1, 2, 4, 5, 7, 8), max_consecutive_failures=2, trials=5)


def test_a_stop_request_lets_running_trials_finish(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        if job.number == 2:
            driver.ask_to_stop(now=False)
        return complete(job)

    reason, told = driver.run(run)
    assert "optimize stop" in reason
    assert told.ended[-1] == (2, "complete")


def test_an_urgent_stop_request_cancels_and_queues_again(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        if job.number == 3:
            driver.ask_to_stop(now=True)
        return complete(job)

    driver.run(run, slots=2)
    assert "cancelled" in states(driver)
    assert states(driver).count("cancelled") == states(driver).count("WAITING")


def test_a_request_that_an_earlier_driver_got_stops_no_later_one(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        if job.number == 1:
            driver.ask_to_stop(now=False)
        return complete(job)

    driver.run(run)
    assert driver.run(trials=5)[0] == "5 trials are done"


def test_parameters_that_kill_whatever_runs_them_are_not_tried_for_ever(driver: Driver) -> None:
    with pytest.raises(StudyAborted, match="5 failures in a row"):
        driver.run(failing(TrialStatus.LOST))
    for _ in range(3):
        with contextlib.suppress(StudyAborted):
            driver.run(failing(TrialStatus.LOST, *range(1, 11)), trials=4)
    assert states(driver).count("lost") == 10
    assert states(driver).count("complete") == 4


def test_failures_of_an_earlier_call_do_not_count_in_this_one(driver: Driver) -> None:
    with pytest.raises(StudyAborted):
        driver.run(failing(TrialStatus.CRASHED), max_consecutive_failures=2)
    number = len(states(driver))
    driver.run(failing(TrialStatus.CRASHED, number, number + 1), max_consecutive_failures=2, trials=4)


def test_an_exhausted_space_still_tries_again_what_crashed(driver: Driver) -> None:
    driver.run(failing(TrialStatus.CRASHED, 23), slots=4)
    assert states(driver).count("complete") == 24
    assert "WAITING" not in states(driver)


def test_a_trial_that_a_person_told_in_the_dashboard_is_left_as_they_told_it(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        if job.number in (0, 2):
            with driver.database() as database:
                study_id = database.find_study("s") or 0
                trial = database.find_trial(study_id, job.number)
                assert trial is not None
                database.finish_trial(trial._trial_id, "FAIL")
        return complete(job)

    driver.run(failing(TrialStatus.CRASHED, 99), trials=1)
    driver.run(run, trials=4)
    assert states(driver)[2] == "FAIL"
    assert states(driver).count("complete") == 4
