"""Finds the file of a workload whose constant of a name wins, and values of constants: a file is read when its name is asked for.

A folder may have hundreds of Python files. One that does not hold a name's letters is not parsed for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from optimize.script.constants import Constant, bound_names, read_constants, why_not
from optimize.script.file_imports import writers_of
from optimize.script.trees import MANY_FILES
from optimize.trial import Value
from search_spaces import SearchSpaceError, parse_expression


@dataclass(frozen=True, slots=True)
class Owners:
    """The Python files of a workload with their texts, those whose constants win first."""

    files: tuple[tuple[str, str], ...]
    folder: Path
    overrides: str = ""  # the file whose constants win over those of the script

    def owner(self, name: str) -> tuple[str, Constant] | None:
        """Return the file whose constant of this name wins, and the constant."""
        return _owner(self, name)

    def where(self, file: str) -> str:
        """Return the file as messages name it."""
        return str(self.folder / file)

    def mentioning(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the files that hold the letters of a name, with their texts."""
        return ((file, text) for file, text in self.files if mentions(text, name))

    def binds(self, name: str) -> bool:
        """Return whether a file gives this name a value at module level, in whatever way."""
        return any(name in bound_names(text, self.where(file)) for file, text in self.mentioning(name))

    def values(self, read: Collection[str], named: Collection[str]) -> dict[str, Value]:
        """Return the values of all constants of the files in `read`, and of those that are `named`, as far as the text tells."""
        names = {
            name: None for file, text in self.files if file in read for name in read_constants(text, self.where(file))
        }
        found: dict[str, Value] = {}
        for name in (*names, *(each for each in named if each not in names)):
            if (owner := self.owner(name)) is not None:
                with suppress(SearchSpaceError):  # names or calls: unknown without running the script
                    found[name] = value_of_expression(owner[1].expression)
        return found

    def why_not(self, name: str) -> str:
        """Return the line that tells a user why `name` is no constant that can be written."""
        reasons = [why_not(text, name, self.where(file)) for file, text in (*self.mentioning(name), *self.files[:1])]
        none = f"{self.folder}: {name}: there is no Python file. Name those that a trial needs in `files`."
        return next((line for line in reasons if "has no such constant" not in line), reasons[0] if reasons else none)

    def written_elsewhere(self, name: str, owner: str) -> list[str]:
        """Return a line for each statement of another file that replaces the constant `name` of the file `owner`."""
        return [
            f"{self.where(file)}:{line}: {name}: replaces the constant of {owner} when the script runs. Remove that line."
            for file, line in writers_of(dict(self.mentioning(name)), owner, name)
        ]


def mentions(text: str, name: str) -> bool:
    """Return whether a text has this word, as Python reads letters: U+FB01 in a name is `fi`."""
    return name in (plain := plain_text(text)) and re.search(rf"\b{re.escape(name)}\b", plain) is not None


@lru_cache(maxsize=MANY_FILES)
def plain_text(text: str) -> str:
    """Return a text with its letters as Python reads them in names."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def value_of_expression(expression: str) -> Value:
    """Return the value of an expression that is arithmetic on literals. Raises SearchSpaceError for any other."""
    return parse_expression(expression).evaluate({})


@lru_cache(maxsize=4096)  # asked for the same names in every trial
def _owner(owners: Owners, name: str) -> tuple[str, Constant] | None:
    texts = dict(owners.files)
    for file, text in owners.mentioning(name):
        if (constant := read_constants(text, owners.where(file)).get(name)) is not None:
            overrides = owners.overrides
            if file != overrides and overrides in texts and mentions(texts[overrides], name):
                # what the overrides assign in another way wins as well, and cannot be written
                return None if name in bound_names(texts[overrides], owners.where(overrides)) else (file, constant)
            return file, constant
    return None


def files_by_constant(owners: Owners, names: Collection[str]) -> Mapping[str, tuple[str, Constant]]:
    """Return file and constant of each of these names that has one."""
    found = ((name, owners.owner(name)) for name in names)
    return {name: owner for name, owner in found if owner is not None}
