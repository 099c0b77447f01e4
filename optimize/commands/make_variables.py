"""Says which variables of a call of `make` are misspelt; the Makefile runs it as a file, before anything is installed.

It needs nothing but an old Python. It knows no variable: the Makefile's own text tells which ones there are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

NEAR = 0.75  # as FORM to FROM, but not TMPDIR to DIR
_ASSIGNED = re.compile(r"^([A-Za-z_]+) *[:?]?= ", re.MULTILINE)
_DEFAULTS = re.compile(r"^([A-Z_]+) *\?=", re.MULTILINE)
_READ = re.compile(r"\$\((?:call \w+,)?([A-Z][A-Z_]*)\b")
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


if __name__ == "__main__":
    sys.stdout.write(". ".join(misspelt(Path("Makefile").read_text("utf-8"), sys.argv[1], sys.argv[2:])))
