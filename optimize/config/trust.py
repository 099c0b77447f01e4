"""Decides whether a folder's commands may run: ours always, any other once a person has accepted them.

A hash of the folder and of its command lines is kept; another command line asks again. The user reads the scripts: a workload is
code and runs with the user's rights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optimize.config.environment import config_folder
from optimize.errors import WorkloadError
from optimize.script.load_workload import OURS
from optimize.script.workload import Workload


def accept(workload: Workload, agrees: Callable[[list[str]], bool]) -> None:
    """Ask `agrees` once, with a line for each command, and remember a yes. Raises WorkloadError for a no."""
    if is_trusted(workload):
        return
    lines, folder = [workload.prepare_command, workload.command], workload.folder.resolve()
    if not agrees([f"workload {folder}: runs `{' '.join(words)}`" for words in lines if words]):
        raise WorkloadError(
            f"workload {folder}: its commands have not been accepted. "
            "Read its scripts, then accept them, once: `optimize ... --trust`"
        )
    _remember(_key(workload))


def is_trusted(workload: Workload) -> bool:
    """Tell whether its commands may run without asking."""
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
