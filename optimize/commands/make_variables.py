"""Says which variables and targets of a call of `make` are misspelt; the Makefile runs it as a file, before anything is installed.

It needs nothing but an old Python. The Makefile's own text tells which ones there are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

NEAR = 0.75  # as FORM to FROM, but not TMPDIR to DIR
NEAR_TARGET = 0.6  # as dash to dashboard
ONLY_COMMANDS = (
    "init", "import", "migrate", "space", "backup", "restore", "copy", "propose", "wait", "importance", "noise",
    "mcp",
)  # fmt: skip
OTHERWISE = {
    **{name: f".venv/bin/optimize {name}" for name in ONLY_COMMANDS},
    **dict.fromkeys(("run", "train", "tune"), "make optimize"),
    "install": "make setup",
}
_ASSIGNED = re.compile(r"^([A-Za-z_]+) *[:?]?= ", re.MULTILINE)
_DEFAULTS = re.compile(r"^([A-Z_]+) *\?=", re.MULTILINE)
_READ = re.compile(r"\$\((?:call \w+,)?([A-Z][A-Z_]*)\b")
_TARGETS = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_-]+")
_OF_MAKE = re.compile(r"MAKE.*|PWD")


def misspelt(makefile: str, goals: str, given: Sequence[str]) -> list[str]:
    """Return a line for each variable that the Makefile does not read, and that resembles one which it does.

    Any other name passes: make hands it on in the environment, as in `make optimize CUDA_VISIBLE_DEVICES=1`.
    """
    assigned = {*_ASSIGNED.findall(makefile)}
    known = {*_READ.findall(makefile)} - assigned | {*_DEFAULTS.findall(makefile)}
    known = {name for name in known if not _OF_MAKE.fullmatch(name)}
    lines = []
    for name in given:
        near = get_close_matches(name.upper(), sorted(known), n=1, cutoff=NEAR)
        if near and name not in known | assigned and not name.startswith("PYTHON"):  # which Python itself reads
            lines.append(f"make {goals}: did you mean {near[0]}? There is no variable {name} here")
    return lines


def no_targets(makefile: str, goals: Sequence[str]) -> list[str]:
    """Return a line for each word that is no target for users. Files are goals, too."""
    targets, lines = _TARGETS.findall(makefile), []
    for goal in goals:
        near = [f"make {name}" for name in get_close_matches(goal.lower(), targets, n=1, cutoff=NEAR_TARGET)]
        meant = OTHERWISE.get(goal.lower(), near[0] if near else "")
        if goal not in targets and _WORD.fullmatch(goal) and (meant or not Path(goal).exists()):
            hint = f"did you mean {meant}? There" if meant else "there"
            lines.append(f"make {goal}: {hint} is no target {goal} here; make help lists them")
    return lines


if __name__ == "__main__":
    text, goals = Path("Makefile").read_text("utf-8"), sys.argv[1]
    sys.stdout.write(". ".join([*no_targets(text, goals.split()), *misspelt(text, goals, sys.argv[2:])]))
