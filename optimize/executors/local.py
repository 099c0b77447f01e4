"""Trials on this machine: one guardian process per slot, all of them watched by the driver's one thread.

It does not run scripts itself: a guardian can kill what a driver killed with -9 no longer can (`guardian.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from optimize.errors import ExecutorError
from optimize.executors.guardian import decode, encode, job_to_json
from optimize.jobs.descendants import end_leftovers
from optimize.jobs.work_folder import folder_bytes, outcome_from_json, read_log, read_outcome, remove_folder
from optimize.trial import Ending, Job, Outcome, Progress, Slot, TrialStatus

KEPT_MB = 1_000.0  # of work folders of failed trials, the newest of them
ANSWER_S = 120.0  # for a guardian to start
FALSE_STARTS = 3  # one may have been killed by somebody who is short of memory; three are a broken installation
CLOSE_S = 10.0  # for a guardian to kill what it has and end
_ROOT = Path(__file__).resolve().parents[2]  # where `optimize` is imported from
_F_SETPIPE_SZ = 1031  # Linux


class LocalExecutor:
    """An `Executor` over guardians."""

    def __init__(self, slots: Sequence[Slot], work: Path) -> None:
        self.slots = tuple(slots)
        self._work = work.absolute()
        self._guardians = [_Guardian(slot) for slot in self.slots]
        self._events: deque[Progress | Ending] = deque()
        self._kept: dict[Path, float] = {}
        self._forgotten: deque[Path] = deque()

    def __enter__(self) -> LocalExecutor:
        self._selector = selectors.DefaultSelector()
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            for guardian in self._guardians:
                self._start(guardian)
        except OSError as error:
            self.__exit__(None, None, None)
            raise ExecutorError(f"{self._work}: no trial can be run here: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self._cancel_all()
        finally:
            for guardian in self._guardians:
                guardian.hang_up()
            for guardian in self._guardians:
                guardian.close(CLOSE_S)
            self._selector.close()
            while self._forgotten:
                remove_folder(self._forgotten.popleft())

    def _cancel_all(self) -> None:
        """In good order first, grace included; whoever does not heed it in time is killed by the hanging up."""
        busy = [guardian.job for guardian in self._guardians if guardian.job is not None]
        for job in busy:
            self.cancel(job.number, TrialStatus.CANCELLED, "the driver ended")
        deadline = time.monotonic() + max((job.limits.grace_s for job in busy), default=0.0) + 1.0
        while self.running and time.monotonic() < deadline:
            self.wait(0.1)

    @property
    def running(self) -> frozenset[int]:
        return frozenset(guardian.job.number for guardian in self._guardians if guardian.job is not None)

    def submit(self, job: Job) -> Slot:
        guardian = next((guardian for guardian in self._guardians if guardian.job is None), None)
        if guardian is None:
            raise RuntimeError("no slot is free")
        folder = self._folder(job.number)
        with contextlib.suppress(ValueError):
            self._forgotten.remove(folder)  # it is used again, and emptied for that
        guardian.submit(job, folder)
        self._update(guardian)
        return guardian.slot

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        deadline = time.monotonic() + timeout_s
        while not self._events:
            ready = self._selector.select(0.0 if self._forgotten else max(deadline - time.monotonic(), 0.0))
            for key, mask in ready:
                self._serve(key.data, mask)
            if not ready and self._forgotten:
                remove_folder(self._forgotten.popleft())  # while the next trial runs: unlinking takes milliseconds
            elif not ready and time.monotonic() >= deadline:
                self._check_answers()
                break
        events = list(self._events)
        self._events.clear()
        return events

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        for guardian in self._guardians:
            if guardian.job is not None and guardian.job.number == number:
                guardian.stop(number, status, reason)
                self._update(guardian)

    def forget(self, number: int, keep: bool = False) -> None:
        folder = self._folder(number)
        if not keep:
            self._forgotten.append(folder)
            return
        self._kept[folder] = folder_bytes(folder) / 1e6
        while sum(self._kept.values()) > KEPT_MB:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._forgotten.append(oldest)

    def _check_answers(self) -> None:
        for guardian in self._guardians:
            if not guardian.was_ready and time.monotonic() - guardian.started > ANSWER_S:
                raise ExecutorError(
                    f"slot {guardian.slot.name}: its guardian does not answer. Is the machine overloaded?"
                )

    def _folder(self, number: int) -> Path:
        return self._work / str(number)

    def _start(self, guardian: _Guardian) -> None:
        guardian.start()
        self._selector.register(guardian.reports, selectors.EVENT_READ, guardian)

    def _update(self, guardian: _Guardian) -> None:
        """Watch the pipe to the guardian too as long as there is something to write."""
        watched = guardian.orders in self._selector.get_map()
        if guardian.outbox and not watched:
            self._selector.register(guardian.orders, selectors.EVENT_WRITE, guardian)
        elif not guardian.outbox and watched:
            self._selector.unregister(guardian.orders)

    def _serve(self, guardian: _Guardian, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            guardian.flush()
            self._update(guardian)
            return
        self._events.extend(guardian.read())
        if guardian.is_dead:
            self._replace(guardian)

    def _replace(self, guardian: _Guardian) -> None:
        """One that died takes its trial along, and the next one starts; several that never lived are an error."""
        guardian.outbox.clear()
        self._update(guardian)
        self._selector.unregister(guardian.reports)
        lost = guardian.bury()
        guardian.false_starts = 0 if guardian.was_ready else guardian.false_starts + 1
        if guardian.false_starts == FALSE_STARTS:
            raise ExecutorError(f"slot {guardian.slot.name}: its guardian does not start: {guardian.last_words()}")
        if lost is not None:
            self._events.append(lost)
        self._start(guardian)


class _Guardian:
    """The driver's side of one guardian process, and of what it is doing. All pipes are non-blocking."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.job: Job | None = None
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

    def submit(self, job: Job, folder: Path) -> None:
        self.job, self._folder, self._submitted = job, folder, time.monotonic()
        slot = {"name": self.slot.name, "env": dict(self.slot.env), "device": self.slot.device}
        self._send({"job": job_to_json(job), "folder": str(folder), "slot": slot})

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
        if self.job is None:
            return None
        end_leftovers(self._folder)
        job, self.job = self.job, None
        outcome = read_outcome(self._folder) or Outcome(
            TrialStatus.LOST,
            seconds=time.monotonic() - self._submitted,
            reason=f"its guardian died: {self.last_words()}",
            log=read_log(self._folder),
            slot=self.slot.name,
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
