"""Says who a process is, so that a lease can be told dead when its holder is.

A process is named by its machine (one boot of it, one pid namespace), its pid and its start: pids come back, these
three together do not. It ends no process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds something. `place` tells machines and containers apart that share a host name."""

    host: str
    pid: int
    start: str  # of the process, in the system's own terms
    place: str
    since: float  # seconds since 1970

    def alive(self) -> bool | None:
        """None where this process cannot know: another machine, another boot, another container."""
        if self.place != _place():
            return None
        return process_start(self.pid) == self.start

    def to_text(self) -> str:
        return json.dumps(asdict(self))


def this_process(since: float | None = None) -> Holder:
    pid = os.getpid()
    start = process_start(pid) or ""
    return Holder(socket.gethostname(), pid, start, _place(), time.time() if since is None else since)


def parse_holder(text: str) -> Holder | None:
    """None for what `to_text` did not write: a lock file that was being written when its holder died."""
    try:
        holder = Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.since, int | float) else None


def process_start(pid: int) -> str | None:
    """When the process started; None if there is none, or only a zombie's rest."""
    if (_PROC / "self").exists():
        return _start_by_proc(pid)
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    state, _, start = answer.stdout.strip().partition(" ")
    return None if not start or state.startswith("Z") else start.strip()


def _start_by_proc(pid: int) -> str | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if state in "ZX" else rest[18]


def _place() -> str:
    """This boot of this machine and this pid namespace; the host name where the system tells neither."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()
