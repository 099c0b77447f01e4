"""Runs trials on a Ray cluster: one Ray task each, pinned to a node that has the same Python, torch and data.

The only file that imports ray. It runs no job itself: `ray_node.py` does on a node, and only that is sent there. Ray places
tasks, carries messages and notices deaths; it never retries a trial. No node sees the database or a shared disk.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
import ray._private.worker as ray_worker
from ray._private.services import canonicalize_bootstrap_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

from optimize.errors import ExecutorError
from optimize.executors.ray_cluster import Cluster, Node, Roster, State, host_of, places, seeming_slots, unreachable
from optimize.executors.ray_node import NodeFacts, Steward, copy_travellers, facts, run_trial
from optimize.executors.rests import Rests
from optimize.text import one_line
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus

LOOK_S = 2.0  # between two queries of the cluster: nodes come and go
HEAD_S = 30.0  # without the head: Ray would end us silently after 60 s
ANSWER_S = 120.0  # for every node to say what it has
BUNCHES_PER_S = 200  # of progress that this thread can read, from all trials together
UNSTARTED_S = 2.0  # a cancelled trial that waits for a busy node is taken back after this
GOES_ON = "Start it again, then the study: it goes on where it stopped"
HINT = "Start one with `ray start --head`, or name one: RAY_ADDRESS=host:6379"


@dataclass(eq=False, slots=True)
class _RayTrial:
    """A trial that was submitted, and its task."""

    job: Job
    slot: Slot
    node: Node
    key: str
    stream: Any  # of its events; None once it has broken off
    submitted: float
    started: bool = False
    stop: tuple[TrialStatus, str] | None = None
    take_back_at: float = math.inf

    def cancel_task(self) -> None:
        """End its task, if that lives."""
        if self.stream is not None:
            ray.cancel(self.stream)


class RayExecutor:
    """An `Executor` over the nodes of a running cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reset()

    def _reset(self) -> None:
        self._roster = Roster(self._cluster, facts(self._cluster.device))
        self._trials: dict[int, _RayTrial] = {}
        self._awaited: dict[Any, Callable[[Any], None]] = {}  # answers that stewards owe us -> what to do with them
        self._events: list[Progress | Ending] = []
        self.rests = Rests()
        self._numbers = count()
        self._next_update = 0.0

    def __enter__(self) -> RayExecutor:
        connect()
        self._head, self._head_seen = ray.get_runtime_context().gcs_address, time.monotonic()
        self._session = uuid.uuid4().hex
        gpus = 0 if self._cluster.device == "cpu" else self._cluster.gpus_per_trial
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(run_trial)
        self._steward = ray.remote(num_cpus=0, max_restarts=0)(Steward)
        try:
            self._update_nodes()
            deadline = time.monotonic() + ANSWER_S
            while self._roster.asked() and time.monotonic() < deadline:
                self._serve(1.0)
            self._roster.give_up_silent()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(ExecutorError, ray.exceptions.RayError):
                self._cancel_all()
                leaving = [node.steward.leave.remote() for node in self._roster.ready()]
                ray.wait(leaving, num_returns=len(leaving), timeout=5.0) if leaving else None
        finally:
            ray.shutdown()  # whatever is left there ends with our connection
            self._reset()

    def _cancel_all(self) -> None:
        for number in self.running:
            self.cancel(number, TrialStatus.CANCELLED, "the driver ended")
        grace_s = max((trial.job.limits.grace_s for trial in self._trials.values()), default=0.0)
        deadline = time.monotonic() + grace_s + 2 * UNSTARTED_S + 1.0
        while self.running and time.monotonic() < deadline:
            self.wait(0.1)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots of the nodes that are there now."""
        return self._roster.slots

    @property
    def running(self) -> frozenset[int]:
        return frozenset(self._trials)

    @property
    def free(self) -> int:
        return len(self._idle())

    def submit(self, job: Job) -> Slot:
        slots, idle = self.slots, self._idle()
        if not idle:
            raise RuntimeError("no slot is free")
        slot = idle[0]
        node = self._roster.node_of(slot)
        key = f"{job.number}-{next(self._numbers)}"
        stream = self._task.options(name=f"trial {job.number}", scheduling_strategy=On(node.id, soft=False)).remote(
            job, slot, key, node.session, self._cluster.own, max(0.5, len(slots) / BUNCHES_PER_S)
        )
        self._trials[job.number] = _RayTrial(job, slot, node, key, stream, time.monotonic())
        return slot

    def _idle(self) -> list[Slot]:
        taken = {trial.slot.name for trial in self._trials.values()}
        return [slot for slot in self.slots if slot.name not in taken and self.rests.is_over(slot)]

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        deadline = time.monotonic() + timeout_s
        while not self._events:
            if time.monotonic() >= self._next_update:
                self._update_nodes()
            due = min(deadline, self._next_update, self._take_back())
            self._serve(max(due - time.monotonic(), 0.0))
            if time.monotonic() >= deadline:
                break
        events, self._events = self._events, []
        return events

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        trial = self._trials.get(number)
        if trial is None or trial.stop is not None:
            return
        trial.stop = (status, reason)
        if not trial.started:
            trial.take_back_at = time.monotonic() + UNSTARTED_S
        self._ask(trial.node, trial.node.steward.stop.remote(trial.key, status, reason), else_do=trial.cancel_task)

    def forget(self, number: int, keep: bool = False) -> None:
        """Do nothing: its folder was removed with its task."""

    def _serve(self, timeout_s: float) -> None:
        watched: dict[Any, Callable[[Any], None]] = dict(self._awaited)
        for trial in self._trials.values():
            if trial.stream is not None:
                watched[trial.stream] = lambda _, trial=trial: self._read(trial)  # type: ignore[misc]
        if not watched:
            time.sleep(timeout_s)
            return
        ready, _ = ray.wait(list(watched), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(list(watched), num_returns=len(watched), timeout=0)
        for each in ready:
            self._awaited.pop(each, None)
            watched[each](each)

    def _ask(
        self,
        node: Node,
        answer: Any,
        then: Callable[[Any], object] = lambda value: None,
        else_do: Callable[[], object] = lambda: None,
    ) -> None:
        """Call `then(value)` when a steward has answered, `else_do()` if it fails; its node is given up then."""

        def receive(ref: Any) -> None:
            try:
                value = ray.get(ref)
            except ray.exceptions.RayError as error:
                self._roster.failed(node, _said(error))
                else_do()
            else:
                then(value)

        self._awaited[answer] = receive

    def _read(self, trial: _RayTrial) -> None:
        try:
            bunch: list[Progress | Outcome] = ray.get(next(trial.stream))
        except (ray.exceptions.RayError, StopIteration) as error:
            self._broken(trial, error)
            return
        trial.started, trial.take_back_at = True, math.inf
        for event in bunch:
            if isinstance(event, Progress):
                self._events.append(event)
            else:
                self._end(trial, event)

    def _end(self, trial: _RayTrial, outcome: Outcome) -> None:
        del self._trials[trial.job.number]
        self.rests.ended(outcome)
        self._events.append(Ending(trial.job, outcome))

    def _broken(self, trial: _RayTrial, error: Exception) -> None:
        """Its task has died. The trial ends when its node reports that nothing of it is left, or has gone itself."""
        trial.stream, trial.take_back_at = None, math.inf
        status, why = _diagnose_death(error, trial)
        seconds, slot = time.monotonic() - trial.submitted, trial.slot.name
        dead = Outcome(status, seconds, why, slot=slot)
        if not self._roster.has(trial.node):
            self._end(trial, dead)
            return

        def then(found: Outcome) -> None:
            self._end(trial, replace(found, status=status, reason=why) if found.status is TrialStatus.LOST else found)

        answer = trial.node.steward.clear.remote(trial.key, slot, seconds, why)
        self._ask(trial.node, answer, then, lambda: self._end(trial, dead))

    def _take_back(self) -> float:
        """Take back what was cancelled and has not started for too long. Return when that is due for the next."""
        for trial in self._trials.values():
            if time.monotonic() >= trial.take_back_at:
                trial.take_back_at = math.inf
                trial.cancel_task()
        return min((trial.take_back_at for trial in self._trials.values()), default=math.inf)

    def _update_nodes(self) -> None:
        """Add the nodes that have come, drop those that have gone."""
        self._next_update = time.monotonic() + LOOK_S
        if not self._head_answers():
            return
        alive = {info["NodeID"]: info for info in _nodes()}
        self._roster.keep(alive)
        for info in alive.values():
            if info["NodeID"] not in self._roster and places(info["Resources"], self._cluster):
                self._add(info)
        self._roster.settle()

    def _head_answers(self) -> bool:
        """Return whether the head accepts a connection, which Ray would wait for. Raises ExecutorError after HEAD_S without."""
        if why := unreachable(self._head):
            if time.monotonic() - self._head_seen < HEAD_S:
                return False
            raise ExecutorError(f"executor ray: the cluster's head {self._head} has gone: {why}. {GOES_ON}")
        self._head_seen = time.monotonic()
        return True

    def _add(self, info: dict[str, Any]) -> None:
        session, on = f"{self._session}-{next(self._numbers)}", On(info["NodeID"], soft=False)
        steward = self._steward.options(scheduling_strategy=on).remote(session)
        node = self._roster.add(info["NodeID"], host_of(info), info["Resources"], session, steward)

        def then(found: NodeFacts) -> None:
            self._roster.answered(node, found)
            if node.state is State.PREPARING:
                self._prepare(node)

        self._ask(node, steward.facts.remote(self._cluster.device), then)

    def _prepare(self, node: Node) -> None:
        preparation, own = self._cluster.preparation, self._cluster.own
        if preparation is None:
            self._roster.prepared(node, self._cluster.data)
            return
        self._cluster.say(f"node {node.name}: preparing its data")
        env = {name: value for name, value in self._cluster.env.items() if name not in own}
        answer = node.steward.prepare.remote(preparation, env, own)
        self._ask(node, answer, lambda pair: self._roster.prepared(node, *pair))


# --- the cluster ------------------------------------------------------------------------------------------------------


def connect() -> None:
    """Become a driver of the cluster that RAY_ADDRESS names, or of the one on this machine. Raises ExecutorError."""
    if ray.is_initialized():
        return
    try:
        address = canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError):
        address = None
    if address is None:
        raise ExecutorError(f"executor ray: no cluster is running here. {HINT}")
    if why := unreachable(address):
        raise ExecutorError(f"executor ray: {address} cannot be reached: {why}. {HINT}")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray_worker._worker_logs_enabled = False  # it would print into our view, whatever log_to_driver says
    with tempfile.TemporaryDirectory(prefix="optimize-travels-") as folder:
        package = str(copy_travellers(Path(folder)))
        try:
            ray.init("auto", log_to_driver=False, logging_level=logging.CRITICAL, runtime_env={"py_modules": [package]})
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, AssertionError) as error:
            ray.shutdown()
            raise ExecutorError(f"executor ray: {address}: {_said(error, 300)}") from None
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced it by its own


def cluster_slots(cluster: Cluster) -> Sequence[Slot]:
    """Return the slots that the cluster seems to have, before any node is asked. Raises ExecutorError if there is none."""
    connect()
    return seeming_slots(_nodes(), cluster)


def _nodes() -> list[dict[str, Any]]:
    try:
        return [info for info in ray.nodes() if info["Alive"]]
    except Exception as error:  # Ray has no one class for it
        raise ExecutorError(f"executor ray: the cluster does not answer: {_said(error)}. {GOES_ON}") from None


def _diagnose_death(error: Exception, trial: _RayTrial) -> tuple[TrialStatus, str]:
    """Return what the death of a task means for its trial."""
    where = f"node {trial.node.name}"
    match error:
        case ray.exceptions.TaskCancelledError() if trial.stop is not None:
            return trial.stop
        case ray.exceptions.OutOfMemoryError():
            return TrialStatus.OUT_OF_MEMORY, f"{where} ran out of memory, and Ray ended the trial"
        case ray.exceptions.RayTaskError():
            return TrialStatus.ENVIRONMENT, f"{where}: {error.cause!r}"
        case ray.exceptions.RuntimeEnvSetupError():
            return TrialStatus.ENVIRONMENT, f"{where}: our code did not get there: {_said(error)}"
    return TrialStatus.LOST, f"{where}: the trial died with it or with its task: {_said(error)}"


def _said(error: Exception, limit: int = 200) -> str:
    return one_line(str(error), limit) or type(error).__name__
