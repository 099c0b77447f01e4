"""Which slots a study uses: those of its own device model, unless values of several are wanted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from optimize.confirm.caveats import caveats
from optimize.errors import SettingsError, SpaceExhausted, StudyMismatchError
from optimize.study.comparable import model_of, required_model, slots_of_one_model
from optimize.study.resume import open_study
from optimize.study.start_from import describe_start_from
from optimize.trial import Job, Outcome, Slot, TrialStatus
from storage import TrialRecord
from tests.conftest import Driver, complete
from tests.transfers import records

H100, T4 = Slot("gpu:0", device="H100"), Slot("gpu:1", device="T4")
BY_H100 = [TrialRecord(0, 0, "FAIL", device="T4"), TrialRecord(1, 1, "COMPLETE", value=1.0, device="H100")]


def names(driver: Driver, slots: list[Slot], records: list[TrialRecord]) -> list[str]:
    return [slot.name for slot in slots_of_one_model(driver.plan, slots, records, driver.said.append, lambda: [])]


def count_work(driver: Driver) -> None:
    (driver.folder / "workload" / "workload.toml").write_text('work_budget = "SIZE > 0"\n')


def test_the_model_of_a_study_is_that_of_its_first_value() -> None:
    assert model_of(BY_H100) == "H100"
    assert model_of([TrialRecord(0, 0, "FAIL", device="T4")]) == ""


def test_a_new_study_uses_the_model_that_comes_first_and_says_what_is_idle(driver: Driver) -> None:
    assert names(driver, [H100, T4, replace(H100, name="gpu:2")], []) == ["gpu:0", "gpu:2"]
    assert driver.said == ["gpu:1 (T4): idle, because study s runs on H100. Use it: `optimize ... --mixed-devices`"]


def test_a_study_goes_on_with_its_own_model_wherever_it_stands(driver: Driver) -> None:
    assert names(driver, [T4, H100], BY_H100) == ["gpu:0"]


def test_slots_of_a_cluster_are_compared_when_its_nodes_have_told_what_they_are(driver: Driver) -> None:
    assert required_model(driver.plan, BY_H100) == "H100"
    driver.set(executor="ray")
    assert names(driver, [T4], BY_H100) == ["gpu:1"]  # whatever Ray calls it
    assert driver.said == []
    count_work(driver)
    assert required_model(driver.plan, BY_H100) == ""


def test_mixed_devices_are_used_when_they_are_asked_for(driver: Driver) -> None:
    driver.set(mixed_devices=True)
    assert names(driver, [T4, H100], BY_H100) == ["gpu:1", "gpu:0"]
    assert names(driver, [T4], BY_H100) == ["gpu:1"]
    assert driver.said == []


def test_another_model_under_a_time_budget_is_refused_in_one_line(driver: Driver) -> None:
    with pytest.raises(StudyMismatchError) as caught:
        names(driver, [T4], BY_H100)
    assert "its trials ran on H100, here is T4" in str(caught.value)
    assert "--mixed-devices" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_model_under_a_budget_of_work_is_said_and_used(driver: Driver) -> None:
    count_work(driver)
    assert names(driver, [T4], BY_H100) == ["gpu:1"]
    assert "differ by rounding only" in driver.said[0]


def test_every_value_names_its_device_and_one_of_another_than_the_baselines_is_doubted(driver: Driver) -> None:
    def run(job: Job) -> Outcome:
        return replace(complete(job), device="H100" if job.number == 0 else "T4")

    driver.run(run, trials=2)
    with driver.open() as study:
        first, second = study.records()
    assert (first.device, second.device) == ("H100", "T4")
    assert caveats(first, first) == []
    assert caveats(second, first) == ["device T4, the baseline's was H100"]


# --- two trials on a GPU ----------------------------------------------------------------------------------------------


def test_two_trials_on_a_gpu_are_for_budgets_of_work(driver: Driver) -> None:
    driver.set(trials_per_gpu=2)
    with pytest.raises(SettingsError, match="under a time budget a neighbour on the GPU changes val_bpb"):
        _ = driver.plan
    count_work(driver)
    assert driver.plan.workload.budget_is_work(driver.plan.constants)


def test_out_of_memory_beside_another_trial_teaches_nothing_and_is_tried_again_alone(driver: Driver) -> None:
    alone: list[Job] = []

    def run(job: Job) -> Outcome:
        if job.alone:
            alone.append(job)
        if job.number == 0 or (job.alone and len(alone) == 1):
            return complete(job)
        return Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, "CUDA out of memory", shared=not job.alone)

    driver.run(run, trials=3)
    with driver.open() as study:
        _, first, first_again, second, second_again = study.records()
    assert [each.state for each in (first, first_again, second, second_again)] == ["FAIL", "COMPLETE", "FAIL", "PRUNED"]
    assert [each.requeue_of for each in (first_again, second_again)] == [first.number, second.number]
    assert [dict(job.params)["X"] for job in alone] == [first.params["X"], second.params["X"]]
    assert [each.alone for each in (first, first_again, second, second_again)] == [False, True, False, True]


def test_that_a_trial_is_to_be_alone_survives_its_driver(driver: Driver) -> None:
    with driver.open() as study:
        job = driver.job(study.ask())
        study.tell(job, Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, shared=True))
    with driver.open() as study:
        again = study.ask()
        assert again.alone
        study.tell(driver.job(again), Outcome(TrialStatus.CANCELLED, 1.0))
    with driver.open() as study:
        assert driver.job(study.ask()).alone


def test_a_busy_gpu_ends_no_study_and_blames_no_parameters(driver: Driver) -> None:
    tries: list[int] = []

    def run(job: Job) -> Outcome:
        tries.append(job.number)
        busy = len(tries) <= 8  # more than max_consecutive_failures
        return Outcome(TrialStatus.BUSY, 0.0, "gpu:0 is held") if busy else complete(job)

    reason, _ = driver.run(run, trials=2)
    assert "2" in reason
    with driver.open() as study:
        records = study.records()
    assert [record.state for record in records].count("FAIL") == 8
    assert {str(record.params) for record in records[:9]} == {str(records[0].params)}
    assert records[8].attempt == 1


def study_on(driver: Driver, model: str) -> None:
    """A study `s` on a device of this model: one trial did not fit it, one took too long, one diverged."""

    def ends(job: Job) -> Outcome:
        bad = {2: TrialStatus.OUT_OF_MEMORY, 3: TrialStatus.TIMED_OUT, 4: TrialStatus.DIVERGED}.get(job.number)
        return replace(Outcome(bad, 1.0, "too much") if bad else complete(job), device=model)

    driver.run(ends, trials=8)
    driver.set(study="new", start_from="s")


def begun(driver: Driver, *slots: Slot) -> list[TrialRecord]:
    with (
        driver.database() as database,
        open_study(database, driver.plan, driver.data, driver.said.append, slots) as study,
    ):
        return study.records()


def test_what_did_not_fit_another_device_is_not_held_against_this_one(driver: Driver) -> None:
    count_work(driver)
    study_on(driver, "T4")
    taken = begun(driver, H100)
    assert [r.status for r in taken] == ["complete", "complete", "diverged", "complete", "complete", "complete"]
    assert driver.said == [
        "--from s: 6 trials copied, not counted against --trials; left out: 1 that ran out of memory on T4; "
        "1 that ran out of time on T4"
    ]
    assert (
        describe_start_from(replace(driver.plan, settings=replace(driver.settings, study="newer")), [H100])
        == driver.said
    )
    left = [r.params for r in records(driver, "s") if r.number in (2, 3)]
    with driver.open() as study:
        asked = []
        with suppress(SpaceExhausted):
            while True:
                asked.append(study.ask().params)
    assert all(any({**p, "PAIR": str(p["PAIR"])} == params for p in asked) for params in left)  # they are tried again


@pytest.mark.parametrize("slots", [[T4], [H100, T4], []], ids=["the same", "both", "not known"])
def test_what_did_not_fit_the_same_device_is_not_tried_again(driver: Driver, slots: list[Slot]) -> None:
    count_work(driver)
    study_on(driver, "T4")
    assert len(begun(driver, *slots)) == 8


def test_under_a_time_budget_the_best_of_another_model_are_tried_again_and_none_is_taken_over(driver: Driver) -> None:
    study_on(driver, "T4")
    assert begun(driver, H100) == []
    assert "its trials ran on T4, here is H100: its trials are not copied" in driver.said[0]
    driver.set(study="newer")
    assert len(begun(driver, T4)) == 8


def test_values_of_another_model_are_taken_over_where_mixed_ones_are_wanted(driver: Driver) -> None:
    study_on(driver, "T4")
    driver.set(mixed_devices=True)
    assert len(begun(driver, H100)) == 6
