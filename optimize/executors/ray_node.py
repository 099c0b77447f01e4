"""What runs on a node of a cluster: a trial guard a guardian, and a steward that looks after the node.

Standard library only, for `TRAVELS` is all that is sent there. It knows neither Ray (`ray.py` makes a task and an actor
of it) nor the study, and reads nothing that lies on the driver's machine.

    trial task --- sentinel --- guardian --- script        each one's death ends what stands to the right of it

`python -m optimize.executors.ray_node` is the sentinel: a launcher that ends kills its own children, but not theirs, and a
guardian has to outlive its launcher long enough to end everything that the script has started.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from optimize.errors import OptimizeError
from optimize.executors import guardian
from optimize.executors.guardian import decode, encode, job_to_json
from optimize.executors.slots import assigned_environment, device_model, own_environment
from optimize.runner.prepare import Preparation, run_preparation
from optimize.runner.process_tree import kill_orphans
from optimize.runner.workdir import outcome_from_json, read_log, read_outcome, remove_folder
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus

TRAVELS = (
    "__init__.py", "errors.py", "text.py", "trial.py",
    "executors/__init__.py", "executors/guardian.py", "executors/ray_node.py", "executors/slots.py",
    "runner/__init__.py", "runner/causes.py", "runner/diagnosis.py", "runner/gpu_memory.py", "runner/gpus.py", "runner/log.py",
    "runner/prepare.py", "runner/process.py", "runner/process_tree.py", "runner/progress.py", "runner/stop.py",
    "runner/warm_start.py", "runner/workdir.py",
)  # fmt: skip
LOOK_S = 0.2  # how often a trial looks whether it is to stop
SAID_LINES = 3  # of a preparation that failed
_ROOT = Path(__file__).resolve().parents[2]  # where `optimize` is imported from


def copy_travellers(folder: Path) -> Path:
    """The package as nodes get it."""
    package = folder / "optimize"
    for name in TRAVELS:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / "optimize" / name, package / name)
    return package


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What must be equal on all machines, or at least be known."""

    python: str  # 3.11
    torch: str  # without the build: 2.13.0+cpu and 2.13.0+cu130 are 2.13.0
    device: str = ""  # model


def facts(device: str) -> NodeFacts:
    try:
        torch = version("torch").partition("+")[0]
    except PackageNotFoundError:
        torch = "none"
    return NodeFacts("{}.{}".format(*sys.version_info), torch, device_model(device))


class Steward:
    """One on each node: looks at it, prepares its data, passes on wishes to stop, clears up after trials."""

    def __init__(self, session: str) -> None:
        self._folder = _session_folder(session)
        unborn = self._folder.with_name(f"optimize-unborn-{session}")
        unborn.mkdir(mode=0o700)
        (unborn / "alive").touch()
        self._alive = _hold(unborn)
        unborn.rename(self._folder)  # held from the beginning, so that no other steward takes it for a dead one
        for other in self._folder.parent.glob(f"{_PREFIX}*"):
            _remove_if_dead(other)

    def facts(self, device: str) -> NodeFacts:
        return facts(device)

    def prepare(self, preparation: Preparation, env: Mapping[str, str], own: frozenset[str]) -> tuple[str, str]:
        """(the data's fingerprint, what went wrong). Only one driver at a time prepares data on this node."""
        said: list[str] = []
        with (Path(tempfile.gettempdir()) / f"optimize-prepare-{os.getuid()}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return run_preparation(preparation, {**own_environment(own), **env}, said.append), ""
            except (OptimizeError, OSError) as error:
                return "", " | ".join([str(error), *said[-SAID_LINES:]])

    def stop(self, key: str, status: TrialStatus, reason: str) -> None:
        wish = self._folder / f"{key}.wish"
        wish.write_text(json.dumps([status, reason]))
        wish.rename(self._folder / f"{key}.stop")

    def clear(self, key: str, slot: str, seconds: float, why: str) -> Outcome:
        """A trial's task has died: see that its script has, too, and what has become of it."""
        folder = self._folder / key
        outcome = _bury(folder, slot, seconds, why)
        remove_folder(folder)
        return outcome

    def leave(self) -> None:
        remove_folder(self._folder)
        self._alive.close()


def run_trial(
    job: Job, slot: Slot, key: str, session: str, own: frozenset[str], every_s: float
) -> Iterator[list[Progress | Outcome]]:
    """Run the job; yields at once, then what happens, in bunches at least `every_s` apart, the outcome last.

    The environment is the node's own for the variables in `own`, the job's for all others.
    """
    folder = _session_folder(session) / key
    env = own_environment(own) | {name: value for name, value in job.env.items() if name not in own}
    slot = replace(slot, env={**assigned_environment(), **slot.env})
    alive, guard = _hold(folder.parent), _take_guardian()
    try:
        guard.send({"job": job_to_json(replace(job, env=env)), "folder": str(folder), "slot": asdict(slot)})
        yield []
        yield from _relay(guard, folder, slot, every_s)
    finally:
        _spare.append(guard) if guard.is_free else guard.close()
        remove_folder(folder)
        alive.close()
        folder.with_suffix(".stop").unlink(missing_ok=True)


def _relay(guard: _Guardian, folder: Path, slot: Slot, every_s: float) -> Iterator[list[Progress | Outcome]]:
    started = sent = time.monotonic()
    bunch: list[Progress | Outcome] = []
    stop = folder.with_suffix(".stop")
    stopped = False
    while True:
        if not stopped and stop.exists():
            status, reason = json.loads(stop.read_bytes())
            guard.send({"stop": {"number": guard.number, "status": status, "reason": reason}})
            stopped = True
        for message in guard.read(LOOK_S):
            if "progress" in message:
                bunch.append(Progress(**message["progress"]))
            elif "outcome" in message:
                yield [*bunch, outcome_from_json(message["outcome"], message["log"])]
                return
        if guard.is_dead:
            guard.close()
            yield [*bunch, _bury(folder, slot.name, time.monotonic() - started, "its guardian died")]
            return
        if bunch and time.monotonic() - sent >= every_s:
            yield bunch
            bunch, sent = [], time.monotonic()


def _take_guardian() -> _Guardian:
    """The one that the last trial of this process had, if it lives: starting one takes longer than all the rest."""
    while _spare:
        guard = _spare.pop()
        guard.read(0.0)  # it has nothing to say but that it has died, or that it is ready
        if not guard.is_dead:
            return guard
        guard.close()
    return _Guardian()


_spare: list[_Guardian] = []


class _Guardian:
    """This side of a guardian, and of the sentinel before it."""

    def __init__(self) -> None:
        self.is_dead, self.is_free, self._rest = False, True, b""
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "optimize.executors.ray_node"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._reports = self._process.stdin, self._process.stdout
        self.number = -1

    def send(self, message: Mapping[str, object]) -> None:
        job = message.get("job")
        if isinstance(job, dict):
            self.number, self.is_free = job["number"], False
        line = memoryview(encode(message))
        with contextlib.suppress(BrokenPipeError):  # its death shows at the other pipe
            while line:
                line = line[os.write(self._orders.fileno(), line) :]

    def read(self, timeout_s: float) -> list[dict[str, Any]]:
        if not select.select([self._reports], [], [], timeout_s)[0]:
            return []
        data = os.read(self._reports.fileno(), 1 << 20)
        self.is_dead = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [decode(line) for line in lines]
        self.is_free = any("outcome" in message for message in messages)
        return messages

    def close(self) -> None:
        """The end of its stdin tells the guardian to kill and end; the sentinel ends after it."""
        self._orders.close()
        if not self._reports.closed:
            while os.read(self._reports.fileno(), 1 << 20):
                pass
        self._reports.close()
        self._process.wait()


def _bury(folder: Path, slot: str, seconds: float, why: str) -> Outcome:
    # Read first: a script that we killed under a guardian that has not noticed yet would be judged as killed by the kernel.
    outcome = read_outcome(folder)
    kill_orphans(folder)
    if outcome is not None and outcome.status is not TrialStatus.LOST:
        return outcome
    return Outcome(TrialStatus.LOST, seconds, why, log=read_log(folder), slot=slot)


_PREFIX = "optimize-session-"


def _session_folder(session: str) -> Path:
    """In the node's own place for such; the name is too long to be guessed by another user."""
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{session}"


def _hold(folder: Path) -> IO[str]:
    """While this is open the session is alive on this node: it is a steward's, or a trial's."""
    alive = (folder / "alive").open()
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


def _remove_if_dead(folder: Path) -> None:
    """What a driver that was killed has left: nobody holds it any more."""
    with contextlib.suppress(OSError), (folder / "alive").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_folder(folder)


def main() -> None:
    """The sentinel. Who kills the children of what has ended kills this one, and the guardian sees its driver gone."""
    child = os.fork()
    if child == 0:
        guardian.main()
        os._exit(0)
    for pipe in (0, 1):
        os.close(pipe)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
