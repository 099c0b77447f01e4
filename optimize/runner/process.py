"""Runs one job in a folder of its own, within its limits, and returns when every process of it is gone.

It does not know where it runs (a guardian, a cluster node, a test) nor what an outcome means for the study.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.runner.causes import INSTALL
from optimize.runner.diagnosis import REASON_CHARS, Exit, diagnose
from optimize.runner.gpu_watch import GpuWatch
from optimize.runner.log import BoundedLog
from optimize.runner.metric_files import lines_of_file
from optimize.runner.process_tree import MARK, UNKILLABLE_S, ProcessTree, dying_with_us
from optimize.runner.progress import OutputParser
from optimize.runner.stop import StopRequest, StopSource, Terminations
from optimize.runner.warm_start import ForkedProcess, WarmStart
from optimize.runner.workdir import FILES, PYTHON, folder_bytes, opened_folder, prepare_folder, with_python, write_exit
from optimize.text import one_line
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus

DISK_CHECK_S = 2.0
COMMAND_CHARS = 80  # of a command in a reason
_READ_BYTES = 1 << 16
_POLL_S = 0.02  # where the end of a process cannot be waited for together with its output (macOS)


@dataclass(frozen=True, slots=True)
class GuardianSupport:
    """What a guardian adds to running a job.

    `adopts`: the process adopts orphans, has no other children (but the zygote) and runs jobs in its main thread. Then no
    descendant of a script can hide, and no script outlives the process. `warm_start` needs that.
    """

    adopts: bool = False
    warm_start: WarmStart | None = None
    gpus: GpuWatch | None = None  # each trial waits for its GPU to be free
    terminations: Terminations | None = None


def run_job(
    job: Job,
    folder: Path,
    slot: Slot,
    *,
    stop_source: StopSource | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    support: GuardianSupport | None = None,
) -> Outcome:
    """Run the job in `folder`, which is emptied first. Whatever the script does is an outcome, never an exception."""
    with contextlib.ExitStack() as stack:
        try:
            log = stack.enter_context(contextlib.closing(prepare_folder(job, folder)))
            place = stack.enter_context(opened_folder(folder))
        except (OSError, ValueError) as error:
            why = f"{folder}: the work folder cannot be made: {error}"
            return Outcome(TrialStatus.ENVIRONMENT, 0.0, why, slot=slot.name, device=slot.device)
        parser = OutputParser(job, on_progress)
        if support is not None and support.terminations is not None:
            support.terminations.begin()
        end = _Script(job, folder, slot, log, parser, support or GuardianSupport()).run(stop_source)
        if job.metric.file:
            parser.metric.read_file(lines_of_file(folder / FILES, job.metric))
        outcome = _diagnose(log, end, job, parser, slot)
        if support is not None and support.gpus is not None:
            outcome = support.gpus.judge(outcome, slot)
        if support is not None and support.terminations is not None:
            outcome = _if_terminated(outcome, end, support.terminations)
        outcome = replace(
            outcome,
            slot=slot.name,
            curve=tuple(parser.curve),
            device=slot.device,
            shared=slot.shared and not job.alone,
        )
        with contextlib.suppress(OSError):  # the driver is told all the same
            write_exit(folder, outcome, end, log.unwritten(), place)
    return outcome


def _diagnose(log: BoundedLog, end: Exit, job: Job, parser: OutputParser, slot: Slot) -> Outcome:
    if end.stop is None and (why := parser.gave_up()):  # it ended before we could stop it
        end = replace(end, stop=StopRequest(TrialStatus.ENVIRONMENT, why))
    outcome = diagnose(log.text(), end, job.metric, parser.metric.found(), parser.tells_progress)
    if outcome.reason.endswith(INSTALL):
        outcome = replace(outcome, reason=_naming_python(outcome.reason, job.command))
    if outcome.status is TrialStatus.DEVICE_FAILED and end.stop is None:
        outcome = _naming_device(outcome, slot)
    if parser.gave_up() or not (skipped := parser.skipped()):
        return outcome
    return replace(outcome, reason=one_line("; ".join(filter(None, (outcome.reason, skipped))), 2 * REASON_CHARS))


def _if_terminated(outcome: Outcome, end: Exit, terminations: Terminations) -> Outcome:
    """Return an outcome that is nobody's fault, where the system has ended more than this script."""
    if outcome.status is TrialStatus.COMPLETE or end.stop is not None:
        return outcome
    if not terminations.have_come(is_likely=end.code in (-signal.SIGTERM, 128 + signal.SIGTERM)):
        return outcome
    return replace(outcome, status=TrialStatus.CANCELLED, reason="SIGTERM, to all processes of the study")


def _naming_python(reason: str, command: Sequence[str]) -> str:
    """Return the reason of a missing package with the Python that lacks it, and what starts another one."""
    if command[0] == PYTHON:
        other = json.dumps(["/path/to/python", *command[1:]])
        advice = f"Install it into {sys.executable}, or start another Python: `command = {other}` in workload.toml"
    else:
        advice = f"Install it for `{one_line(shlex.join(command), COMMAND_CHARS)}`, the command of workload.toml"
    return one_line(reason.removesuffix(INSTALL), REASON_CHARS - len(advice) - 1) + f" {advice}"


def _naming_device(outcome: Outcome, slot: Slot) -> Outcome:
    """Return an outcome that is about a GPU with the slot's name; where the slot has none, the script wants what is not there."""
    if slot.env.get("CUDA_VISIBLE_DEVICES") != "":
        return replace(outcome, reason=f"{slot.name}: {outcome.reason}")
    why = f"{slot.name}: the script wants a GPU, and the profile gives it a CPU core. Choose a profile with one"
    return replace(outcome, status=TrialStatus.ENVIRONMENT, reason=why)


class _Script:
    """One running script and the reasons to end it. It sleeps until there is output, an end, a stop request or a deadline."""

    def __init__(
        self, job: Job, folder: Path, slot: Slot, log: BoundedLog, parser: OutputParser, support: GuardianSupport
    ) -> None:
        self._job, self._folder, self._slot, self._log, self._parser = job, folder, slot, log, parser
        self._support, self._warm_start = support, support.warm_start
        self._env = {**job.env, **slot.env}
        self._process: subprocess.Popen[bytes] | ForkedProcess
        self._stopped: StopRequest | None = None
        self._kill_at = self._give_up_at = math.inf
        self._disk_at = math.inf

    def run(self, stop_source: StopSource | None) -> Exit:
        """Start the script and wait until every process of it is gone."""
        if stop := self._wait_before_start(stop_source):
            return Exit(None, 0.0, stop)
        self._started = time.monotonic()
        try:
            self._process, self._pipe = self._fork() or self._spawn()
        except (OSError, ValueError) as error:
            return Exit(None, 0.0, StopRequest(TrialStatus.ENVIRONMENT, _cannot_start(self._job, error)))
        os.set_blocking(self._pipe, False)
        spared = self._warm_start.pid if self._warm_start else None
        self._tree = ProcessTree(self._process.pid, self._folder, self._support.adopts, spared)
        self._disk_at = self._started + DISK_CHECK_S if self._job.limits.disk_mb is not None else math.inf
        try:
            with selectors.DefaultSelector() as self._selector, self._watch(stop_source):
                while self._process.returncode is None and time.monotonic() < self._give_up_at:
                    for key, _ in self._selector.select(self._timeout_s()):
                        key.data()
                    self._process.poll()
                    self._check_limits()
            seconds = time.monotonic() - self._started
        finally:
            stuck = self._end()
        return self._exit(seconds, stuck)

    def _wait_before_start(self, stop_source: StopSource | None) -> StopRequest | None:
        """Wait for the GPU and the zygote. Return a stop request that comes meanwhile, or came before."""
        gpus = self._support.gpus
        stop = gpus.wait_until_free(self._job, self._slot, stop_source) if gpus else None
        if stop is None and self._warm_start is not None:
            stop = self._warm_start.wait_until_ready(self._job, self._env, self._folder, stop_source)
        return stop or (stop_source.poll() if stop_source is not None else None)

    def _fork(self) -> tuple[ForkedProcess, int] | None:
        if self._warm_start is None:
            return None
        if self._job.preload and self._warm_start.unfit:
            self._record(f"[preload: {self._warm_start.unfit}. Started without]\n".encode())
        return self._warm_start.fork(self._job, self._env, self._folder)

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(
                with_python(self._job.command),
                cwd=self._folder / FILES,
                env={**self._env, MARK: str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dying_with_us() if self._support.adopts else None,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return process, reader

    @contextlib.contextmanager
    def _watch(self, stop_source: StopSource | None) -> Iterator[None]:
        """Watch for output, for stop requests and, where the system can, for the end itself."""
        self._selector.register(self._pipe, selectors.EVENT_READ, self._read)
        if stop_source is not None:
            self._selector.register(stop_source.fileno(), selectors.EVENT_READ, lambda: self._follow(stop_source))
        pidfd = _open_pidfd(self._process.pid)
        self._must_poll = pidfd is None
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
            self._record(data)

    def _record(self, data: bytes) -> None:
        self._log.write(data)
        self._parser.feed(data)

    def _follow(self, stop_source: StopSource) -> None:
        stop = stop_source.poll()
        if stop is None:
            return
        if stop.at_once:
            self._selector.unregister(stop_source.fileno())  # nothing more urgent can come
        self._stop(stop)

    def _timeout_s(self) -> float:
        due = min(self._kill_at, self._give_up_at, self._disk_at, self._startup_at, self._total_at)
        wait = max(due - time.monotonic(), 0.0)
        return min(wait, _POLL_S if self._must_poll else 3600.0)

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
            self._stop(StopRequest(TrialStatus.SILENT, _silence_of(self._job)))
        elif self._stopped is None and (why := self._parser.gave_up()):
            self._stop(StopRequest(TrialStatus.ENVIRONMENT, why))
        elif now >= self._disk_at and self._stopped is None:
            self._check_disk(now)

    def _check_disk(self, now: float) -> None:
        used_mb, limit_mb = folder_bytes(self._folder) / 1e6, self._job.limits.disk_mb
        took = time.monotonic() - now
        self._disk_at = now + max(DISK_CHECK_S, 20 * took)  # counting a million small files takes long
        if limit_mb is not None and used_mb > limit_mb:
            why = f"its work folder holds {used_mb:,.0f} MB, more than limits.disk_mb = {limit_mb:g}"
            self._stop(StopRequest(TrialStatus.CRASHED, why))

    def _stop(self, stop: StopRequest) -> None:
        if self._process.poll() is not None:
            return  # it has ended by itself
        now = time.monotonic()
        if self._stopped is None:
            self._stopped, self._disk_at = stop, math.inf
            self._kill_at = now + self._job.limits.grace_s
            if not stop.at_once:
                self._tree.signal(signal.SIGTERM)
        if stop.at_once:
            self._kill_at = now

    def _kill(self, now: float) -> None:
        self._tree.signal(signal.SIGKILL)
        self._kill_at = now + 0.1  # again, because one may have been forked in between
        self._give_up_at = min(self._give_up_at, now + UNKILLABLE_S)

    def _end(self) -> set[int]:
        """End what is left of it, then read what is left in the pipe. Return the processes that cannot be killed."""
        if self._process.poll() is None:
            self._tree.signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        stuck = self._tree.end() if self._process.returncode is not None else self._tree.members()
        deadline = time.monotonic() + 0.5  # all writers are dead, but for one that we cannot see, on macOS
        while (data := _read_some(self._pipe)) and time.monotonic() < deadline:
            self._record(data)
        self._parser.close()
        os.close(self._pipe)
        return stuck

    def _exit(self, seconds: float, stuck: set[int]) -> Exit:
        code = self._process.returncode
        if stuck:
            pids = ", ".join(map(str, sorted(stuck)))
            why = f"process {pids} cannot be killed: it hangs in the kernel (GPU driver? file system?). Reboot"
            return Exit(code, seconds, StopRequest(TrialStatus.ENVIRONMENT, why))
        return Exit(code, seconds, self._stopped)


def _cannot_start(job: Job, error: Exception) -> str:
    command, *_ = with_python(job.command)
    why = error.strerror if isinstance(error, OSError) else error
    return f"the command {command!r} cannot be started: {why}. Correct `command` in workload.toml"


def _silence_of(job: Job) -> str:
    there = "there" if job.startup_in.endswith("workload.toml") else "in workload.toml"
    return (
        f"no progress line within limits.startup_s = {job.limits.startup_s:g}. Raise `[limits] startup_s` in {job.startup_in}, or "
        f"write `progress = false` {there} if it prints none"
    )


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        return None  # an old kernel


def _read_some(pipe: int) -> bytes | None:
    """Return b"" at its end, None if there is nothing now."""
    try:
        return os.read(pipe, _READ_BYTES)
    except BlockingIOError:
        return None
