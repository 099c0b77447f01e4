"""Runs on a node of a cluster: a task that has a guardian run a trial, and a steward that answers for the node.

Standard library only, because only the files in TRAVELS are sent to a node. It knows neither Ray (`ray.py` makes a task and
an actor of it) nor the study, and reads nothing from the driver's machine.

    trial task --- sentinel --- guardian --- script        the death of one ends what stands to the right of it

`python -m optimize.executors.ray_node` is the sentinel. When Ray ends a task it kills the task's children, but not theirs.
So the guardian is not a child of the task: it has to live long enough to end everything that the script has started.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from optimize.errors import OptimizeError
from optimize.executors import guardian
from optimize.executors.guardian_client import ROOT, GuardianClient
from optimize.executors.slots import assigned_environment, device_model, own_environment
from optimize.runner.prepare import Preparation, run_preparation
from optimize.runner.workdir import recover_outcome, remove_folder
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus

TRAVELS = (
    "__init__.py", "errors.py", "text.py", "trial.py",
    "executors/__init__.py", "executors/gpu_checks.py", "executors/guardian.py", "executors/guardian_client.py",
    "executors/ray_node.py", "executors/slots.py",
    "runner/__init__.py", "runner/causes.py", "runner/diagnosis.py", "runner/gpu_watch.py", "runner/gpus.py", "runner/log.py",
    "runner/limited_regex.py", "runner/metric_files.py", "runner/metric_lines.py", "runner/numbers.py",
    "runner/prepare.py", "runner/process.py", "runner/process_tree.py", "runner/progress.py", "runner/stop.py",
    "runner/tracebacks.py", "runner/warm_start.py", "runner/workdir.py",
)  # fmt: skip
LOOK_S = 0.2  # between two checks of a task for a stop request
LINES_SHOWN = 3  # of a preparation that failed


def copy_travellers(folder: Path) -> Path:
    """Copy the package as nodes get it into `folder`. Return its path."""
    package = folder / "optimize"
    for name in TRAVELS:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "optimize" / name, package / name)
    return package


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What must be equal on all machines, or at least known."""

    python: str  # 3.11
    torch: str  # without the build: 2.13.0+cpu and 2.13.0+cu130 are 2.13.0
    device: str = ""  # model


def facts(device: str) -> NodeFacts:
    """Return what this machine has."""
    try:
        torch = version("torch").partition("+")[0]
    except PackageNotFoundError:
        torch = "none"
    return NodeFacts("{}.{}".format(*sys.version_info), torch, device_model(device))


class Steward:
    """Answers for one node: returns its facts, prepares its data, passes on stop requests, cleans up after trials."""

    def __init__(self, session: str) -> None:
        self._folder = _session_folder(session)
        unborn = self._folder.with_name(f"optimize-unborn-{session}")
        unborn.mkdir(mode=0o700)
        (unborn / "alive").touch()
        self._alive = _hold(unborn)
        unborn.rename(self._folder)  # held from the beginning, so that no other steward takes it for a dead session
        for other in self._folder.parent.glob(f"{_PREFIX}*"):
            _remove_if_dead(other)

    def facts(self, device: str) -> NodeFacts:
        """Return what this node has."""
        return facts(device)

    def prepare(self, preparation: Preparation, env: Mapping[str, str], own: frozenset[str]) -> tuple[str, str]:
        """Prepare the data. Return its fingerprint and what went wrong. Drivers take turns on one node."""
        lines: list[str] = []
        with (Path(tempfile.gettempdir()) / f"optimize-prepare-{os.getuid()}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return run_preparation(preparation, {**own_environment(own), **env}, lines.append), ""
            except (OptimizeError, OSError) as error:
                return "", " | ".join([str(error), *lines[-LINES_SHOWN:]])

    def stop(self, key: str, status: TrialStatus, reason: str) -> None:
        """Leave a stop request for the task with this key."""
        request = self._folder / f"{key}.request"
        request.write_text(json.dumps([status, reason]))
        request.rename(self._folder / f"{key}.stop")

    def clear(self, key: str, slot: str, seconds: float, why: str) -> Outcome:
        """End what a dead task has left of its trial. Return how the trial ended."""
        folder = self._folder / key
        outcome = recover_outcome(folder, Outcome(TrialStatus.LOST, seconds, why, slot=slot))
        remove_folder(folder)
        return outcome

    def leave(self) -> None:
        """Remove the session from this node."""
        remove_folder(self._folder)
        self._alive.close()


def run_trial(
    job: Job, slot: Slot, key: str, session: str, own: frozenset[str], every_s: float
) -> Iterator[list[Progress | Outcome]]:
    """Run the job. Yield an empty list at once, then events in bunches at least `every_s` apart, the outcome last.

    Variables in `own` have the node's value, all others the job's.
    """
    folder = _session_folder(session) / key
    env = own_environment(own) | {name: value for name, value in job.env.items() if name not in own}
    slot = replace(slot, env={**assigned_environment(), **slot.env})
    alive, guard, is_free = _hold(folder.parent), _take_guardian(), False
    try:
        guard.run(replace(job, env=env), folder, slot)
        guard.flush(wait=True)
        yield []
        yield from _relay(guard, job.number, folder, every_s)
        is_free = not guard.is_dead
    finally:
        _spare.append(guard) if is_free else guard.close()
        remove_folder(folder)
        alive.close()
        folder.with_suffix(".stop").unlink(missing_ok=True)


def _relay(guard: GuardianClient, number: int, folder: Path, every_s: float) -> Iterator[list[Progress | Outcome]]:
    sent = time.monotonic()
    bunch: list[Progress | Outcome] = []
    stop = folder.with_suffix(".stop")
    stopped = False
    while True:
        if not stopped and stop.exists():
            status, reason = json.loads(stop.read_bytes())
            guard.stop(number, status, reason)
            stopped = True
        for event in guard.read_events(LOOK_S):
            bunch.append(event)
            if isinstance(event, Outcome):
                yield bunch
                return
        if guard.is_dead:
            yield [*bunch, guard.recover_outcome()]
            return
        if bunch and time.monotonic() - sent >= every_s:
            yield bunch
            bunch, sent = [], time.monotonic()


def _take_guardian() -> GuardianClient:
    """Return the guardian of this process's last trial if it lives, else a new one, which takes longer to start."""
    while _spare:
        guard = _spare.pop()
        guard.read()  # there is nothing but its end, or that it is ready
        if not guard.is_dead:
            return guard
        guard.close()
    return GuardianClient("optimize.executors.ray_node")


_spare: list[GuardianClient] = []


_PREFIX = "optimize-session-"


def _session_folder(session: str) -> Path:
    """Return the session's folder in the node's temporary folder. Its name is too long for another user to guess."""
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{session}"


def _hold(folder: Path) -> IO[str]:
    """Open the file that keeps the session alive on this node: a steward holds it, and each trial."""
    alive = (folder / "alive").open()
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


def _remove_if_dead(folder: Path) -> None:
    """Remove the session of a driver that was killed: nobody holds it any more."""
    with contextlib.suppress(OSError), (folder / "alive").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_folder(folder)


def main() -> None:
    """Run the sentinel. When it is killed, the guardian, its child, finds the end of its stdin."""
    child = os.fork()
    if child == 0:
        guardian.main()
        os._exit(0)
    for pipe in (0, 1):
        os.close(pipe)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
