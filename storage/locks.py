"""Locks a file with an flock that names its holder, and tells whether that process is alive.

The kernel releases the lock when the process ends, however it ends. It works on one machine only, and not on every
network file system: where the kernel refuses, the lease alone guards the study. A process is known by its pid and its
start.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.errors import LeaseHeldError
from storage.files import os_errors_at

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds something. `place` tells machines and containers apart that share a host name."""

    host: str
    pid: int
    start: str  # of the process, in the system's own terms
    place: str
    since: float  # seconds since 1970

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def alive(self) -> bool | None:
        """Return whether it is alive; None where that cannot be known: another machine, another boot, another
        container.
        """
        if self.place != _place():
            return None
        return process_start(self.pid) == self.start

    def to_text(self) -> str:
        """Return what `parse_holder` reads."""
        return json.dumps(asdict(self))


def this_process(since: float | None = None) -> Holder:
    """Return this process as a holder `since` a time in seconds since 1970; None means now."""
    pid = os.getpid()
    start = process_start(pid) or ""
    return Holder(socket.gethostname(), pid, start, _place(), time.time() if since is None else since)


def parse_holder(text: str) -> Holder | None:
    """Return the holder that `to_text` wrote; None for other text, such as a lock file whose holder died while writing."""
    try:
        holder = Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.since, int | float) else None


def process_start(pid: int) -> str | None:
    """Return when the process started, in the system's own terms; None if there is none, or only a zombie."""
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
    """Return this boot of this machine and this pid namespace; the host name where the system tells neither."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


_held: set[int] = set()  # descriptors of this process; a forked child must not keep the lock alive
_watching_forks = False


@dataclass(slots=True)
class FileLock:
    """A lock at `path` that this process holds."""

    path: Path
    _descriptor: int

    @classmethod
    def acquire(cls, path: Path) -> FileLock:
        """Lock the file at `path`. Raises LeaseHeldError naming the holder. The file stays: removing it would be a
        race.
        """
        with os_errors_at(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, path)
            with os_errors_at(path):
                _write_holder(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        _remember(descriptor)
        return cls(path, descriptor)

    def release(self) -> None:
        """Unlock the file; a second call does nothing."""
        if self._descriptor >= 0:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held_error(descriptor, path) from None
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS):
            raise


def _held_error(descriptor: int, path: Path) -> LeaseHeldError:
    holder = parse_holder(os.pread(descriptor, 4096, 0).decode(errors="replace"))
    if holder is None:  # it is just writing its name
        return LeaseHeldError(str(path), who="another process", since=path.stat().st_mtime, age=0.0)
    # It lives, or the kernel would have released its lock: seen just now.
    return LeaseHeldError(str(path), who=str(holder), since=holder.since, age=0.0)


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, this_process().to_text().encode(), 0)


def _remember(descriptor: int) -> None:
    global _watching_forks
    _held.add(descriptor)
    if not _watching_forks:
        os.register_at_fork(after_in_child=_forget_all)
        _watching_forks = True


def _forget_all() -> None:
    for descriptor in _held:
        os.close(descriptor)  # closing is not unlocking: the parent keeps the lock
    _held.clear()
