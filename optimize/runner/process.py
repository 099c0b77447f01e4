"""Runs one job in a folder of its own, within its limits, and returns when every process of it is gone.

It does not know where it runs (a guardian, a cluster node, a test) nor what an ending means for the study.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from optimize.runner.diagnosis import Exit, judge
from optimize.runner.gpu_memory import GpuMemoryWait
from optimize.runner.log import BoundedLog
from optimize.runner.process_tree import MARK, UNKILLABLE_S, ProcessTree, dying_with_us
from optimize.runner.progress import OutputParser
from optimize.runner.stop import StopRequest as StopRequest
from optimize.runner.stop import StopSource as StopSource
from optimize.runner.warm_start import ForkedProcess, WarmStart
from optimize.runner.workdir import FILES, folder_bytes, prepare_folder, write_exit
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus

DISK_CHECK_S = 2.0
_READ_BYTES = 1 << 16
_POLL_S = 0.02  # where the end of a process cannot be waited for together with its output (macOS)


def run_job(
    job: Job,
    folder: Path,
    slot: Slot,
    *,
    cancelled: StopSource | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    guarded: bool = False,
    preload: WarmStart | None = None,
    memory: GpuMemoryWait | None = None,
) -> Outcome:
    """Run the job in `folder`, which is emptied first. Whatever the script does is an outcome.

    `guarded`: this process adopts orphans, has no other children (but `preload`'s) and runs this in its main thread, so
    that no descendant of the script can hide, and the script does not outlive it. `preload` needs that.
    `memory`: wait until it finds the slot's GPU free.
    """
    try:
        log = prepare_folder(job, folder)
    except (OSError, ValueError) as error:
        why = f"{folder}: the work folder cannot be made: {error}"
        return Outcome(TrialStatus.ENVIRONMENT, 0.0, why, slot=slot.name, device=slot.device)
    with contextlib.closing(log):
        parser = OutputParser(job, on_progress)
        end = _Script(job, folder, slot, log, parser, guarded, preload, memory).run(cancelled)
        text = log.text()
        status, reason, summary = judge(text, end, job.metric, parser.metric.found())
        shared, curve = slot.shared and not job.alone, tuple(parser.curve)
        outcome = Outcome(status, end.seconds, reason, summary, text, slot.name, curve, slot.device, shared)
        with contextlib.suppress(OSError):  # the outcome is told all the same
            write_exit(folder, outcome, end, log.unwritten())
    return outcome


class _Script:
    """One running script and the reasons to end it. Sleeps until there is output, an end, a wish or a deadline."""

    def __init__(
        self, job: Job, folder: Path, slot: Slot, log: BoundedLog, parser: OutputParser, guarded: bool,
        preload: WarmStart | None, memory: GpuMemoryWait | None,
    ) -> None:  # fmt: skip
        self._job, self._folder, self._slot, self._log, self._parser = job, folder, slot, log, parser
        self._guarded, self._preload, self._memory = guarded, preload, memory
        self._env = {**job.env, **slot.env}
        self._process: subprocess.Popen[bytes] | ForkedProcess
        self._stopped: StopRequest | None = None
        self._kill_at = self._give_up_at = math.inf
        self._disk_at = math.inf

    def run(self, cancelled: StopSource | None) -> Exit:
        if stop := self._before(cancelled):
            return Exit(None, 0.0, stop.status, stop.reason)
        self._started = time.monotonic()
        try:
            self._process, self._pipe = self._fork() or self._spawn()
        except (OSError, ValueError) as error:
            return Exit(None, 0.0, TrialStatus.ENVIRONMENT, _cannot_start(self._job, error))
        os.set_blocking(self._pipe, False)
        spared = self._preload.pid if self._preload else None
        self._family = ProcessTree(self._process.pid, self._folder, self._guarded, spared)
        self._disk_at = self._started + DISK_CHECK_S if self._job.limits.disk_mb is not None else math.inf
        try:
            with selectors.DefaultSelector() as self._selector, self._select(cancelled):
                while self._process.returncode is None and time.monotonic() < self._give_up_at:
                    for key, _ in self._selector.select(self._retry()):
                        key.data()
                    self._process.poll()
                    self._check_limits()
            seconds = time.monotonic() - self._started
        finally:
            stuck = self._end()
        return self._exit(seconds, stuck)

    def _before(self, cancelled: StopSource | None) -> StopRequest | None:
        """What has to be waited for; a wish that comes meanwhile, or was there before, ends it."""
        stop = self._memory.wait_until_free(self._job, self._slot, cancelled) if self._memory else None
        if stop is None and self._preload is not None:
            stop = self._preload.wait_until_ready(self._job, self._env, self._folder, cancelled)
        return stop or (cancelled.poll() if cancelled is not None else None)

    def _fork(self) -> tuple[ForkedProcess, int] | None:
        if self._preload is None:
            return None
        if self._job.preload and self._preload.unfit:
            self._take(f"[preload: {self._preload.unfit}. Started without]\n".encode())
        return self._preload.fork(self._job, self._env, self._folder)

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        ear, mouth = os.pipe()
        try:
            process = subprocess.Popen(
                [part.replace("{python}", sys.executable) for part in self._job.command],
                cwd=self._folder / FILES,
                env={**self._env, MARK: str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=mouth,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dying_with_us() if self._guarded else None,
            )
        except BaseException:
            os.close(ear)
            raise
        finally:
            os.close(mouth)
        return process, ear

    @contextlib.contextmanager
    def _select(self, cancelled: StopSource | None) -> Iterator[None]:
        """Wait for output, for wishes and, where the system can, for the end itself."""
        self._selector.register(self._pipe, selectors.EVENT_READ, self._read)
        if cancelled is not None:
            self._selector.register(cancelled.fileno(), selectors.EVENT_READ, lambda: self._heed(cancelled))
        pidfd = _open_pidfd(self._process.pid)
        self._blind = pidfd is None
        if pidfd is not None:
            self._selector.register(pidfd, selectors.EVENT_READ, lambda: None)
        try:
            yield
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def _read(self) -> None:
        data = _read_some(self._pipe)
        if data == b"":  # it has closed its output, and may go on
            self._selector.unregister(self._pipe)
        elif data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._log.write(data)
        self._parser.feed(data)

    def _heed(self, cancelled: StopSource) -> None:
        stop = cancelled.poll()
        if stop is None:
            return
        if stop.at_once:
            self._selector.unregister(cancelled.fileno())  # nothing more urgent can come
        self._stop(stop)

    def _retry(self) -> float:
        due = min(self._kill_at, self._give_up_at, self._disk_at, self._startup_at, self._total_at)
        wait = max(due - time.monotonic(), 0.0)
        return min(wait, _POLL_S if self._blind else 3600.0)

    @property
    def _total_at(self) -> float:
        limit = self._job.limits.total_s
        return math.inf if limit is None or self._stopped else self._started + limit

    @property
    def _startup_at(self) -> float:
        limit = None if self._job.progress.none else self._job.limits.startup_s
        return math.inf if limit is None or self._stopped or self._parser.begun else self._started + limit

    def _check_limits(self) -> None:
        now, limits = time.monotonic(), self._job.limits
        if now >= self._kill_at:
            self._kill(now)
        elif now >= self._total_at:
            self._stop(StopRequest(TrialStatus.TIMED_OUT, f"longer than limits.total_s = {limits.total_s:g}"))
        elif now >= self._startup_at:
            why = f"no progress line (`progress` in workload.toml) within limits.startup_s = {limits.startup_s:g}"
            self._stop(StopRequest(TrialStatus.SILENT, why))
        elif now >= self._disk_at and self._stopped is None:
            self._check_disk(now)

    def _check_disk(self, now: float) -> None:
        used_mb, limit_mb = folder_bytes(self._folder) / 1e6, self._job.limits.disk_mb
        took = time.monotonic() - now
        self._disk_at = now + max(DISK_CHECK_S, 20 * took)  # a million small files are not counted all the time
        if limit_mb is not None and used_mb > limit_mb:
            why = f"its work folder holds {used_mb:,.0f} MB, more than limits.disk_mb = {limit_mb:g}"
            self._stop(StopRequest(TrialStatus.CRASHED, why))

    def _stop(self, stop: StopRequest) -> None:
        if self._process.poll() is not None:
            return  # it was faster
        now = time.monotonic()
        if self._stopped is None:
            self._stopped, self._disk_at = stop, math.inf
            self._kill_at = now + self._job.limits.grace_s
            if not stop.at_once:
                self._family.signal(signal.SIGTERM)
        if stop.at_once:
            self._kill_at = now

    def _kill(self, now: float) -> None:
        self._family.signal(signal.SIGKILL)
        self._kill_at = now + 0.1  # again, should one have been forked in between
        self._give_up_at = min(self._give_up_at, now + UNKILLABLE_S)

    def _end(self) -> set[int]:
        """End what is left of it, then read what is left in the pipe: all writers are dead, so it cannot last."""
        if self._process.poll() is None:
            self._family.signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        stuck = self._family.end() if self._process.returncode is not None else self._family.members()
        deadline = time.monotonic() + 0.5  # a writer that we cannot see, on macOS
        while (data := _read_some(self._pipe)) and time.monotonic() < deadline:
            self._take(data)
        self._parser.close()
        os.close(self._pipe)
        return stuck

    def _exit(self, seconds: float, stuck: set[int]) -> Exit:
        code, stopped = self._process.returncode, self._stopped
        if stuck:
            pids = ", ".join(map(str, sorted(stuck)))
            why = f"process {pids} cannot be killed: it hangs in the kernel (GPU driver? file system?). Reboot"
            return Exit(code, seconds, TrialStatus.ENVIRONMENT, why)
        return Exit(code, seconds, stopped.status if stopped else None, stopped.reason if stopped else "")


def _cannot_start(job: Job, error: Exception) -> str:
    command = job.command[0].replace("{python}", sys.executable)
    why = error.strerror if isinstance(error, OSError) else error
    return f"the command {command!r} cannot be started: {why}. Mend `command` in the workload's workload.toml"


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        return None  # an old kernel


def _read_some(pipe: int) -> bytes | None:
    """b"" at its end, None if there is nothing now."""
    try:
        return os.read(pipe, _READ_BYTES)
    except BlockingIOError:
        return None
