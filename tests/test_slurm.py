"""A study in a real Slurm, as our sbatch files run it: killed, requeued, cancelled, and nothing lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Driver
from tests.slurm import ROOT, LocalSlurm, eventually, local_slurm, why_not
from tests.test_cli import slow_down

FILES = sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))
TRIALS = 14


@pytest.fixture
def slurm() -> Iterator[LocalSlurm]:
    if why := why_not():
        pytest.skip(why)
    with local_slurm() as slurm:
        yield slurm


def test_the_files_differ_only_in_what_they_are_about() -> None:
    same = {path.read_text().partition("# ---- what follows is the same")[2] for path in FILES}
    assert len(FILES) == 2
    assert len(same) == 1
    for path in FILES:
        subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_a_study_outlives_kills_requeues_and_a_cancelled_job(driver: Driver, slurm: LocalSlurm) -> None:
    slow_down(driver, 0.1)
    job, known = slurm.submit(driver, "one-node.sbatch", TRIALS), dict[int, float]()

    def wait_for_two_more() -> None:
        assert eventually(lambda: len(job.completed()) >= len(known) + 2), job.said + slurm.logs()
        now = job.completed()
        assert now.items() >= known.items()
        known.update(now)

    for _ in range(2):
        wait_for_two_more()
        job.kill_and_requeue()
    wait_for_two_more()
    slurm.run("scancel", "--batch", "--signal=USR1", job.number)  # as near the time limit
    job.start_now()
    assert job.state("Restarts") == "3"
    wait_for_two_more()
    slurm.run("scancel", job.number)
    job.until("CANCELLED")
    assert eventually(lambda: not slurm.processes(job.number))
    values = {record.number: record.value for record in job.records() if record.state == "COMPLETE"}
    assert values.items() >= known.items()

    other = slurm.submit(driver, "one-node.sbatch", TRIALS)  # which finds only the backup
    other.until("COMPLETED")
    assert job.state() == "CANCELLED"
    records = other.records()
    assert {record.number: record.value for record in records if record.state == "COMPLETE"}.items() >= values.items()
    assert [record.state for record in records].count("COMPLETE") == TRIALS
    assert {record.status for record in records} <= {"complete", "cancelled", "lost"}  # none is to blame
