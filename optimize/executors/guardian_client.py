"""The driver's side of a guardian: the process, the pipes to it, and its messages.

Standard library only: it runs on the nodes of a cluster as well. It knows no queue; `local.py` and `ray_node.py` decide which
job a guardian gets, and whether another one takes its place when it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimize.executors.guardian import decode, encode, job_to_json, slot_to_json
from optimize.runner.workdir import outcome_from_json, recover_outcome
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus

CLOSE_S = 10.0  # for a guardian to kill what it has and end
ROOT = Path(__file__).resolve().parents[2]  # where `optimize` is imported from
_F_SETPIPE_SZ = 1031  # Linux


class GuardianClient:
    """A guardian process, started here, and the pipes to it. Both are non-blocking: `outbox` holds what is not written yet."""

    def __init__(self, module: str = "optimize.executors.guardian") -> None:
        self.is_dead = self.was_ready = False
        self.started = time.monotonic()
        self.outbox, self._inbox, self._seen = bytearray(), bytearray(), 0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the guardian)
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # the terminal's Ctrl-C is the driver's
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.orders, self.reports = self._stdin.fileno(), self._stdout.fileno()
        for pipe in (self.orders, self.reports):
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # room for a whole job, so that submitting does not wait
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)

    def run(self, job: Job, folder: Path, slot: Slot) -> None:
        """Have the job run in this folder."""
        self._folder, self._slot, self._began = folder, slot, time.monotonic()
        self._send({"job": job_to_json(job), "folder": str(folder), "slot": slot_to_json(slot)})

    def stop(self, number: int, status: TrialStatus, reason: str) -> None:
        """Ask for the end of the job of this number."""
        self._send({"stop": {"number": number, "status": status, "reason": reason}})

    def _send(self, message: Mapping[str, Any]) -> None:
        self.outbox += encode(message)
        self.flush()

    def flush(self, wait: bool = False) -> None:
        """Write what fits into the pipe; with `wait`, all of it."""
        try:
            while self.outbox:
                if wait:
                    select.select([], [self.orders], [])
                del self.outbox[: os.write(self.orders, self.outbox)]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # its death shows at the other pipe
            self.outbox.clear()

    def read(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """Return the messages that have come, waiting up to `timeout_s` for one. Sets `is_dead` at the guardian's end."""
        if timeout_s and not select.select([self.reports], [], [], timeout_s)[0]:
            return []
        try:
            data = os.read(self.reports, 1 << 20)
        except BlockingIOError:
            return []
        self.is_dead = not data
        self._inbox += data
        messages = []
        while (end := self._inbox.find(b"\n", self._seen)) >= 0:
            messages.append(decode(bytes(self._inbox[:end])))
            del self._inbox[: end + 1]
            self._seen = 0
        self._seen = len(self._inbox)
        self.was_ready = self.was_ready or any("ready" in message for message in messages)
        return messages

    def read_events(self, timeout_s: float = 0.0) -> Iterator[Progress | Outcome]:
        """Yield what it has reported of its job, waiting as `read` does; the outcome comes last."""
        for message in self.read(timeout_s):
            if "progress" in message:
                yield Progress(**message["progress"])
            elif "outcome" in message:
                yield outcome_from_json(message["outcome"], message["log"])

    def recover_outcome(self) -> Outcome:
        """End what it has left of its job, once it is dead. Return how the job ended."""
        self.reap()
        seconds, reason = time.monotonic() - self._began, f"its guardian died: {self.last_error()}"
        lost = Outcome(TrialStatus.LOST, seconds, reason, slot=self._slot.name, device=self._slot.device)
        return recover_outcome(self._folder, lost)

    def last_error(self) -> str:
        """Return the last line that a guardian which has ended wrote to stderr, else its exit code."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"exit code {self._process.returncode}")

    def hang_up(self) -> None:
        """Close its stdin, which tells the guardian to kill what it has and to end. Nothing of it is read any more."""
        self._stdin.close()
        self._stdout.close()

    def reap(self) -> None:
        """Wait for its end after `hang_up`; one that takes longer than CLOSE_S is killed."""
        self.hang_up()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it, and release what it has left."""
        self.reap()
        self._errors.close()
