"""The folder that a trial runs in: made from a job, read again after a crash, removed.

    folder/files/      where the script runs: the rendered files, and whatever it writes
    folder/log         its output, head and tail
    folder/exit.json   how it ended; there once it is over, whoever has died meanwhile

It runs nothing; `process.py` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from optimize.jobs.bounded_log import BoundedLog, wait_until_closed
from optimize.jobs.data_links import link_data
from optimize.jobs.summary import Exit
from optimize.trial import Job, Outcome, TrialStatus

FILES, LOG, EXIT = "files", "log", "exit.json"
_EXIT_BYTES = 32_768  # reserved for the exit record, so that a full disk cannot take the result


def prepare_folder(job: Job, folder: Path) -> BoundedLog:
    if not remove_folder(folder):
        raise OSError("an earlier one cannot be removed")
    files = folder / FILES
    files.mkdir(parents=True)
    for name, text in job.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name} would lie outside")
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    link_data(files, job.links)  # after the files: none is written through a link
    _reserved(folder).write_bytes(b" " * _EXIT_BYTES)
    return BoundedLog(folder / LOG, job.limits.log_mb)


def _reserved(folder: Path) -> Path:
    return folder / f"{EXIT}.partial"


def write_exit(folder: Path, outcome: Outcome, end: Exit, unwritten: str = "") -> None:
    """Over the reserved bytes, then under its name: it is whole or it is not there.

    `unwritten` is the end of the log where the disk did not take it; the result goes before it.
    """
    code = end.code
    facts = {
        "code": code,
        "signal": signal.strsignal(-code) if code is not None and code < 0 else None,
        "stopped": end.stopped,
        "why": end.why,
    }
    folder.mkdir(parents=True, exist_ok=True)  # the script may have removed it
    record = {**outcome_to_json(outcome), "exit": facts}
    data = json.dumps({**record, "unwritten": unwritten}).encode()
    if len(data) > _EXIT_BYTES:
        data = json.dumps(record).encode()
    file = os.open(_reserved(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)
    _reserved(folder).replace(folder / EXIT)


def sync_exit(folder: Path) -> None:
    """Have it outlive a power cut. Milliseconds, so not before the driver is told: it may keep the outcome faster."""
    for path in (folder / LOG, folder / EXIT, folder):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """All but the log, which has a file."""
    return {key: value for key, value in asdict(outcome).items() if key != "log"}


def outcome_from_json(record: Mapping[str, Any], log: str) -> Outcome:
    return Outcome(
        status=TrialStatus(record["status"]),
        seconds=float(record["seconds"]),
        reason=str(record["reason"]),
        summary={str(k): v if isinstance(v, float) else str(v) for k, v in record["summary"].items()},
        log=log,
        slot=str(record["slot"]),
        curve=tuple((float(fraction), float(loss)) for fraction, loss in record["curve"]),
        device=str(record["device"]),
        shared=bool(record["shared"]),
    )


def read_outcome(folder: Path, wait_s: float = 10.0) -> Outcome | None:
    """How a job ended whose driver has died; None if it did not come to an end.

    Waits for a guardian that is still busy ending it: what the script has said until then counts.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        with contextlib.suppress(FileNotFoundError):
            wait_until_closed(folder / LOG, wait_s)
        record = json.loads((folder / EXIT).read_bytes())
        return outcome_from_json(record, read_log(folder) + str(record.get("unwritten", "")))
    return None


def read_log(folder: Path) -> str:
    """What there is of the log, also while the script runs; empty if there is none."""
    try:
        return (folder / LOG).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def remove_folder(folder: Path) -> bool:
    """Remove it, whatever a script did to its permissions; is it gone?"""
    if not os.path.lexists(folder):
        return True
    if folder.is_symlink():
        folder.unlink()
        return True
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
        return True
    subprocess.run(["chmod", "-R", "u+rwx", "--", folder], stderr=subprocess.DEVNULL, check=False)
    subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)
    return not os.path.lexists(folder)


def folder_bytes(folder: Path) -> int:
    """What it takes on disk; files that come and go meanwhile are counted or not."""
    total, folders = 0, [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total
