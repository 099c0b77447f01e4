"""Whether a workload's commands can be started at all, seen before any trial: their program, their script, their flags.

Words in, lines out; `process.py` starts them.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from optimize.trial import Value

PYTHON, FOLDER = "{python}", "{folder}"  # what a command may hold: our Python, the workload's own folder
_FLAG = re.compile(r"--([A-Za-z_]\w*)(?:=(.*))?", re.DOTALL)


def unstartable(command: Sequence[str], known: Collection[str], path: str | None) -> list[str]:
    """Why this command cannot be started. `known`: files and folders that a trial finds; no `path`: programs are not looked for."""
    program, *words = command or [PYTHON]
    lines = []
    if "/" in program and not Path(program).is_absolute():
        lines.append(
            f'{program}: a trial\'s files are written as text, not to be run. Name the program: ["bash", "{program}"].'
        )
    elif path is not None and PYTHON not in program and shutil.which(program, path=path) is None:
        lines.append(
            f"there is no program {program} on this machine. Install it, put it on PATH, or mend workload.toml."
        )
    for word in words:
        if word.endswith(".py") and " " not in word and not _is_found(word, known):
            lines.append(f"{word} is not there when a trial runs. Name it in `files`, relative to the folder.")
    return lines


def _is_found(script: str, known: Collection[str]) -> bool:
    path = Path(script)
    return path.is_absolute() or any(path == Path(each) or Path(each) in path.parents for each in known)


def flags_of(command: Sequence[str]) -> dict[str, Value]:
    """What `--name=value` words set: scripts that read them let them win over everything else."""
    found: dict[str, Value] = {}
    for word in command:
        if flag := _FLAG.fullmatch(word):
            try:
                found[flag[1]] = ast.literal_eval(flag[2] or "")
            except (ValueError, SyntaxError):
                found[flag[1]] = flag[2]
    return found
