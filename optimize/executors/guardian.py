"""A small process that stands between the driver and one slot's scripts: `python -m optimize.executors.guardian`.

It runs the jobs that it reads from stdin, one at a time, and reports on stdout, one JSON line each:

    driver -> guardian   {"job": {...}, "folder": "...", "slot": {...}}     {"stop": {"number", "status", "reason"}}
    guardian -> driver   {"ready": pid}     {"progress": {...}}     {"outcome": {...}, "log": "..."}

The end of stdin is the driver's death: it kills everything below it, writes the exit record and ends. On Linux it
adopts what its scripts orphan, and a kill -9 of itself takes the script with it. It runs one trial after another, because
starting a Python for each would cost more than the rest. No signal but SIGKILL ends it: the driver decides about trials.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optimize.runner.gpu_watch import GpuWatch
from optimize.runner.process import GuardianSupport, run_job
from optimize.runner.process_tree import adopt_orphans
from optimize.runner.stop import StopRequest, Terminations
from optimize.runner.warm_start import WarmStart
from optimize.runner.workdir import outcome_to_json, sync_exit
from optimize.trial import Job, Limits, Metric, Progress, ProgressFormat, Slot, TrialStatus

PROGRESS_EVERY_S = 1.0  # beside whole percents; each report costs the driver a hundredth of what a trial does
SYNC_AFTER_S = 1.0


def main() -> None:
    """Run the jobs that come on stdin until it ends."""
    # Handlers, not SIG_IGN: an ignored signal would stay ignored in the script.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    adopts, warm_start = adopt_orphans(), WarmStart()
    support = GuardianSupport(adopts, warm_start if adopts else None, GpuWatch(), Terminations())
    orders, reports = _Orders(0), _Reports(1)
    reports.send({"ready": os.getpid()})
    while (order := orders.next_job()) is not None and not reports.broken:
        job, slot = job_from_json(order["job"]), Slot(**order["slot"])
        throttle = _Throttle(reports)
        outcome = run_job(
            job,
            Path(order["folder"]),
            slot,
            stop_source=orders,
            on_progress=throttle.report,
            support=support,
        )
        orders.job_has_ended()
        reports.send({"outcome": outcome_to_json(outcome), "log": outcome.log})
        if not orders.has_next_within(SYNC_AFTER_S):  # the driver is busy or dead, and the outcome only here
            sync_exit(Path(order["folder"]))
    warm_start.close()


class _Orders:
    """What the driver sends: jobs to run, and (as a `StopSource`) the end of the one that is running."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe, self._rest, self._ended = pipe, b"", False
        self._jobs: deque[dict[str, Any]] = deque()
        self._stops: dict[int, StopRequest] = {}
        self.number: int | None = None  # of the job that is running

    def fileno(self) -> int:
        """Return the pipe, which becomes readable when an order comes."""
        return self._pipe

    def next_job(self) -> dict[str, Any] | None:
        """Wait for the next job. Return None when the driver has gone."""
        while not self._jobs and not self._ended:
            select.select([self._pipe], [], [])
            self._read()
        if self._ended:
            return None
        order = self._jobs.popleft()
        self.number = order["job"]["number"]
        return order

    def has_next_within(self, timeout_s: float) -> bool:
        """Return whether the driver sends the next job in time."""
        if not self._jobs and not self._ended and select.select([self._pipe], [], [], timeout_s)[0]:
            self._read()
        return bool(self._jobs) and not self._ended

    def job_has_ended(self) -> None:
        """Forget the job, and requests that came too late for it."""
        self.number = None
        self._stops.clear()

    def poll(self) -> StopRequest | None:
        """Return a request that the running job end."""
        self._read()
        if self._ended:
            return StopRequest(TrialStatus.LOST, "the driver went away", at_once=True)
        return self._stops.pop(self.number, None) if self.number is not None else None

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, 1 << 20)
        except BlockingIOError:
            return
        self._ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._receive(json.loads(line))

    def _receive(self, order: dict[str, Any]) -> None:
        if "job" in order:
            self._stops.pop(order["job"]["number"], None)  # it came too late for an earlier job
            self._jobs.append(order)
        else:
            stop = order["stop"]
            self._stops.setdefault(stop["number"], StopRequest(TrialStatus(stop["status"]), stop["reason"]))


class _Reports:
    """The way back to the driver."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self.broken = False

    def send(self, message: Mapping[str, Any], droppable: bool = False) -> None:
        """Send a message, and wait while the driver does not read. A droppable one is dropped then: a later one replaces it."""
        line = memoryview(encode(message))
        while line and not self.broken:
            try:
                line = line[os.write(self._pipe, line) :]
            except BlockingIOError:
                if droppable and len(line) <= select.PIPE_BUF:  # so short a write is whole or not at all
                    return
                select.select([], [self._pipe], [])
            except BrokenPipeError:
                self.broken = True


class _Throttle:
    """Report the first progress, each whole percent, and one a second of the rest."""

    def __init__(self, reports: _Reports) -> None:
        self._reports, self._percent, self._sent_at = reports, -1, 0.0

    def report(self, progress: Progress) -> None:
        """Send this progress if it is due."""
        percent, now = int(100 * progress.fraction + 1e-6), time.monotonic()
        if percent != self._percent or now - self._sent_at >= PROGRESS_EVERY_S:
            self._percent, self._sent_at = percent, now
            self._reports.send({"progress": asdict(progress)}, droppable=True)


# --- the lines --------------------------------------------------------------------------------------------------------


def encode(message: Mapping[str, Any]) -> bytes:
    """Return the message as one line."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of a line."""
    message: dict[str, Any] = json.loads(line.decode("utf-8", "surrogatepass"))
    return message


def job_to_json(job: Job) -> dict[str, Any]:
    """Return what running the job takes. Its params are left out: they are in its files."""
    return {
        "number": job.number,
        "files": dict(job.files),
        "command": job.command,
        "env": dict(job.env),
        "metric": asdict(job.metric),
        "limits": asdict(job.limits),
        "preload": job.preload,
        "alone": job.alone,
        "progress": asdict(job.progress),
        "links": dict(job.links),
        "startup_in": job.startup_in,
    }


def slot_to_json(slot: Slot) -> dict[str, Any]:
    """Return what running a job in this slot takes."""
    return {"name": slot.name, "env": dict(slot.env), "device": slot.device, "shared": slot.shared}


def job_from_json(record: Mapping[str, Any]) -> Job:
    """Return the job of `job_to_json`, without params."""
    return Job(
        number=record["number"],
        params={},
        files=record["files"],
        command=tuple(record["command"]),
        env=record["env"],
        metric=Metric(**record["metric"]),
        limits=Limits(**record["limits"]),
        preload=tuple(record["preload"]),
        alone=record["alone"],
        progress=ProgressFormat(**record["progress"]),
        links=record["links"],
        startup_in=record["startup_in"],
    )


if __name__ == "__main__":
    main()
