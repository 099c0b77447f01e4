"""What happens to everything else while a configuration is looked for, and after none was found."""

from __future__ import annotations

import random

import pytest

from optimize.errors import StudyError, WorkloadError
from optimize.executors.simulated import SimulatedExecutor
from optimize.search.candidates import MOST_CHECKED, NEIGHBOURS, SLICE, Chooser, Lattice
from optimize.study.loop import Loop
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Job, Outcome, Suggestion, TrialStatus
from search_spaces import Parameter, SearchSpace
from search_spaces.expressions import parse_rule
from storage import TrialRecord, read_records
from tests.conftest import Driver, Told, complete

ALONE = '[[rules]]\nrule = "(X == 4) + (X == 2 and Y == 0.125) + (X == 1 and Y == 1.0) > 0 and PAIR == (0.8, 0.95)"\nwhy = "w"\n'
STARTS = '[[start]]\nparams = {X = 2, Y = 0.125}\nsource = "a"\n[[start]]\nparams = {X = 1, Y = 1.0}\nsource = "b"\n'


def fail_to_ask(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts are tried beside each other; everything else is beyond what one proposal may check."""
    monkeypatch.setattr("optimize.search.candidates.MOST_CHECKED", 1)
    monkeypatch.setattr("optimize.search.candidates.NEIGHBOURS", 0)
    monkeypatch.setattr("optimize.search.candidates.Chooser._good", lambda chooser, point: False)
    space = driver.folder / "space.toml"
    space.write_text(space.read_text() + ALONE + STARTS)


def run(driver: Driver, how: SimulatedExecutor) -> Told:
    told = Told()
    with driver.open() as study, StopSignals() as stop_signals:
        with pytest.raises(StudyError, match="none of 1 configurations is feasible and new"):
            Loop(study, how, driver.job, Budget(9), (told,), stop_signals, tick_s=0).run()
        assert not how.running
    return told


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@pytest.mark.parametrize("status", [TrialStatus.COMPLETE, TrialStatus.DIVERGED, TrialStatus.CRASHED])
def test_running_trials_finish_and_are_told_when_no_configuration_is_found(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, slots: int, status: TrialStatus
) -> None:
    fail_to_ask(driver, monkeypatch)

    def ending(job: Job) -> Outcome:
        if job.number == 2 and status is not TrialStatus.COMPLETE:
            return Outcome(status, 1.0, "because")
        return complete(job)

    told = run(driver, SimulatedExecutor(ending, slots))
    assert (2, status.value) in told.ended
    with driver.database() as database:
        records = read_records(database, database.find_study("s") or 0)
    left = [record.state for record in records if not record.is_finished]
    assert left in ([], ["WAITING"])  # what crashed after the ask had failed waits for the next call


def fail_to_write(driver: Driver, number: int) -> list[tuple[int, str]]:
    """Train until trial `number`, whose script cannot be written. Return how the others ended."""
    told = Told()

    def prepare(suggestion: Suggestion) -> Job:
        if suggestion.number == number:
            raise WorkloadError("train.py: cannot be written")
        return driver.job(suggestion)

    with driver.open() as study, StopSignals() as stop_signals:
        executor = SimulatedExecutor(complete, 2)
        with pytest.raises(WorkloadError, match="cannot be written"):
            Loop(study, executor, prepare, Budget(9), (told,), stop_signals, tick_s=0).run()
    return told.ended


def records_of(driver: Driver) -> list[TrialRecord]:
    with driver.database() as database:
        return read_records(database, database.find_study("s") or 0)


def test_running_trials_finish_and_are_told_when_a_script_cannot_be_written(driver: Driver) -> None:
    assert [number for number, _ in fail_to_write(driver, 3)] == [0, 1, 2]
    assert [record.state for record in records_of(driver)] == ["COMPLETE"] * 3 + ["FAIL"]


def test_parameters_that_cannot_be_written_are_not_tried_again(driver: Driver) -> None:
    fail_to_write(driver, 3)
    driver.run(trials=9)
    records = records_of(driver)
    assert [record.state for record in records] == ["COMPLETE"] * 3 + ["FAIL"] + ["COMPLETE"] * 6
    assert (records[3].status, records[3].reason) == ("infeasible", "train.py: cannot be written")
    assert records[3].params not in [record.params for record in records[4:]]


def test_a_baseline_that_cannot_be_written_is_queued_again(driver: Driver) -> None:
    assert fail_to_write(driver, 0) == []
    closed, queued = records_of(driver)
    assert (closed.state, closed.status, queued.state, queued.requeue_of) == ("FAIL", "cancelled", "WAITING", 0)
    assert closed.params == queued.params
    driver.run(trials=1)
    assert records_of(driver)[1].state == "COMPLETE"


@pytest.mark.slow
@pytest.mark.parametrize("now", [False, True])
def test_a_stop_request_is_heard_and_the_lease_renewed_during_a_long_search(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, now: bool
) -> None:
    monkeypatch.setattr("optimize.search.candidates.SLICE", 8)  # of 64
    checked: list[int] = []

    def refuse(chooser: Chooser, point: object) -> bool:
        checked.append(1)
        if len(checked) == 1:
            driver.ask_to_stop(now)
        return False

    monkeypatch.setattr("optimize.search.candidates.Chooser._good", refuse)
    driver.set(sampler="grid")
    renewed: list[int] = []
    with driver.open() as study, StopSignals() as stop_signals:
        loop = Loop(study, SimulatedExecutor(complete), driver.job, Budget(9), (), stop_signals, tick_s=0)
        monkeypatch.setattr(study, "renew", lambda: renewed.append(len(checked)))
        assert "optimize stop" in loop.run()
    assert len(checked) == 8  # it stopped after the first slice
    assert 8 in renewed


TIED = {
    "a sum of digits": "A + 10 * B + 100 * C + 1000 * D + 10000 * E == 31415",
    "equal to each other": "A == B and B == C and C == D and D == E and E == 7",
    "a product": "A * B * C * D * E == 59049",  # only 9 to the fifth
    "a chain": "A == 9 and B == A - 1 and C == B - 1 and D == C - 1 and E == D - 1",
}
FEASIBLE = {"a sum of digits": (5, 1, 4, 1, 3), "equal to each other": (7,) * 5, "a product": (9,) * 5}
FEASIBLE["a chain"] = (9, 8, 7, 6, 5)


@pytest.mark.parametrize("kind", TIED)
@pytest.mark.parametrize("first", [0, 7])  # where the tied parameters stand
def test_beside_something_feasible_one_in_100000_is_found_after_a_slice(kind: str, first: int) -> None:
    free = [f"Q{i}" for i in range(7)]
    names = [*free[:first], *"ABCDE", *free[first:]]
    space = SearchSpace(
        "s", "s", tuple(Parameter(n, tuple(range(10))) for n in names), (parse_rule(TIED[kind], "why"),)
    )
    lattice, rng = Lattice(space, {}), random.Random(1)
    slices: list[int] = []
    chooser = Chooser(lattice, rng, None, lambda point: False, None, lambda: slices.append(1))
    known = dict.fromkeys(names, 0) | dict(zip("ABCDE", FEASIBLE[kind], strict=True))
    chooser.saw(known)
    found = set()
    for _ in range(20):
        point = chooser.choose(lambda: lattice.uniform(rng), 4)
        assert lattice.feasible(lattice.params(point))
        chooser.saw(lattice.params(point))
        found.add(point)
    assert len(found) == 20
    assert len(slices) <= 1
    for name in free:  # spread over all that is free
        assert len({lattice.params(point)[name] for point in found}) >= 5
    point = chooser.any_left()
    assert lattice.feasible(lattice.params(point))
    assert point not in found
    assert len(slices) <= 2


def test_a_slice_is_short_beside_what_a_proposal_may_check() -> None:
    assert NEIGHBOURS < SLICE <= MOST_CHECKED / 50
