"""Checks a workload's commands before any trial, reads their flags, and writes a shell script that trains a trial again.

It starts nothing: `runner/process.py` does.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from optimize.runner.workdir import PYTHON as PYTHON
from optimize.script.seeding import again_note
from optimize.text import value_text
from optimize.trial import NO_GPU, ONE_THREAD, Job, Value

FOLDER = "{folder}"  # in a command: the workload's own folder
RUN = "run.sh"  # trains a trial again; among what a trial leaves only where `python train.py` would not be the same
RUN_BESIDE = "run-again.sh"  # the same, where the workload has a file of that name
PLAIN = (PYTHON, "train.py")
HASH_SEED = "0"  # of every trial: the order of a set of texts, which some scripts train in, hangs on it
_CORE = re.compile(r"(?:.*/)?cpu:\d+")  # the name of a slot, on this machine or on a node
_FLAG = re.compile(r"--([A-Za-z_]\w*)(?:=(.*))?", re.DOTALL)


def unstartable(command: Sequence[str], known: Collection[str], path: str | None) -> list[str]:
    """Return a line for each reason why this command cannot be started.

    `known`: files and folders that a trial finds. `path`: where programs are looked for; None: nowhere.
    """
    program, *words = command or [PYTHON]
    lines = []
    if "/" in program and not Path(program).is_absolute():
        lines.append(
            f'{program}: a trial\'s files are written as text and cannot be executed. Name the program: ["bash", "{program}"].'
        )
    elif path is not None and PYTHON not in program and shutil.which(program, path=path) is None:
        lines.append(
            f"there is no program {program} on this machine. Install it, put it on PATH, or correct workload.toml."
        )
    for word in words:
        word = word.partition("=")[2] if word.startswith("-") else word
        if word.endswith(".py") and " " not in word and not _is_found(word, known):
            lines.append(f"{word} does not exist when a trial runs. Name it in `files`, relative to the folder.")
    return lines


def _is_found(script: str, known: Collection[str]) -> bool:
    path = Path(script)
    return path.is_absolute() or any(path == Path(each) or Path(each) in path.parents for each in known)


def flags_of(command: Sequence[str]) -> dict[str, Value]:
    """Return what `--name=value` words set: in scripts that read them they win over everything else."""
    found: dict[str, Value] = {}
    for word in command:
        if flag := _FLAG.fullmatch(word):
            try:
                found[flag[1]] = ast.literal_eval(flag[2] or "")
            except (ValueError, SyntaxError):
                found[flag[1]] = flag[2]
    return found


def environment_again(slot: str) -> dict[str, str]:
    """Return the variables that a trial in a slot of this name had whatever its machine says, and that its value hangs on."""
    return {"PYTHONHASHSEED": HASH_SEED, **(ONE_THREAD | NO_GPU if _CORE.fullmatch(slot) else {})}


def shell_script(job: Job, slot: str = "", value: float | None = None) -> str:
    """Return a shell script that trains this trial again in a folder of its files, "" where `python train.py` does.

    It says what `value` the trial had, where training it again gives another one.
    """
    is_plain = job.command == PLAIN and not job.links and not job.variables and not job.metric.file
    return "" if is_plain else _shell_script(job, slot, value)


def name_of_script(files: Collection[str]) -> str:
    """Return the name of that shell script beside these files of a workload."""
    return RUN_BESIDE if RUN in files else RUN


def plain_script(number: int, files: Mapping[str, str], slot: str = "", value: float | None = None) -> str:
    """Return the shell script of a trial of these files that `python train.py` trains again."""
    return _shell_script(Job(number, {}, files, PLAIN), slot, value)


def _shell_script(job: Job, slot: str, value: float | None) -> str:
    note = again_note(job.files)
    lines = [
        "#!/bin/sh",
        f"# trains trial {job.number} again: sh {RUN}",
        *([f"# {note}"] if note else []),
        "set -e",
        _HERE,
    ]
    for name, target in job.links.items():
        if (parent := str(Path(name).parent)) != ".":
            lines.append(f"mkdir -p {shlex.quote(parent)}")
        lines.append(f"[ -e {shlex.quote(name)} ] || ln -s {shlex.quote(target)} {shlex.quote(name)}")
    variables = {**environment_again(slot), **job.variables}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if any(PYTHON in word for word in job.command):
        lines.append(_OUR_PYTHON.format(python=shlex.quote(sys.executable), run=RUN))
    if note and value is not None:
        said = f"{RUN}: trial {job.number} had {value_text(value)}, but {note}"
        lines.append(f"echo {shlex.quote(said)} >&2")
    command = " ".join(map(_quoted, job.command))
    return "\n".join([*lines, *([command, _shows(job.metric.file)] if job.metric.file else [f"exec {command}"]), ""])


def _shows(file: str) -> str:
    """Return the command that shows the file with the result."""
    pattern = f"*/{file[3:]}" if file.startswith("**/") else f"./{file}"
    return f"find . -path {shlex.quote(pattern)} -exec cat {{}} +"


_HERE = 'cd "$(dirname -- "$0")"'
_OUR_PYTHON = """\
if [ -z "$PYTHON" ]; then
  PYTHON={python}  # trained it
  if [ ! -x "$PYTHON" ]; then
    echo "{run}: $PYTHON is not here: python3 is used. For another, begin with PYTHON=..." >&2
    PYTHON=python3
  fi
fi"""


def _quoted(word: str) -> str:
    """Return a word of a command for the shell; PYTHON in it is the shell's variable of that name."""
    return '"$PYTHON"'.join(shlex.quote(part) if part else "" for part in word.split(PYTHON)) or "''"
