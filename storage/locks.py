"""An flock that names its holder: the kernel releases it when the process ends, however it ends.

One machine only, and not on every network file system: where the kernel refuses, the lease alone guards the study.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from storage.errors import LeaseHeldError
from storage.files import os_errors_at
from storage.processes import parse_holder, this_process

_held: set[int] = set()  # descriptors of this process; a forked child must not keep the lock alive
_watching_forks = False


@dataclass(slots=True)
class FileLock:
    path: Path
    _descriptor: int

    @classmethod
    def acquire(cls, path: Path) -> FileLock:
        """The lock at `path`, or LeaseHeldError naming who has it. The file stays: removing it would be a race."""
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
        return LeaseHeldError(str(path), host="", pid=None, since=path.stat().st_mtime, age=0.0)
    # It lives, or the kernel would have released its lock: seen just now.
    return LeaseHeldError(str(path), host=holder.host, pid=holder.pid, since=holder.since, age=0.0)


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
