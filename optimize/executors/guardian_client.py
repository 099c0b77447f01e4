"""The driver's side of one guardian process: the job it has, the pipes to it, and what became of it when it died.

It chooses no slot and knows no other; `local.py` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from optimize.executors.guardian import decode, encode, job_to_json, slot_to_json
from optimize.runner.process_tree import kill_orphans
from optimize.runner.workdir import outcome_from_json, read_log, read_outcome
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus

CLOSE_S = 10.0  # for a guardian to kill what it has and end
_ROOT = Path(__file__).resolve().parents[2]  # where `optimize` is imported from
_F_SETPIPE_SZ = 1031  # Linux


class GuardianClient:
    """The driver's side of one guardian process, and of what it is doing. All pipes are non-blocking."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.job: Job | None = None
        self.waits = False  # the job, for its turn
        self.rest_s = self.rests_until = 0.0
        self.false_starts = 0  # in a row
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def start(self) -> None:
        self.is_dead = self.was_ready = False
        self.started = time.monotonic()
        self.outbox, self._inbox, self._seen = bytearray(), bytearray(), 0
        if self._errors is not None:
            self._errors.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the guardian)
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "optimize.executors.guardian"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # the terminal's Ctrl-C is the driver's
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.orders, self.reports = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self.orders, self.reports):
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # room for a whole job, so that submitting does not wait
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)

    def take(self, job: Job, folder: Path) -> None:
        self.job, self._folder, self.waits = job, folder, True

    def begin(self) -> None:
        assert self.job is not None
        self.waits, self._submitted = False, time.monotonic()
        self._send({"job": job_to_json(self.job), "folder": str(self._folder), "slot": slot_to_json(self.slot)})

    def give_up(self, status: TrialStatus, reason: str) -> Ending:
        """The job has not begun, and never will."""
        assert self.job is not None
        ending = Ending(self.job, Outcome(status, 0.0, reason, slot=self.slot.name, device=self.slot.device))
        self.job, self.waits = None, False
        return ending

    def stop(self, number: int, status: TrialStatus, reason: str) -> None:
        self._send({"stop": {"number": number, "status": status, "reason": reason}})

    def _send(self, message: dict[str, Any]) -> None:
        self.outbox += encode(message)
        self.flush()

    def flush(self) -> None:
        try:
            while self.outbox:
                del self.outbox[: os.write(self.orders, self.outbox)]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # its death shows at the other pipe
            self.outbox.clear()

    def read(self) -> Iterator[Progress | Ending]:
        try:
            data = os.read(self.reports, 1 << 20)
        except BlockingIOError:
            return
        self.is_dead = not data
        self._inbox += data
        while (end := self._inbox.find(b"\n", self._seen)) >= 0:
            line = bytes(self._inbox[:end])
            del self._inbox[: end + 1]
            self._seen = 0
            yield from self._understand(decode(line))
        self._seen = len(self._inbox)

    def _understand(self, message: dict[str, Any]) -> Iterator[Progress | Ending]:
        if "ready" in message:
            self.was_ready = True
        elif "progress" in message:
            yield Progress(**message["progress"])
        elif self.job is not None:
            ending = Ending(self.job, outcome_from_json(message["outcome"], message["log"]))
            self.job = None
            yield ending

    def bury(self) -> Ending | None:
        """It is dead: see that its script is, too, and what has become of the trial."""
        self.reap(CLOSE_S)
        if self.job is None or self.waits:
            return None
        kill_orphans(self._folder)
        job, self.job = self.job, None
        outcome = read_outcome(self._folder) or Outcome(
            TrialStatus.LOST,
            seconds=time.monotonic() - self._submitted,
            reason=f"its guardian died: {self.last_words()}",
            log=read_log(self._folder),
            slot=self.slot.name,
            device=self.slot.device,
        )
        return Ending(job, outcome)

    def last_words(self) -> str:
        assert self._errors is not None
        assert self._process is not None
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        code = self._process.returncode
        return next((line for line in reversed(lines) if line.strip()), f"exit code {code}")

    def hang_up(self) -> None:
        """The end of its stdin tells it to kill and end."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def close(self, patience_s: float) -> None:
        self.reap(patience_s)
        if self._errors is not None:
            self._errors.close()

    def reap(self, patience_s: float) -> None:
        if self._process is None:
            return
        self.hang_up()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
