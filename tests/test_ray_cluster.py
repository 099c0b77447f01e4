"""Which nodes take part in a study, and what runs on one of them: without a cluster, without Ray."""

from __future__ import annotations

import ast
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
from optimize.executors.ray_cluster import Cluster, Names, Node, Roster, State, places, seeming_slots
from optimize.executors.ray_node import TRAVELS, NodeFacts, Steward, _spare, copy_travellers, run_trial
from optimize.runner.prepare import Preparation
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus
from tests.test_architecture import MODULES, ours
from tests.zoo import children_of, eventually, living, zoo_job

HERE = NodeFacts("3.11", "2.13.0", "")
CORES = {"CPU": 2.0}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def roster(said: list[str]) -> Roster:
    return Roster(Cluster("cpu", data="f5", say=said.append), HERE)


def join(roster: Roster, name: str, model: str = "Xeon", data: str = "f5") -> Node:
    node = roster.add(name, name, CORES, "session", None)
    roster.answered(node, replace(HERE, device=model))
    roster.prepared(node, data)
    return node


def names(roster: Roster) -> list[str]:
    return [slot.name for slot in roster.slots]


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_no_slot_is_on_offer_before_every_node_of_the_beginning_is_ready(roster: Roster) -> None:
    first, second = (roster.add(name, name, CORES, "s", None) for name in ("a", "b"))
    for node in (first, second):
        assert roster.slots == ()
        roster.answered(node, HERE)
        roster.prepared(node, "f5")
    assert names(roster) == ["a/cpu:0", "a/cpu:1", "b/cpu:0", "b/cpu:1"]
    assert {slot.env["CUDA_VISIBLE_DEVICES"] for slot in roster.slots} == {""}


def test_all_that_does_not_fit_in_the_beginning_is_told_at_once(roster: Roster) -> None:
    first, second = (roster.add(name, name, CORES, "s", None) for name in ("a", "b"))
    roster.answered(first, replace(HERE, python="3.12"))
    with pytest.raises(ExecutorError) as error:
        roster.answered(second, replace(HERE, torch="2.9.1"))
    assert error.value.problems == (
        "node a: it has Python 3.12, this machine has 3.11. Install the same on both, or take the node out of the cluster",
        "node b: it has torch 2.9.1, this machine has 2.13.0. Install the same on both, or take the node out of the cluster",
    )


def test_other_data_is_an_error_in_the_beginning_and_leaves_the_node_out_later(roster: Roster, said: list[str]) -> None:
    join(roster, "a")
    join(roster, "b", data="f6")
    assert names(roster) == ["a/cpu:0", "a/cpu:1"]
    assert "node b: its data has the fingerprint f6, this machine's has f5." in said[-1]
    assert said[-1].endswith("It is left out")
    fresh = Roster(Cluster("cpu", data="f5"), HERE)
    first = fresh.add("a", "a", CORES, "s", None)
    fresh.answered(first, HERE)
    with pytest.raises(ExecutorError, match="node a: its data cannot be prepared: no space"):
        fresh.prepared(first, "", "no space")


def test_a_node_that_joins_adds_slots_and_one_that_goes_takes_its_own_along(roster: Roster, said: list[str]) -> None:
    gone = join(roster, "a")
    join(roster, "b")
    roster.keep({"b"})
    assert names(roster) == ["b/cpu:0", "b/cpu:1"]
    assert not roster.has(gone)
    assert said[-1] == "node a: gone: it is no longer part of the cluster"
    roster.keep(set())
    assert roster.slots == ()
    assert said[-1] == "no node is left: waiting for one to come. Ctrl-C ends the study"
    assert names(roster) == []
    join(roster, "c")
    assert names(roster) == ["c/cpu:0", "c/cpu:1"]


def test_another_model_of_device_stays_idle_unless_that_is_wanted(said: list[str]) -> None:
    for mixed, expected in ((False, ["a/cpu:0", "a/cpu:1"]), (True, ["a/cpu:0", "a/cpu:1", "b/cpu:0", "b/cpu:1"])):
        roster = Roster(Cluster("cpu", data="f5", mixed_devices=mixed, say=said.append), HERE)
        join(roster, "a")
        other = join(roster, "b", model="Epyc")
        assert names(roster) == expected
        assert (other.state is State.OUT) is not mixed
    assert any("node b: it stays idle: it has Epyc, the study runs on Xeon" in line for line in said)


def test_a_study_goes_on_with_the_model_of_its_values_and_without_it_not_at_all(said: list[str]) -> None:
    roster = Roster(Cluster("cpu", data="f5", model="Epyc", say=said.append), HERE)
    nodes = [roster.add(name, name, CORES, "s", None) for name in ("a", "b", "c")]
    for node, model in zip(nodes, ("Xeon", "Xeon", "Epyc"), strict=True):
        roster.answered(node, replace(HERE, device=model))
    for node in nodes:
        roster.prepared(node, "f5")
    assert names(roster) == ["c/cpu:0", "c/cpu:1"]  # although it has fewer places
    with pytest.raises(ExecutorError, match="the study's trials ran on Epyc, the cluster has Xeon"):
        join(Roster(Cluster("cpu", data="f5", model="Epyc"), HERE), "a")


def test_a_steward_that_dies_at_its_greeting_puts_the_node_out_and_later_has_it_greeted_again(roster: Roster) -> None:
    gone = join(roster, "a")
    roster.failed(gone, "killed")
    assert "a" not in roster
    again = roster.add("a", "a", CORES, "s", None)
    roster.failed(again, "killed")
    assert "a" in roster
    assert again.state is State.OUT
    fresh = Roster(Cluster("cpu"), HERE)
    first = fresh.add("b", "b", CORES, "s", None)
    with pytest.raises(ExecutorError, match="node b: it cannot be used: no space left"):
        fresh.failed(first, "no space left")


def test_the_number_of_slots_is_limited_by_what_was_asked_for() -> None:
    infos = [
        {
            "NodeID": str(i),
            "NodeName": "",
            "NodeManagerAddress": "",
            "NodeManagerHostname": "gpu",
            "Resources": resources,
        }
        for i, resources in enumerate(
            [{"CPU": 8.0, "GPU": 2.0, "accelerator_type:H100": 1.0}, {"CPU": 1.0, "GPU": 4.0}]
        )
    ]
    found = seeming_slots(infos, Cluster("cuda"))
    assert [(slot.name, slot.device) for slot in found] == [
        ("gpu/gpu:0", "H100"),
        ("gpu/gpu:1", "H100"),
        ("gpu-2/gpu:0", "cuda"),
    ]
    assert len(seeming_slots(infos, Cluster("cuda", count=1))) == 1
    with pytest.raises(ExecutorError, match="no node of the cluster has a core to give"):
        seeming_slots([], Cluster("cpu"))


def test_a_trial_takes_a_core_and_its_gpus() -> None:
    assert places({"CPU": 16.0, "GPU": 8.0}, Cluster("cuda", gpus_per_trial=3)) == 2
    assert places({"CPU": 3.0, "GPU": 8.0}, Cluster("cuda")) == 3
    assert places({"CPU": 3.0}, Cluster("cuda")) == 0


def test_a_node_keeps_its_name() -> None:
    given = Names()
    assert [given.name(id, "host") for id in ("x", "y", "x")] == ["host", "host-2", "host"]


# --- what travels -----------------------------------------------------------------------------------------------------


def test_what_travels_is_all_that_it_imports_and_nothing_else(tmp_path: Path) -> None:
    needed, unseen = set(), {"optimize.executors.ray_node"}
    while unseen:
        module = unseen.pop()
        needed.add(module)
        unseen |= {name for name in at_import(module) | packages_of(module) if name not in needed}
    files = {MODULES[name].relative_to(MODULES["optimize"].parent).as_posix() for name in needed}
    assert files == set(TRAVELS)
    assert ours(MODULES["optimize.executors.ray_node"]) <= needed
    copy_travellers(tmp_path)
    code = "import optimize.executors.ray_node as node; print(node.__file__)"
    argv = [sys.executable, "-S", "-c", code]
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True).stdout.startswith(str(tmp_path))


def at_import(module: str) -> set[str]:
    """Modules of ours that are imported on top, not in a function and not for type checkers."""
    names = set[str]()
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("optimize"):
            both = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
            names |= both & MODULES.keys()
    return names


def packages_of(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


# --- what runs on a node ----------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    steward = Steward("one")
    yield "one"
    steward.leave()
    while _spare:
        _spare.pop().close()


def run(job: Job, session: str) -> tuple[list[Progress], Outcome]:
    bunches = list(run_trial(job, Slot("n/cpu:0"), "1-1", session, frozenset(), 0.0))
    assert bunches[0] == []
    *progress, outcome = (event for bunch in bunches for event in bunch)
    assert isinstance(outcome, Outcome)
    return [event for event in progress if isinstance(event, Progress)], outcome


def test_a_trial_yields_its_progress_and_its_outcome_and_leaves_nothing(session: str, tmp_path: Path) -> None:
    progress, outcome = run(zoo_job("ok"), session)
    assert [event.fraction for event in progress] == [i / 10 for i in range(1, 11)]
    assert (outcome.status, outcome.slot) == (TrialStatus.COMPLETE, "n/cpu:0")
    assert [path.name for path in (tmp_path / "optimize-session-one").iterdir()] == ["alive"]


def test_a_guardian_is_used_again_unless_it_has_died(session: str) -> None:
    assert run(zoo_job("ok"), session)[1].status is TrialStatus.COMPLETE
    (first,) = _spare
    assert run(zoo_job("crash"), session)[1].status is TrialStatus.CRASHED
    assert _spare == [first]
    (guardian,) = children_of(first._process.pid)
    os.kill(guardian, signal.SIGKILL)
    first._process.wait()
    assert run(zoo_job("ok"), session)[1].status is TrialStatus.COMPLETE
    assert _spare != [first]


def test_the_trial_of_a_guardian_that_dies_is_lost_on_its_slots_device(session: str) -> None:
    run(zoo_job("ok"), session)
    (sentinel,) = _spare
    (guardian,) = children_of(sentinel._process.pid)
    bunches = run_trial(zoo_job("hang"), Slot("n/cpu:0", device="a CPU"), "1-1", session, frozenset(), 0.0)
    while not next(bunches):
        pass
    os.kill(guardian, signal.SIGKILL)
    lost = [*bunches][-1][-1]
    assert isinstance(lost, Outcome)
    assert (lost.status, lost.slot, lost.device) == (TrialStatus.LOST, "n/cpu:0", "a CPU")
    assert "its guardian died" in lost.reason
    assert "step 00001" in lost.log


def test_a_stop_request_is_followed_even_if_it_comes_first(session: str, tmp_path: Path) -> None:
    (tmp_path / "optimize-session-one" / "1-1.stop").write_text(json.dumps(["hopeless", "enough"]))
    outcome = run(zoo_job("hang"), session)[1]
    assert (outcome.status, outcome.reason) == (TrialStatus.HOPELESS, "enough")


def test_whoever_kills_the_children_of_a_task_that_has_died_reaches_no_guardian_too_early(tmp_path: Path) -> None:
    """As Ray does: SIGKILL to the task and to its children. A daemon in a session of its own must not survive that."""
    code = (
        "import sys; from tests.zoo import zoo_job; from optimize.trial import Slot\n"
        "from optimize.executors.ray_node import Steward, run_trial\n"
        "steward = Steward('one')\n"
        "for bunch in run_trial(zoo_job('double_fork'), Slot('a'), '1-1', 'one', frozenset(), 0.0):\n"
        "    if bunch: print('running', flush=True)\n"
    )
    root, env = Path(__file__).parent.parent, {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, env=env, stdout=subprocess.PIPE, text=True) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == "running\n"
        assert len(living(tmp_path)) >= 2
        children = children_of(task.pid)
        task.kill()
        for child in children:
            os.kill(child, signal.SIGKILL)
    assert eventually(lambda: living(tmp_path) == [])


def test_the_session_of_a_driver_that_died_is_removed_by_the_next_and_a_living_one_is_not(
    session: str, tmp_path: Path
) -> None:
    dead = tmp_path / "optimize-session-dead"
    dead.mkdir()
    (dead / "alive").touch()
    other = Steward("other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optimize-session-one", "optimize-session-other"]
    other.leave()


def test_data_is_prepared_with_the_nodes_own_environment_and_says_what_went_wrong(
    session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/of/the/node")
    steward = Steward("two")
    good = "import os; print('---'); print('data_fingerprint: ', os.environ['HOME'] + os.environ['MINE'])"
    command = ("{python}", "-S", "prepare.py")
    env, own = {"MINE": "!"}, frozenset({"HOME"})
    assert steward.prepare(Preparation({"prepare.py": good}, command), env, own) == ("/home/of/the/node!", "")
    fingerprint, problem = steward.prepare(
        Preparation({"prepare.py": "import sys; print('no texts'); sys.exit(3)"}, command), env, own
    )
    assert fingerprint == ""
    assert "exit code 3" in problem
    assert problem.endswith("no texts")
    steward.leave()


def test_a_node_that_lacks_a_folder_of_data_says_so_before_any_trial(session: str, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    steward = Steward("two")
    fingerprint, problem = steward.prepare(Preparation({}, (), {"data": str(tmp_path / "texts")}), {}, frozenset())
    assert (bool(fingerprint), problem) == (True, "")
    gone = Preparation({}, (), {"data": str(tmp_path / "nowhere")})
    fingerprint, problem = steward.prepare(gone, {}, frozenset())
    assert (fingerprint, f"{tmp_path}/nowhere" in problem) == ("", True)
    steward.leave()
