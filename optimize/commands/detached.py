"""Begins `run` or `confirm` in a process of its own, which goes on when whoever began it has gone.

A short-lived Python starts it in a session of its own, so that it is nobody's child and gets nobody's signals. What it says goes
into the study's `driver.log`, what happens into its events file, by which it is known here that it works.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimize.errors import StudyError

if TYPE_CHECKING:
    from optimize.config.plan import Plan

BEGINS_S = 40.0  # how long it is waited for; a preparation of data may take longer
LOOK_S = 0.05
SAID_CHARS = 2_000  # of the log's end, where it ended at once
_BEGIN = """\
import subprocess, sys
log = open(sys.argv[1], "ab")
null = subprocess.DEVNULL
print(subprocess.Popen(sys.argv[2:], stdin=null, stdout=log, stderr=log, start_new_session=True).pid)
"""


def begin_detached(
    command: str, plan: Plan, more: Mapping[str, object], events: Path | None = None, waits_s: float = BEGINS_S
) -> dict[str, Any]:
    """Start `optimize COMMAND` with the plan's flags and `more`, and return a document about it once it works on the study.

    Raises StudyError with what it said, where it ended with an error before.
    """
    from optimize.reporting.hints import given_flags, optimize_command
    from optimize.reporting.status_json import SCHEMA
    from storage import StudyPaths, process_start

    settings = plan.settings
    paths = StudyPaths(settings.runs, settings.study)
    paths.create()
    file, before = events or paths.events, _size(events or paths.events)
    flags = {**given_flags(settings, search=command == "run"), "study": settings.study, **more, "events": file}
    words = shlex.split(optimize_command(command, flags))[1:]
    log_before = _size(paths.driver_log)
    pid = _begun([sys.executable, "-m", "optimize", *words], paths.driver_log)
    state, end = _first_state(pid, file, before, waits_s, lambda: process_start(pid) is not None)
    if state == "ended" and end.get("code") != 0:
        said = _read_from(paths.driver_log, log_before)[-SAID_CHARS:].strip().splitlines()
        gone = f"study {settings.study}: the process that was to drive it has gone. Try again."
        raise StudyError(*(end.get("problems") or said or [gone]))
    return {
        "schema": SCHEMA,
        "study": settings.study,
        "what": command,
        "state": state,
        "pid": pid,
        "log": str(paths.driver_log.absolute()),
        "events": str(file.absolute()),
    }


def _begun(words: list[str], log: Path) -> int:
    """Start a process that outlives this one; return its pid."""
    begin = [sys.executable, "-I", "-S", "-c", _BEGIN, str(log), *words]
    answer = subprocess.run(begin, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return int(answer.stdout)


def _first_state(
    pid: int, events: Path, before: int, waits_s: float, is_alive: Callable[[], bool]
) -> tuple[str, Mapping[str, Any]]:
    """Wait for what the process does first: `running`, `ended`, or `preparing` where it takes long; with its last event."""
    deadline = time.monotonic() + waits_s
    while True:
        alive = is_alive()  # before its last line is looked for
        for line in events_in(events, before):
            if line.get("pid") == pid and line.get("event") in ("start", "end"):
                return ("running" if line["event"] == "start" else "ended"), line
        if not alive:
            return "ended", {}
        if time.monotonic() > deadline:
            return "preparing", {}
        time.sleep(LOOK_S)


def events_in(path: Path, start: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the whole lines of a file of events, from a byte on."""
    for line in _read_from(path, start).splitlines():
        try:
            found = json.loads(line)
        except ValueError:  # it is being written, or a disk was full
            continue
        if isinstance(found, dict):
            yield found


def _read_from(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
