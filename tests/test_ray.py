"""The executor contract on a real local Ray, and what dies there: tasks, guardians, drivers, nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import ExecutorError
from optimize.executors import Executor, open_executor
from optimize.executors.ray_cluster import Cluster
from optimize.trial import Ending, TrialStatus
from tests.clusters import LocalCluster, local_cluster
from tests.test_executors import ExecutorContract, outcome_of
from tests.zoo import children_of, command_of, endings, eventually, living, zoo_job

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
ROOT = Path(__file__).parent.parent
OWN = frozenset({"HOME", "PATH", "TMPDIR"})
CORES, GPUS = Cluster("cpu", own=OWN), Cluster("cuda", own=OWN)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One node with two cores and two GPUs that are none; this process's environment leads to it."""
    with local_cluster(tmp_path_factory.mktemp("cluster")) as found, pytest.MonkeyPatch.context() as patch:
        found.add(cpus=2, gpus=2)
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


class TestRayExecutor(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, cluster: LocalCluster) -> Path:
        return cluster.place / "node-1" / "temp"

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, place: Path) -> Iterator[Executor]:
        handler = signal.getsignal(signal.SIGTERM)
        with open_executor("ray", (), place, CORES) as executor:
            assert signal.getsignal(signal.SIGTERM) is handler
            yield executor

    def test_slots_are_named_after_their_node(self, executor: Executor) -> None:
        assert [slot.name for slot in executor.slots] == ["node-1/cpu:0", "node-1/cpu:1"]

    def test_each_machine_uses_its_own_value_of_what_is_a_fact_about_a_machine(
        self, executor: Executor, cluster: LocalCluster
    ) -> None:
        """And where we are imported from is what was sent, not the driver's clone."""
        env = {"PATH": "/the/drivers", "HOME": "/the/drivers", "HF_TOKEN_OF_THE_PROFILE": "passed on"}
        said = outcome_of(executor, replace(zoo_job("prints_environment"), env=env)).log
        found = json.loads(said.partition("ENVIRONMENT ")[2].splitlines()[0])
        assert found["HOME"] == str(cluster.place / "node-1" / "home")
        assert "/the/drivers" not in found.values()
        assert found["HF_TOKEN_OF_THE_PROFILE"] == "passed on"
        assert found["OMP_NUM_THREADS"] == "1"
        assert not {name for name in found if name.startswith("RAY_")}

    def test_a_daemon_without_any_trace_of_its_trial_is_ended_too(self, executor: Executor, place: Path) -> None:
        assert outcome_of(executor, zoo_job("hidden_daemon")).status is TrialStatus.COMPLETE
        assert living(place) == []

    def test_a_trial_that_completed_before_it_was_cancelled_stays_complete(
        self, executor: Executor, place: Path
    ) -> None:
        executor.submit(zoo_job("hang_after_summary", number=1))
        assert eventually(lambda: any("val_bpb" in log.read_text() for log in place.glob("optimize-session-*/1-*/log")))
        executor.cancel(1, TrialStatus.HOPELESS, "too late")
        assert endings(executor)[0].outcome.status is TrialStatus.COMPLETE

    @pytest.mark.parametrize("victim", ["task", "guardian"])
    def test_a_task_or_guardian_killed_with_9_takes_all_of_its_trial_along(
        self, executor: Executor, place: Path, victim: str
    ) -> None:
        executor.submit(zoo_job("double_fork", number=1))
        assert eventually(lambda: executor.wait(1.0))
        guardian = next(pid for pid in guardians_in(place) if children_of(pid))
        sentinel = parent_of(guardian)
        os.kill(guardian if victim == "guardian" else parent_of(sentinel), signal.SIGKILL)
        ending = endings(executor)[0]
        assert ending.outcome.status is TrialStatus.LOST
        assert ("guardian died" if victim == "guardian" else "node node-1") in ending.outcome.reason
        assert "step 00001" in ending.outcome.log
        assert living(place) == []
        assert outcome_of(executor, zoo_job("ok", number=2)).status is TrialStatus.COMPLETE

    def test_nothing_stays_on_the_node_but_the_session_that_runs(self, executor: Executor, place: Path) -> None:
        outcome_of(executor, zoo_job("ok"))
        assert eventually(lambda: [[p.name for p in s.iterdir()] for s in place.glob("optimize-*")] == [["alive"]])


def test_a_trial_sees_the_gpu_that_ray_gave_it(cluster: LocalCluster) -> None:
    with open_executor("ray", (), cluster.place, GPUS) as executor:
        assert [slot.name for slot in executor.slots] == ["node-1/gpu:0", "node-1/gpu:1"]
        for number in range(2):
            executor.submit(zoo_job("prints_environment", number=number))
        seen = {ending.outcome.log.partition('"CUDA_VISIBLE_DEVICES": "')[2][0] for ending in endings(executor, 2)}
    assert seen == {"0", "1"}
    with open_executor("ray", (), cluster.place, replace(GPUS, gpus_per_trial=2)) as executor:
        assert [slot.name for slot in executor.slots] == ["node-1/gpu:0"]
        assert '"CUDA_VISIBLE_DEVICES": "0,1"' in outcome_of(executor, zoo_job("prints_environment")).log
    with (
        pytest.raises(ExecutorError, match="no node of the cluster has a 3 GPU"),
        open_executor("ray", (), cluster.place, replace(GPUS, gpus_per_trial=3)),
    ):
        pass


def test_a_driver_killed_with_9_leaves_nothing_running_and_the_next_one_clears_up(cluster: LocalCluster) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.zoo import zoo_job; from tests.test_ray import CORES\n"
        "from optimize.executors import open_executor\n"
        "with open_executor('ray', (), Path(), CORES) as executor:\n"
        "    executor.submit(zoo_job('double_fork', number=1)); executor.submit(zoo_job('ignores_sigterm', number=2))\n"
        "    seen = set()\n"
        "    while len(seen) < 2: seen |= {event.number for event in executor.wait(60)}\n"
        "    print('running', flush=True)\n"
        "    executor.wait(3600)\n"
    )
    place = cluster.place / "node-1" / "temp"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "running\n"
        assert len(living(place)) >= 3
        driver.kill()
    assert eventually(lambda: living(place) == [])
    assert eventually(lambda: not guardians_in(place))
    with open_executor("ray", (), place, CORES) as executor:
        assert outcome_of(executor, zoo_job("ok")).status is TrialStatus.COMPLETE
        assert len(list(place.glob("optimize-session-*"))) == 1
    assert not list(place.glob("optimize-*"))


def test_a_node_that_joins_is_used_and_one_that_dies_loses_its_trial_but_not_the_study(cluster: LocalCluster) -> None:
    said: list[str] = []
    with open_executor("ray", (), cluster.place, replace(CORES, say=said.append)) as executor:
        assert len(executor.slots) == 2
        folder = cluster.add(cpus=1)
        assert eventually(lambda: executor.wait(0.2) == [] and len(executor.slots) == 3)
        for number in range(3):
            executor.submit(zoo_job("double_fork", number=number))
        assert executor.running == {0, 1, 2}
        assert eventually(lambda: executor.wait(0.2) == [] and len(living(folder)) >= 2)
        os.kill(cluster.raylet(folder), signal.SIGKILL)
        events = []
        assert eventually(lambda: events.extend(executor.wait(0.2)) or any(isinstance(e, Ending) for e in events))
        (lost,) = (event for event in events if isinstance(event, Ending))
        assert (lost.outcome.status, lost.outcome.slot) == (TrialStatus.LOST, "node-2/cpu:0")
        assert "node node-2" in lost.outcome.reason
        assert eventually(lambda: living(folder) == [])
        assert eventually(lambda: executor.wait(0.2) == [] and len(executor.slots) == 2)
        assert executor.running == {0, 1}
    assert any("node-2: ready" in line for line in said)
    assert any("node-2: gone" in line for line in said)


def test_a_cluster_whose_head_dies_is_one_line_and_nothing_goes_on(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of these tests: there is no cluster after it."""
    monkeypatch.setattr("optimize.executors.ray.HEAD_S", 3.0)
    with open_executor("ray", (), cluster.place, CORES) as executor:
        executor.submit(zoo_job("double_fork", number=1))
        assert eventually(lambda: executor.wait(1.0))
        for pid in cluster.processes():
            if command_of(Path(f"/proc/{pid}")).split(b"\0")[0].endswith(b"gcs_server"):
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(ExecutorError, match=r"the cluster's head .* has gone: .* Start it again, then the study"):
            endings(executor)
    assert eventually(lambda: living(cluster.place) == [])


def guardians_in(place: Path) -> list[int]:
    """Those whose temp folder is that node's."""
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if b"optimize.executors.ray_node" in command_of(process)
        and f"TMPDIR={place}".encode() in content(process / "environ")
        and b"optimize.executors.ray_node" in command_of(Path(f"/proc/{parent_of(int(process.name))}"))
    ]


def parent_of(pid: int) -> int:
    stat = content(Path(f"/proc/{pid}/stat"))
    return int(stat.rpartition(b")")[2].split()[1]) if stat else 0


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
