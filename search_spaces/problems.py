"""Collects what is wrong with one search-space file, line by line, and shows its values in messages."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from difflib import get_close_matches


class SpaceProblems:
    """What is wrong with one file, collected line by line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Add a line."""
        self.lines.append(f"{self.path}: {where}: {what}")

    def unknown_keys(self, where: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
        """Add a line for each key that is not known."""
        for key in table:
            if key not in known:
                near = get_close_matches(key[:60], known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                self.add(f"{where}{show(key)}", f"unknown key. Known here: {', '.join(known)}.{hint}")


def show(value: object) -> str:
    """Return a value for a message, limited in length and depth."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 3
