"""Lets a `.venv` that was moved or copied with its clone find itself; the Makefile runs it as a file, with that `.venv`.

Programs in `bin/` and the editable installation name the folder in which they were made. Nothing is downloaded or installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_MADE_IN = re.compile(r"^\s*(?:export )?VIRTUAL_ENV=[\"']?(/[^\"'\n]*)", re.MULTILINE)


def mend(venv: Path) -> list[Path]:
    """Write this clone's path over the one in which its `.venv` was made; return the files that were changed."""
    here = venv.resolve()
    activate = here / "bin/activate"
    found = _MADE_IN.search(activate.read_text("utf-8")) if activate.is_file() else None
    if found is None or Path(found[1]) == here:
        return []
    venvs, clones = (found[1], str(here)), (str(Path(found[1]).parent), str(here.parent))
    changed = [path for path in _programs(here) if _replace(path, *venvs)]
    return changed + [path for path in _installation(here) if _replace(path, *clones)]


def _programs(venv: Path) -> Iterator[Path]:
    for path in sorted((venv / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            yield path


def _installation(venv: Path) -> Iterator[Path]:
    """Yield what says where the editable package lies."""
    for pattern in ("*.pth", "__editable__*.py", "*.dist-info/direct_url.json", "*.egg-link"):
        yield from sorted(venv.glob(f"lib/python*/site-packages/{pattern}"))


def _replace(path: Path, old: str, new: str) -> bool:
    """Replace a path, and what lies below it, where a text names it; a binary program stays as it is."""
    raw = path.read_bytes()
    text = re.sub(rb"(?<![\w.-])" + re.escape(old.encode()) + rb"(?![\w.-])", lambda _: new.encode(), raw)
    if b"\0" in raw or text == raw:
        return False
    path.write_bytes(_startable(text))
    return True


def _startable(text: bytes) -> bytes:
    """Return a program whose first line the system understands: with a blank in the path, as pip writes it."""
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"#!/") or b" " not in first or first.startswith((b"#!/bin/", b"#!/usr/")):
        return text
    return b"#!/bin/sh\n'''exec' \"" + first[2:] + b'" "$0" "$@"\n\' \'\'\'\n' + rest


if __name__ == "__main__":
    if mend(Path(sys.argv[1])):
        sys.stdout.write(f"setup: this clone was moved or copied; its {sys.argv[1]} is told where it is\n")
