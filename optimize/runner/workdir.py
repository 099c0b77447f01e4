"""The folder that a trial runs in: made from a job, read again after a crash, measured, removed.

    folder/files/      where the script runs: the rendered files, and whatever it writes
    folder/log         its output, head and tail
    folder/exit.json   how it ended; there once it is over, whoever has died meanwhile
    folder/zygote      of a forked trial: the mark of the process that it was forked from (`process_tree.py`)

It also links data into `files/`, fingerprints them, and names the Python of a command. It starts no script:
`process.py` does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from optimize.runner.diagnosis import Exit
from optimize.runner.log import BoundedLog, wait_until_closed
from optimize.runner.process_tree import kill_orphans
from optimize.trial import Job, Outcome, TrialStatus

PYTHON = "{python}"  # in a command: the Python of the machine that runs it
MOST_ENTRIES = 10_000  # files and folders of each link: those of a corpus in a million pieces take too long


def with_python(command: Iterable[str]) -> list[str]:
    """Return the command for this machine: PYTHON is the Python that runs us."""
    return [word.replace(PYTHON, sys.executable) for word in command]


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write text files, by their path in the folder. Raises ValueError for one that would lie outside, OSError."""
    for name, text in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name} would lie outside")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))


def link_data(files: Path, links: Mapping[str, str]) -> None:
    """Link folders and files of data into `files`, after all files are written.

    Raises OSError for data that is not on this machine, ValueError for a link that would lie elsewhere.
    """
    if problem := missing(links):
        raise OSError(problem)
    for name, target in links.items():
        inner, path = PurePosixPath(name), files / name
        if inner.is_absolute() or ".." in inner.parts:
            raise ValueError(f"{name} would lie outside")
        if any((files / parent).is_symlink() for parent in inner.parents):
            raise ValueError(f"{name} would lie in the folder of another link")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target, target_is_directory=Path(target).is_dir())


def missing(links: Mapping[str, str]) -> str:
    """Return one line about the folders and files that do not exist, "" if all do."""
    gone = [target for target in links.values() if not Path(target).exists()]
    return (
        f"links: {', '.join(gone)}: no such folder or file on this machine. Put the data there, or correct `links` in workload.toml"
        if gone
        else ""
    )


def fingerprint(links: Mapping[str, str]) -> str:
    """Return a hash that changes when a file of the data is added, removed or resized. Hidden files do not count."""
    digest = hashlib.sha256()
    for name, target in sorted(links.items()):
        for path, size in filter(None, islice(_walk(target), MOST_ENTRIES)):
            digest.update(f"{name}\0{path}\0{size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _walk(folder: str) -> Iterator[tuple[str, int] | None]:
    """Yield path and size of every file, and None for every folder, in an order that is the same everywhere; of a file, its own.

    A linked folder counts like a copy of it, wherever it lies, but each folder once: links may lead in circles.
    """
    seen = set()
    if Path(folder).is_file():
        yield ".", Path(folder).stat().st_size
    for at, folders, names in os.walk(folder, followlinks=True):
        yield None
        found = _identity(at)
        if found is None or found in seen:
            folders.clear()
            continue
        seen.add(found)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in sorted(name for name in names if not _is_hidden(name)):
            path = os.path.join(at, name)  # noqa: PTH118
            try:
                yield os.path.relpath(path, folder), os.stat(path).st_size  # noqa: PTH116
            except OSError:  # a link to nowhere, or gone meanwhile
                continue


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)  # noqa: PTH116
    except OSError:  # gone meanwhile
        return None
    return found.st_dev, found.st_ino


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


FILES, LOG, EXIT = "files", "log", "exit.json"
_EXIT_BYTES = 32_768  # reserved for the exit record, so that a full disk cannot take the result


def prepare_folder(job: Job, folder: Path) -> BoundedLog:
    """Make the folder anew, with the job's files and links. Return its log. Raises OSError or ValueError."""
    if not remove_folder(folder):
        raise OSError("an earlier one cannot be removed. Remove it by hand")
    files = folder / FILES
    files.mkdir(parents=True)
    write_files(files, job.files)
    link_data(files, job.links)  # after the files: none is written through a link
    _reserved(folder).write_bytes(b" " * _EXIT_BYTES)
    return BoundedLog(folder / LOG, job.limits.log_mb)


def _reserved(folder: Path) -> Path:
    return folder / f"{EXIT}.partial"


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """Open a descriptor of the folder, which stays right while the folder or one above it is moved. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_exit(folder: Path, outcome: Outcome, end: Exit, unwritten: str = "", place: int | None = None) -> None:
    """Write the exit record over the reserved bytes, then rename it: it is whole or it does not exist.

    `unwritten` is the end of the log that the disk did not take. It is left out if the record would be too long with it.
    `place` is a descriptor of the folder, from before the script started. Raises OSError.
    """
    code = end.code
    facts = {
        "code": code,
        "signal": signal.strsignal(-code) if code is not None and code < 0 else None,
        "stopped": end.stop.status if end.stop else None,
        "why": end.stop.reason if end.stop else "",
    }
    record = {**outcome_to_json(outcome), "exit": facts}
    data = json.dumps({**record, "unwritten": unwritten}).encode()
    if len(data) > _EXIT_BYTES:
        data = json.dumps(record).encode()
    try:
        if place is not None:
            _put_exit(place, data)
            return
    except FileNotFoundError:
        pass  # the script has removed the folder
    folder.mkdir(exist_ok=True)  # nothing above it: where the runs folder was moved away, nothing is made anew
    with opened_folder(folder) as anew:
        _put_exit(anew, data)


def _put_exit(place: int, data: bytes) -> None:
    name = _reserved(Path()).name
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=place)
    try:
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)
    os.replace(name, EXIT, src_dir_fd=place, dst_dir_fd=place)


def sync_exit(folder: Path) -> None:
    """Sync the folder to disk, so that it outlives a power cut. This takes milliseconds: report to the driver first."""
    for path in (folder / LOG, folder / EXIT, folder):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as JSON, without its log, which has a file."""
    return {key: value for key, value in asdict(outcome).items() if key != "log"}


def outcome_from_json(record: Mapping[str, Any], log: str) -> Outcome:
    """Return the outcome of a record with this log. Raises ValueError, KeyError or TypeError for any other JSON."""
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
    """Return how a job ended whose driver has died, None if there is no record of its end.

    Waits up to `wait_s` for a guardian that is still ending it.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        with contextlib.suppress(FileNotFoundError):
            wait_until_closed(folder / LOG, wait_s)
        record = json.loads((folder / EXIT).read_bytes())
        return outcome_from_json(record, read_log(folder) + str(record.get("unwritten", "")))
    return None


def recover_outcome(folder: Path, lost: Outcome) -> Outcome:
    """End what a trial has left whose guardian or driver died. Return the outcome on record, else `lost` with its log."""
    # Read first: a script that we killed under a guardian that has not noticed yet would be judged as killed by the kernel.
    outcome = read_outcome(folder)
    kill_orphans(folder)
    return outcome or replace(lost, log=read_log(folder))


def read_log(folder: Path) -> str:
    """Return what there is of the log, also while the script runs; "" if there is none."""
    try:
        return (folder / LOG).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def remove_folder(folder: Path) -> bool:
    """Remove the folder, whatever a script did to its permissions. Return whether it is gone."""
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
    """Return what the folder takes on disk, in bytes. Files that come and go meanwhile may be counted or not."""
    total, folders = 0, [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total
