"""A GPU that fails: its trials are tried elsewhere, the other GPUs go on, and the study stops where none is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import StudyAborted
from optimize.executors.local import LocalExecutor
from optimize.executors.rests import MOST_REST_S, REST_S, Rests
from optimize.runner.process import run_job
from optimize.study.loop import Loop
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Job, Outcome, Slot, TrialStatus
from storage import TrialRecord, read_records
from tests.conftest import SCRIPT, Driver, complete
from tests.zoo import PATIENT

ECC = "CUDA error: uncorrectable ECC error encountered"
FAILED = Outcome(TrialStatus.DEVICE_FAILED, 1.0, f"gpu:0: {ECC}. Reset it")
GPUS = tuple(Slot(f"gpu:{name}", {"CUDA_VISIBLE_DEVICES": f"GPU-{name}"}) for name in "ab")


def records(driver: Driver) -> list[TrialRecord]:
    with driver.database() as database:
        return list(read_records(database, database.find_study("s") or 0))


def statuses(driver: Driver) -> list[str]:
    return [record.status or record.state for record in records(driver)]


def failing(*turns: int) -> Callable[[Job], Outcome]:
    """A device that fails at these turns, whatever it has to train."""
    seen: list[int] = []

    def run(job: Job) -> Outcome:
        seen.append(job.number)
        return FAILED if len(seen) - 1 in turns else complete(job)

    return run


# --- which slot gets the next trial -----------------------------------------------------------------------------------


def test_a_device_is_tried_again_at_once_then_rests_ever_longer_until_a_trial_ends_otherwise() -> None:
    now = [0.0]
    rests, (slot, other) = Rests(now=lambda: now[0]), GPUS

    def rest_after(status: TrialStatus) -> float:
        rests.ended(Outcome(status, 1.0, slot=slot.name))
        began = now[0]
        while not rests.is_over(slot):
            now[0] += 1.0
        return now[0] - began

    failed = TrialStatus.DEVICE_FAILED
    assert [rest_after(failed) for _ in range(7)] == [0.0, REST_S, 600.0, 1200.0, 2400.0, MOST_REST_S, MOST_REST_S]
    assert (rest_after(TrialStatus.COMPLETE), rest_after(failed), rest_after(failed)) == (0.0, 0.0, REST_S)
    assert rest_after(TrialStatus.BUSY) == 600.0  # whoever holds it, it cannot be used
    assert rests.is_over(other)


def test_nothing_is_left_when_each_device_has_failed_twice_in_a_row() -> None:
    rests = Rests()
    for name, all_failed in (("gpu:a", False), ("gpu:b", False), ("gpu:a", False), ("gpu:b", True)):
        rests.ended(replace(FAILED, slot=name))
        assert rests.have_failed(GPUS) == all_failed
    assert not rests.have_failed((*GPUS, Slot("gpu:c")))
    assert not rests.have_failed(())  # a cluster whose nodes are still to come
    rests.ended(Outcome(TrialStatus.CRASHED, 1.0, slot="gpu:b"))
    assert not rests.have_failed(GPUS)


# --- what a study does ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fault_that_passes_costs_one_attempt_and_teaches_nothing(driver: Driver) -> None:
    reason, _ = driver.run(failing(1, 3), trials=6)
    assert "6 trials" in reason
    assert statuses(driver).count("complete") == 6
    failed = [record for record in records(driver) if record.status == "device_failed"]
    assert [(record.state, record.attempt) for record in failed] == [("FAIL", 1), ("FAIL", 1)]
    again = {record.requeue_of: record for record in records(driver)}
    assert all(again[record.number].params == record.params for record in failed)


@pytest.mark.slow
def test_where_no_device_is_left_the_study_stops_with_everything_queued_and_goes_on_later(driver: Driver) -> None:
    driver.run(trials=3)
    with pytest.raises(StudyAborted, match=r"gpu:0: CUDA error.*its parameters are queued"):
        driver.run(failing(*range(99)), slots=2)
    assert statuses(driver).count("device_failed") == 4  # each of them twice
    assert statuses(driver).count("WAITING") == 2
    driver.run(trials=6)
    assert (statuses(driver).count("complete"), statuses(driver).count("WAITING")) == (6, 0)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 4])
def test_before_anything_has_trained_it_stops_at_once(driver: Driver, slots: int) -> None:
    with pytest.raises(StudyAborted, match="uncorrectable ECC"):
        driver.run(failing(0), slots=slots)
    assert statuses(driver) == ["device_failed", "WAITING"]
    assert driver.run(trials=2)[1].ended[-1][1] == "complete"


DIES = f"""\
import os
from pathlib import Path
gpu, used = os.environ["CUDA_VISIBLE_DEVICES"], Path({{folder!r}}, "used")
if gpu == "GPU-b" and used.exists():
    raise RuntimeError("{ECC}")
used.touch()
"""


@pytest.mark.slow
def test_one_gpu_of_two_dies_and_the_other_trains_all_that_is_left(driver: Driver, tmp_path: Path) -> None:
    (driver.folder / "workload" / "train.py").write_text(DIES.format(folder=str(tmp_path)) + SCRIPT)
    with driver.open() as study, StopSignals() as stop_signals:
        executor = LocalExecutor(GPUS, tmp_path / "work", rest_s=3600.0)
        Loop(study, executor, driver.job, Budget(8), (), stop_signals).run()
    assert statuses(driver).count("complete") == 8
    failed = [record for record in records(driver) if record.status == "device_failed"]
    assert [record.slot for record in failed] == ["gpu:b", "gpu:b"]
    assert all(record.reason.startswith(f"gpu:b: RuntimeError: {ECC}. ") for record in failed)
    assert {record.slot for record in records(driver) if record.status == "complete"} == {"gpu:a"}


# --- what one trial says ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("visible", "status", "says"),
    [
        ("GPU-a", TrialStatus.DEVICE_FAILED, "gpu:a: RuntimeError: No CUDA GPUs are available. It cannot be opened"),
        ("", TrialStatus.ENVIRONMENT, "gpu:a: the script wants a GPU, and the profile gives it a CPU core. Choose"),
    ],
)
def test_a_reason_names_the_gpu_or_says_that_there_is_none(
    tmp_path: Path, visible: str, status: TrialStatus, says: str
) -> None:
    files = {"train.py": 'raise RuntimeError("No CUDA GPUs are available")\n'}
    job = Job(1, {}, files, ("{python}", "-S", "train.py"), {"PATH": os.defpath}, limits=PATIENT)
    outcome = run_job(job, tmp_path / "1", Slot("gpu:a", {"CUDA_VISIBLE_DEVICES": visible}))
    assert (outcome.status, says in outcome.reason) == (status, True), outcome.reason
