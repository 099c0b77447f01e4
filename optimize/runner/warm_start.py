"""Starts trials as forks of a Python that has imported what they need: with torch, each is 1.5 seconds sooner.

Results are the same to the last bit, and a forked trial is watched, limited and killed like any other: `zygote.py` makes it
a child of this process. It works on Linux, in a guardian, and for scripts on the CPU: a CUDA context does not survive a
fork. The jobs have one environment, one list of modules, and a command `python train.py ...`. Any other job is started as
usual. If the modules cannot be preloaded, the trial's log says so. It reads no output and ends no trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from optimize.runner.process_tree import MARK, ZYGOTE, ProcessTree, can_spare_children, dying_with_us
from optimize.runner.stop import StopRequest, StopSource, wait_for
from optimize.runner.workdir import FILES, PYTHON
from optimize.trial import Job

ORDER_BYTES = 1 << 16  # as in zygote.py
READY_S = 120.0  # for the imports; a cold disk is slow
ANSWER_S = 30.0  # for a fork
FALSE_STARTS = 3  # in a row; then no other is started
_PROGRAM = str(Path(__file__).with_name("zygote.py"))


class ForkedProcess:
    """A forked script, with as much of `Popen` as `process.py` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Return the exit code. Raises TimeoutExpired."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout_s)
            time.sleep(0.001)
        return code


class WarmStart:
    """The guardian's zygote, if it has one. The first job that can use one starts it."""

    def __init__(self) -> None:
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._kind: tuple[Mapping[str, str], tuple[str, ...]] | None = None
        self._ready = False
        self._failures = 0  # in a row
        self.unfit = ""  # why nothing is preloaded although a job asks for it, "" if it is
        self._mark = ""

    @property
    def pid(self) -> int | None:
        """The zygote's pid: the one child of this process that belongs to no trial."""
        return self._zygote.pid if self._zygote is not None else None

    def wait_until_ready(
        self, job: Job, env: Mapping[str, str], folder: Path, stop_source: StopSource | None
    ) -> StopRequest | None:
        """Have a zygote ready for this job if it may have one. Return a stop request that comes meanwhile."""
        if not self._can_fork(job, env):
            return None
        if self._zygote is None or self._zygote.poll() is not None:
            self._start(job, env, folder)
        deadline = time.monotonic() + READY_S
        while self._control is not None and not self._ready and not self.unfit:
            if stop := wait_for(self._control.fileno(), deadline - time.monotonic(), stop_source):
                return stop
            self._read_ready(time.monotonic() >= deadline)
        return None

    def fork(self, job: Job, env: Mapping[str, str], folder: Path) -> tuple[ForkedProcess, int] | None:
        """Return the running script and the end of the pipe that it writes to; None if it must be started as usual."""
        if not self._ready or not self._can_fork(job, env):
            return None
        try:
            (folder / ZYGOTE).write_text(self._mark)
        except OSError:
            return None
        order = {"argv": job.command[1:], "folder": str(folder / FILES), "env": {MARK: str(folder)}}
        reader, writer = os.pipe()
        try:
            pid = self._ask(json.dumps(order).encode(), writer)
        except (OSError, ValueError):
            os.close(reader)
            self._has_failed("the process that had preloaded it died or could not fork")
            ProcessTree(None, folder, adopted=True).end()  # a trial that it forked without an answer
            return None
        finally:
            os.close(writer)
        self._failures = 0
        return ForkedProcess(pid), reader

    def close(self) -> None:
        """End the zygote. The trials that it has forked go on: they are not its children."""
        if self._zygote is None or self._control is None:
            return
        self._control.close()
        self._zygote.kill()
        self._zygote.wait()
        self._zygote, self._control, self._ready = None, None, False

    def _can_fork(self, job: Job, env: Mapping[str, str]) -> bool:
        script = job.command[1] if len(job.command) > 1 and job.command[0] == PYTHON else ""
        same = self._kind in (None, (env, job.preload))
        return bool(job.preload) and script in job.files and same and not self.unfit and can_spare_children()

    def _start(self, job: Job, env: Mapping[str, str], folder: Path) -> None:
        self.close()
        self._kind = (env, job.preload)
        self._mark = str(folder / f"{ZYGOTE}-{uuid.uuid4().hex}")  # unique, and it says whose it is
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._zygote = subprocess.Popen(
                [sys.executable, _PROGRAM, str(theirs.fileno()), *job.preload],
                env={**env, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=dying_with_us(),
            )

    def _read_ready(self, is_late: bool) -> None:
        try:
            answer = self._answer(0.0)
        except BlockingIOError:
            if is_late:
                self.unfit = f"importing takes more than {READY_S:g} s"
        except (OSError, ValueError):
            self._has_failed("importing ends the process")
        else:
            self._ready, self.unfit = "ready" in answer, str(answer.get("unfit", ""))
        if self.unfit:
            self.close()

    def _ask(self, order: bytes, pipe: int) -> int:
        """Have a trial forked that writes to `pipe`. Return its pid. Raises OSError."""
        if self._control is None or len(order) > ORDER_BYTES:
            raise OSError("there is no zygote, or the order is too long")
        socket.send_fds(self._control, [order], [pipe])
        answer = self._answer(ANSWER_S)
        if "pid" not in answer:
            raise OSError(answer.get("error"))
        return int(str(answer["pid"]))

    def _answer(self, timeout_s: float) -> dict[str, object]:
        """Return the next message. Raises OSError if none comes in time, ValueError if it is not JSON."""
        assert self._control is not None
        self._control.settimeout(timeout_s)
        data = self._control.recv(ORDER_BYTES)
        if not data:
            raise ConnectionError("it has ended")
        answer: dict[str, object] = json.loads(data)
        return answer

    def _has_failed(self, why: str) -> None:
        self.close()
        self._failures += 1
        if self._failures == FALSE_STARTS:
            self.unfit = why
