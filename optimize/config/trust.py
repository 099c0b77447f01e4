"""Whether a folder's commands may run here: ours always, anybody else's once a person has accepted them.

What is remembered is a hash of the folder and of its command lines; another command line asks again. The scripts themselves are the
user's to read: a workload is code and runs with the user's rights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optimize.config.settings import config_folder
from optimize.errors import WorkloadError
from optimize.script.workload import OURS, Workload


def accept(workload: Workload, agrees: Callable[[list[str]], bool]) -> None:
    """See that its commands are accepted: `agrees` is asked once, with a line for each. Raises WorkloadError if it says no."""
    if is_trusted(workload):
        return
    lines = [workload.prepare_command, workload.command]
    if not agrees([f"workload {workload.folder}: runs `{' '.join(words)}`" for words in lines if words]):
        raise WorkloadError(
            f"workload {workload.folder}: its commands have not been accepted. "
            "Read its scripts, then add --trust (make: TRUST=1), once."
        )
    _remember(_key(workload))


def is_trusted(workload: Workload) -> bool:
    return workload.folder.resolve().is_relative_to(OURS.resolve()) or _key(workload) in _accepted()


def _remember(key: str) -> None:
    path = _path()
    with suppress(OSError):  # it will be asked again
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps([*_accepted(), key], indent=1))
        beside.replace(path)


def _key(workload: Workload) -> str:
    what = (str(workload.folder.resolve()), workload.command, workload.prepare_command)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


def _accepted() -> list[str]:
    try:
        kept = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [key for key in kept if isinstance(key, str)] if isinstance(kept, list) else []


def _path() -> Path:
    return config_folder() / "trusted.json"
