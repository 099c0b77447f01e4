"""Which files of a workload a script uses, and which of them write into another's constants.

The scripts' text alone tells. A file that is named in a command or in a text of a script counts as used: it may be run or
executed. Nothing is executed here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from optimize.script.bindings import attribute_writes, imported_modules, parse
from optimize.script.config_files import SUFFIXES
from optimize.script.newer_syntax import MANY_FILES


def files_used(files: Mapping[str, str], first: Iterable[str]) -> set[str]:
    """Return the Python files that `first` and what they import name, themselves included. Raises RenderError."""
    used: set[str] = set()
    waiting = [file for file in first if file in files]
    while waiting:
        file = waiting.pop()
        if file in used:
            continue
        used.add(file)
        if file.endswith(".py"):
            waiting += [each for each in files if each not in used and _names(files[file], file, each)]
    return used


def is_named(file: str, text: str) -> bool:
    """Return whether a text, such as a command, has the name of this file, or of the module that it is."""
    path = PurePosixPath(file)
    return path.name in text or ".".join(path.with_suffix("").parts) in text


def names_config(files: Mapping[str, str], command: Iterable[str], file: str) -> bool:
    """Return whether a script or a command names this config file, without its suffix too, or the folder that it is in."""
    path = PurePosixPath(file)
    words = [*command, *(text for name, text in files.items() if name.endswith(".py"))]
    names = (path.name, path.stem, *path.parent.parts)
    return path.suffix in SUFFIXES and any(
        re.search(rf"\b{re.escape(name)}\b", word) for name in names for word in words
    )


def writers_of(files: Mapping[str, str], owner: str, name: str) -> Iterator[tuple[str, int]]:
    """Yield file and line of each write into the constant `name` of the file `owner` by another file, as `conf.NAME = ...`."""
    for file, text in files.items():
        if file.endswith(".py"):
            for module, attribute, line in attribute_writes(text, file):
                if attribute == name and is_module(module, file, owner):
                    yield file, line


def _names(text: str, file: str, other: str) -> bool:
    """Whether this text imports the other file, or has its name in a string."""
    if any(is_module(module, file, other) for module in imported_modules(text, file)):
        return True
    return is_named(other, _strings(text, file))


@lru_cache(maxsize=MANY_FILES)
def _strings(text: str, file: str) -> str:
    nodes = (n.value for n in ast.walk(parse(text, file)) if isinstance(n, ast.Constant))
    return "\n".join(value for value in nodes if isinstance(value, str))


def is_module(module: str, importer: str, file: str) -> bool:
    """Whether `module`, as the importer names it, may be that file. Folders above the files may be on the path as well."""
    parts = list(PurePosixPath(file).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    wanted = module.lstrip(".")
    if level := len(module) - len(wanted):
        base = list(PurePosixPath(importer).parent.parts)
        base = base[: len(base) - (level - 1)]
        return parts == base + (wanted.split(".") if wanted else [])
    names = wanted.split(".")
    return parts[-len(names) :] == names
