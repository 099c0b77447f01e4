"""Finds and ends every process of a trial, also those that left its process group.

On Linux a guardian adopts whatever the script orphans (`adopt_orphans`): all of a trial's processes are descendants of
it, whatever they did to hide. Without a guardian, and on macOS, a process is known by its group, its session, its
parents or the mark in its environment. A double fork into a new session with another environment
leaves all four behind: such a process is not found there. Nor is one that forks faster than the table can be read.
It starts no process but `ps`, and decides nothing about why a trial ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MARK = "OPTIMIZE_WORK_FOLDER"  # in the environment of every process of a trial
ZYGOTE = "zygote"  # in the work folder of a forked trial: the mark of the process that it was forked from
UNKILLABLE_S = 30.0  # a process stuck in the kernel (a hanging device or file system) cannot be killed: stop waiting
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PROC = Path("/proc")
_CHILDREN = _PROC / "thread-self" / "children"


class Process(NamedTuple):
    """One row of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool
    marked: bool


class ProcessTree:
    """All processes of one trial: those below `script`, and those with the mark of `folder`.

    With `adopted`, every child of this process belongs to it too, except `spared`.
    """

    def __init__(self, script: int | None, folder: Path, adopted: bool = False, spared: int | None = None) -> None:
        self._script, self._mark, self._adopted, self._spared = script, f"{MARK}={folder}", adopted, spared

    def members(self) -> set[int]:
        """Return the pids of those that live. Scans the process table, which takes milliseconds."""
        processes = [process for process in _processes(self._mark) if process.pid != self._spared]
        family = {p.pid for p in processes if p.marked or (self._script is not None and self._script in p[:4])}
        if self._adopted:
            family.add(os.getpid())
        _add_descendants(family, processes)
        return family & {p.pid for p in processes if not p.zombie} - {os.getpid()}

    def signal(self, number: int) -> None:
        """Send all of them this signal."""
        _send(self.members(), number)

    def end(self) -> set[int]:
        """Kill until none is left. Return those that still live after UNKILLABLE_S.

        Call it when the script itself has been waited for.
        """
        deadline, pause = time.monotonic() + UNKILLABLE_S, 0.0005
        while not self._is_gone():
            if time.monotonic() >= deadline:
                return self.members()
            self.signal(signal.SIGKILL)
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return set()

    def _is_gone(self) -> bool:
        if self._adopted:
            return not _has_children(self._spared)
        return not self.members() and not self.members()  # one that was born during the first scan shows in the second


def kill_orphans(folder: Path) -> None:
    """Kill what still runs of a job whose guardian is gone.

    A process that was forked and never executed a program shows its zygote's mark, not the trial's. That zygote is killed
    as well: it belongs to the same guardian, and only one trial at a time is forked from it.
    """
    ProcessTree(None, folder).end()
    with contextlib.suppress(OSError, ValueError):
        mark = Path((folder / ZYGOTE).read_text())
        if mark.name.startswith(f"{ZYGOTE}-"):  # a script can write there as well
            ProcessTree(None, mark).end()


def _add_descendants(family: set[int], processes: Iterable[Process]) -> None:
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process.pid)
    unseen = list(family)
    while unseen:
        found = [pid for pid in children.get(unseen.pop(), ()) if pid not in family]
        family.update(found)
        unseen += found


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _has_children(spared: int | None) -> bool:
    """Reap what has ended. Return whether any child, adopted ones included, is still there."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return spared is None or _children() != [spared]


def _children() -> list[int]:
    """Return the children of this process, which has one thread, the eldest first.

    The kernel lists them one by one, and one that ends meanwhile may hide its neighbour. But the answer "the eldest and
    nobody else" is exact, because the kernel looks up in one step whether the eldest has a younger sibling.
    """
    return [int(pid) for pid in _CHILDREN.read_text().split()]


def can_spare_children() -> bool:
    """Return whether the children of a process can be listed: on Linux, with a kernel built for that."""
    return sys.platform == "linux" and _CHILDREN.exists()


# --- the process table ------------------------------------------------------------------------------------------------


def _processes(mark: str) -> Iterator[Process]:
    return _from_proc(mark.encode()) if sys.platform == "linux" else parse_ps(_ps(), mark)


def _from_proc(mark: bytes) -> Iterator[Process]:
    for pid in (entry.name for entry in _PROC.iterdir() if entry.name.isdigit()):
        try:
            fields = (_PROC / pid / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        state, parent, group, session = fields[0], int(fields[1]), int(fields[2]), int(fields[3])
        yield Process(int(pid), parent, group, session, state in b"ZX" and _is_alone(pid), _is_marked(pid, mark))


def _is_alone(pid: str) -> bool:
    """Whether it has one thread: a process whose main thread has ended looks like a zombie while the others go on."""
    try:
        return len(list((_PROC / pid / "task").iterdir())) <= 1
    except OSError:
        return True


def _is_marked(pid: str, mark: bytes) -> bool:
    try:
        return mark in (_PROC / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # ended, or somebody else's


def _ps() -> str:
    return subprocess.run(
        ["ps", "-A", "-E", "-ww", "-o", "pid=,ppid=,pgid=,stat=,command="],
        capture_output=True,
        text=True,
        errors="replace",
    ).stdout


def parse_ps(table: str, mark: str) -> Iterator[Process]:
    """Yield the processes of a table of `ps -E`, which shows the environment behind the command, and no sessions."""
    ours = re.compile(r"\s" + re.escape(mark) + r"(?:\s|$)")
    for line in table.splitlines():
        fields = line.split(None, 4)
        if len(fields) >= 4 and all(field.isdigit() for field in fields[:3]):
            pid, parent, group = map(int, fields[:3])
            yield Process(pid, parent, group, 0, fields[3].startswith("Z"), bool(ours.search(line)))


# --- Linux: adopting, and dying together ------------------------------------------------------------------------------


def adopt_orphans() -> bool:
    """Make orphaned descendants children of this process from now on. Return False where the system cannot do that."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def dying_with_us() -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel kill the child when this process ends; None where it cannot.

    Use it in the main thread only: the kernel goes by the *thread* that started the child.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # too late: the parent has died meanwhile
            os._exit(1)

    return prepare_child
