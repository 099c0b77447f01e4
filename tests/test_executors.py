"""One contract for every executor, with the zoo of misbehaving scripts run through each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import ExecutorError
from optimize.executors import Executor, open_executor
from optimize.executors.local import LocalExecutor
from optimize.executors.simulated import SimulatedExecutor
from optimize.runner.process import run_job
from optimize.trial import Ending, Job, Limits, Metric, Outcome, Progress, Slot, TrialStatus
from tests import zoo
from tests.zoo import CUT, ENDINGS, PATIENT, endings, events_until_endings, eventually, guardians_of, living, zoo_job

SLOTS = (Slot("a", {"DEVICE": "a"}), Slot("b", {"DEVICE": "b"}))


def outcome_of(executor: Executor, job: Job) -> Outcome:
    executor.submit(job)
    return endings(executor)[0].outcome


class ExecutorContract:
    """What every executor keeps to. A subclass overrides the fixture `executor`, whose work folders lie in `place`."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("place")

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, place: Path) -> Iterator[Executor]:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _nothing_runs_between_tests(self, executor: Executor) -> Iterator[None]:
        assert executor.running == frozenset()
        yield
        for number in executor.running:
            executor.cancel(number, TrialStatus.CANCELLED, "the test has ended")
        while executor.running:
            executor.wait(1.0)

    @pytest.mark.parametrize("script", ENDINGS)
    def test_every_ending_is_told_apart_and_nothing_survives(
        self, executor: Executor, place: Path, script: str
    ) -> None:
        status, says = ENDINGS[script]
        outcome = outcome_of(executor, zoo_job(script))
        assert (outcome.status, says in outcome.reason) == (status, True), outcome.reason
        assert living(place) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("script", CUT)
    def test_a_limit_ends_everything_that_belongs_to_the_script(
        self, executor: Executor, place: Path, script: str
    ) -> None:
        limits, status, says = CUT[script]
        outcome = outcome_of(executor, zoo_job(script, limits=limits))
        assert (outcome.status, says in outcome.reason) == (status, True), outcome.reason
        assert living(place) == []

    def test_a_noisy_script_leaves_a_bounded_log(self, executor: Executor) -> None:
        outcome = outcome_of(executor, zoo_job("noisy", "50", limits=replace(PATIENT, log_mb=1.0)))
        assert outcome.status is TrialStatus.COMPLETE
        assert len(outcome.log) <= 1_000_000
        assert "bytes cut" in outcome.log

    def test_the_outcome_tells_slot_summary_seconds_and_log(self, executor: Executor) -> None:
        slot = executor.submit(zoo_job("ok"))
        outcome = endings(executor)[0].outcome
        assert slot in executor.slots
        assert outcome.slot == slot.name
        assert outcome.summary == {"val_bpb": 1.2345, "peak_vram_mb": 45060.2, "dataset": "tinystories"}
        assert outcome.seconds > 0
        assert "tok/sec: 1,234" in outcome.log

    def test_progress_comes_before_the_ending_and_in_order(self, executor: Executor) -> None:
        executor.submit(zoo_job("ok", number=3))
        *progress, ending = events_until_endings(executor)
        fractions = [event.fraction for event in progress if isinstance(event, Progress) and event.number == 3]
        assert fractions == [i / 10 for i in range(1, 11)]
        assert isinstance(ending, Ending)
        assert ending.outcome.curve == tuple((i / 10, pytest.approx(4 - i / 10)) for i in range(1, 11))

    def test_other_words_and_data_elsewhere_are_understood(self, executor: Executor, tmp_path: Path) -> None:
        outcome = outcome_of(executor, zoo.foreign_job(tmp_path / "texts"))
        assert outcome.summary == {"val_loss": 0.5}, outcome.reason
        assert outcome.curve == tuple((i / 4, 4.0 - i) for i in range(5))

    def test_the_ending_carries_the_job_that_was_submitted(self, executor: Executor) -> None:
        job = replace(zoo_job("ok", number=5), params={"ADAM_BETAS": (0.8, 0.95)}, metric=Metric("peak_vram_mb"))
        executor.submit(job)
        ending = endings(executor)[0]
        assert ending.job is job
        assert ending.outcome.status is TrialStatus.COMPLETE

    def test_a_number_below_0_is_another_trial_beside_the_one_of_the_same_folder(self, executor: Executor) -> None:
        for number in (7, ~7):
            executor.submit(zoo_job("slow_ok", number=number))
        assert executor.running == {7, ~7}
        executor.cancel(~7, TrialStatus.CANCELLED, "a test wants it")
        ended = {each.job.number: each.outcome.status for each in endings(executor, 2)}
        assert ended == {7: TrialStatus.COMPLETE, ~7: TrialStatus.CANCELLED}
        for number in ended:
            executor.forget(number)

    def test_running_are_those_that_have_not_ended(self, executor: Executor) -> None:
        assert executor.running == frozenset()
        executor.submit(zoo_job("ok", number=1))
        executor.submit(zoo_job("ok", number=2))
        assert executor.running == {1, 2}
        endings(executor, 2)
        assert executor.running == frozenset()

    def test_each_slot_runs_one_trial_at_a_time(self, executor: Executor) -> None:
        used = [executor.submit(zoo_job("ok", number=number)).name for number in range(2)]
        assert sorted(used) == sorted(slot.name for slot in executor.slots)
        assert executor.free == 0
        with pytest.raises(RuntimeError, match="no slot is free"):
            executor.submit(zoo_job("ok", number=2))
        endings(executor, 2)
        assert executor.free == len(executor.slots)

    def test_a_slot_is_used_again_and_again(self, executor: Executor) -> None:
        for number in range(5):
            outcome = outcome_of(executor, zoo_job("crash" if number % 2 else "ok", number=number))
            executor.forget(number)
            assert outcome.status is (TrialStatus.CRASHED if number % 2 else TrialStatus.COMPLETE)

    def test_a_cancelled_trial_ends_as_it_was_told_to(self, executor: Executor, place: Path) -> None:
        executor.submit(zoo_job("hang", number=4))
        executor.cancel(4, TrialStatus.HOPELESS, "worse than half of the others")
        executor.cancel(4, TrialStatus.CANCELLED, "a second wish does not count")
        outcome = endings(executor)[0].outcome
        assert outcome.status is TrialStatus.HOPELESS
        assert outcome.reason == "worse than half of the others"
        assert living(place) == []

    def test_cancelling_what_does_not_run_does_nothing(self, executor: Executor) -> None:
        executor.cancel(99, TrialStatus.CANCELLED, "why")
        assert outcome_of(executor, zoo_job("ok", number=1)).status is TrialStatus.COMPLETE
        executor.cancel(1, TrialStatus.CANCELLED, "too late")
        assert outcome_of(executor, zoo_job("ok", number=1)).status is TrialStatus.COMPLETE

    def test_waiting_for_nothing_ends_at_the_time_out(self, executor: Executor) -> None:
        assert executor.wait(0.01) == []

    def test_a_command_that_does_not_exist_is_the_environment(self, executor: Executor) -> None:
        outcome = outcome_of(executor, replace(zoo_job("ok"), command=("no_such_command", "train.py")))
        assert outcome.status is TrialStatus.ENVIRONMENT
        assert "'no_such_command' cannot be started: No such file or directory" in outcome.reason

    def test_leaving_ends_what_still_runs(self, executor: Executor, place: Path) -> None:
        executor.submit(zoo_job("hang", number=1))
        executor.__exit__(None, None, None)
        assert living(place) == []
        assert executor.running == frozenset()
        executor.__enter__()


class TestSimulatedExecutor(ExecutorContract):
    """With a real runner, without a guardian: this is also the contract of `run_job` where orphans are not adopted."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, place: Path) -> Iterator[Executor]:
        def run(job: Job) -> Outcome:
            return replace(run_job(job, place / str(job.number), Slot("a")), slot="")

        with SimulatedExecutor(run, slots=2) as executor:
            yield executor


@pytest.mark.slow
class TestLocalExecutor(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, place: Path) -> Iterator[Executor]:
        with LocalExecutor(SLOTS, place, place / "beside") as executor:
            yield executor

    def test_a_daemon_without_any_trace_of_its_trial_is_ended_too(self, executor: Executor, place: Path) -> None:
        assert outcome_of(executor, zoo_job("hidden_daemon")).status is TrialStatus.COMPLETE
        assert living(place) == []

    def test_children_that_beget_children_are_outrun(self, executor: Executor, place: Path) -> None:
        assert outcome_of(executor, zoo_job("forks_without_end")).status is TrialStatus.CRASHED
        assert living(place) == []

    def test_the_environment_is_exactly_that_of_the_job_and_the_slot(self, executor: Executor, place: Path) -> None:
        os.environ["A_SECRET_OF_THE_DRIVER"] = "secret"
        job = replace(zoo_job("prints_environment", number=8), env={"PATH": os.defpath, "LANG": "C.UTF-8"})
        slot = executor.submit(job)
        said = endings(executor)[0].outcome.log.partition("ENVIRONMENT ")[2].splitlines()[0]
        assert json.loads(said) == {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "DEVICE": slot.name,
            "OPTIMIZE_WORK_FOLDER": str(place / "8"),
        }

    def test_trials_in_two_slots_run_at_the_same_time(self, executor: Executor) -> None:
        executor.submit(zoo_job("hang", number=1))
        executor.submit(zoo_job("ok", number=2))
        assert endings(executor)[0].job.number == 2
        executor.cancel(1, TrialStatus.CANCELLED, "enough")
        assert endings(executor)[0].job.number == 1

    def test_a_trial_that_completed_before_it_was_cancelled_stays_complete(
        self, executor: Executor, place: Path
    ) -> None:
        executor.submit(zoo_job("hang_after_summary", number=1))
        log = place / "1" / "log"
        assert eventually(lambda: log.exists() and "val_bpb" in log.read_text())
        executor.cancel(1, TrialStatus.HOPELESS, "too late")
        assert endings(executor)[0].outcome.status is TrialStatus.COMPLETE

    def test_a_forgotten_trials_folder_is_removed_and_a_kept_one_stays(self, executor: Executor, place: Path) -> None:
        for number, keep in ((1, False), (2, True)):
            outcome_of(executor, zoo_job("locks_its_folder", number=number))
            executor.forget(number, keep=keep)
        executor.wait(0.0)
        assert eventually(lambda: not executor.wait(0.0) and not (place / "1").exists())
        assert (place / "2" / "files" / "train.py").exists()

    def test_a_number_can_be_used_again_while_its_folder_waits_to_be_removed(self, executor: Executor) -> None:
        for _ in range(3):
            assert outcome_of(executor, zoo_job("ok", number=1)).status is TrialStatus.COMPLETE
            executor.forget(1)

    def test_a_large_job_does_not_block(self, executor: Executor) -> None:
        job = zoo_job("ok")
        job = replace(job, files={**job.files, "prepare.py": "# é\n" * 2_000_000})
        assert outcome_of(executor, job).status is TrialStatus.COMPLETE

    def test_a_guardian_killed_with_9_takes_its_script_along_and_the_next_trial_works(
        self, executor: Executor, place: Path
    ) -> None:
        executor.submit(zoo_job("double_fork", number=1))
        executor.submit(zoo_job("hang", number=2))
        started = {event.number for event in executor.wait(120.0) if isinstance(event, Progress)}
        while started != {1, 2}:
            started |= {event.number for event in executor.wait(120.0) if isinstance(event, Progress)}
        for guardian in guardians_of(os.getpid()):
            os.kill(guardian, signal.SIGKILL)
        lost = endings(executor, 2)
        assert {ending.job.number for ending in lost} == {1, 2}
        assert {ending.outcome.status for ending in lost} == {TrialStatus.LOST}
        assert "guardian died" in lost[0].outcome.reason
        assert "step 00001" in lost[0].outcome.log
        assert living(place) == []
        assert outcome_of(executor, zoo_job("ok", number=3)).status is TrialStatus.COMPLETE

    def test_an_idle_guardian_killed_with_9_is_replaced(self, executor: Executor) -> None:
        outcome_of(executor, zoo_job("ok", number=1))
        for guardian in guardians_of(os.getpid()):
            os.kill(guardian, signal.SIGKILL)
        for number in (2, 3):
            executor.submit(zoo_job("ok", number=number))
        statuses = {ending.outcome.status for ending in endings(executor, 2)}
        assert statuses <= {TrialStatus.COMPLETE, TrialStatus.LOST}  # a job may have been on its way to a dead one
        assert outcome_of(executor, zoo_job("ok", number=4)).status is TrialStatus.COMPLETE

    def test_leaving_leaves_no_guardian(self, executor: Executor) -> None:
        outcome_of(executor, zoo_job("ok"))
        before = set(guardians_of(os.getpid()))
        assert len(before) == len(SLOTS)
        executor.__exit__(None, None, None)
        assert not before & set(guardians_of(os.getpid()))
        executor.__enter__()

    @pytest.mark.slow
    def test_driver_and_guardian_stay_small_through_a_log_of_half_a_gb(self, executor: Executor) -> None:
        outcome_of(executor, zoo_job("noisy", "10"))
        processes = [os.getpid(), *guardians_of(os.getpid())]
        before = [zoo.resident_mb(pid) for pid in processes]
        outcome = outcome_of(executor, zoo_job("noisy", "500", number=1, limits=Limits(total_s=500.0)))
        assert outcome.status is TrialStatus.COMPLETE
        assert max(zoo.resident_mb(pid) - old for pid, old in zip(processes, before, strict=True)) < 60

    def test_a_guardian_that_waits_sleeps_and_is_not_woken(self, executor: Executor) -> None:
        executor.submit(zoo_job("hang"))
        assert any(isinstance(event, Progress) for event in executor.wait(600.0))
        guardians = guardians_of(os.getpid())
        assert eventually(lambda: all(map(zoo.sleeps, guardians)))
        woken = sum(map(zoo.times_woken, guardians))
        for _ in range(50):
            time.sleep(0.02)
            assert all(map(zoo.sleeps, guardians))
        assert sum(map(zoo.times_woken, guardians)) - woken < 5


def test_a_work_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(ExecutorError, match="no trial can be run here"),
        LocalExecutor(SLOTS, tmp_path / "file" / "work"),
    ):
        pass


def test_the_local_executor_is_opened_by_its_name(tmp_path: Path) -> None:
    with open_executor("local", SLOTS, tmp_path) as executor:
        assert executor.slots == SLOTS


def test_an_unknown_executor_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="'slurm'"):
        open_executor("slurm", SLOTS, tmp_path)


@pytest.mark.slow
def test_a_driver_killed_with_9_leaves_nothing_running(tmp_path: Path) -> None:
    """Two silent scripts, one with a daemon in a session of its own."""
    code = (
        "import sys; from pathlib import Path; from tests.zoo import zoo_job; from optimize.trial import Slot\n"
        "from optimize.executors.local import LocalExecutor\n"
        "with LocalExecutor([Slot('a'), Slot('b')], Path(sys.argv[1])) as executor:\n"
        "    executor.submit(zoo_job('double_fork', number=1)); executor.submit(zoo_job('ignores_sigterm', number=2))\n"
        "    seen = set()\n"
        "    while len(seen) < 2: seen |= {event.number for event in executor.wait(60)}\n"
        "    print('running', flush=True)\n"
        "    executor.wait(3600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "running\n"
        guardians = guardians_of(driver.pid)
        assert len(guardians) == 2
        assert len(living(tmp_path)) >= 3
        driver.kill()
    assert eventually(lambda: living(tmp_path) == [])
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in guardians))
    records = [json.loads((tmp_path / str(number) / "exit.json").read_text()) for number in (1, 2)]
    assert [record["status"] for record in records] == ["lost", "lost"]
