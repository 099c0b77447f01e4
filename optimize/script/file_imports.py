"""Which files of a workload a script uses, and which of them write into another's constants.

The scripts' text alone tells. A file that is named in a command or in a text of a script counts as used: it may be run or
executed. Nothing is executed here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from optimize.script.bindings import attribute_writes, imported_modules, parse
from optimize.script.config_files import SUFFIXES
from optimize.script.files_read import module_parts
from optimize.script.trees import cached_by_text, walk


def files_used(files: Mapping[str, str], first: Iterable[str]) -> set[str]:
    """Return the Python files that `first` and what they import name, themselves included. Raises RenderError."""
    return set(_files_used(tuple(files.items()), tuple(file for file in first if file in files)))


@lru_cache(maxsize=8)
def _files_used(files: tuple[tuple[str, str], ...], first: tuple[str, ...]) -> frozenset[str]:
    texts, used, waiting = dict(files), set[str](), list(first)
    left = dict.fromkeys(texts)
    while waiting:
        file = waiting.pop()
        used.add(file)
        left.pop(file, None)
        if file.endswith(".py"):
            named = _named_by(texts[file], file, tuple(left))
            waiting += named
            for each in named:
                del left[each]
    return frozenset(used)


def is_named(file: str, text: str) -> bool:
    """Return whether a text, such as a command, has the name of this file, or of the module that it is."""
    path = PurePosixPath(file)
    return path.name in text or ".".join(path.with_suffix("").parts) in text


@lru_cache(maxsize=64)  # asked for in every trial
def named_in(text: str, files: tuple[str, ...]) -> list[str]:
    """Return those of the files that a text, such as a command, has the name of."""
    return [file for file in files if is_named(file, text)]


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
    written = re.compile(rf"\.\s*{re.escape(name)}\b|setattr")
    for file, text in files.items():
        if file.endswith(".py") and (written.search(text) or not text.isascii()):
            for module, attribute, line in attribute_writes(text, file):
                if attribute == name and is_module(module, file, owner):
                    yield file, line


def _named_by(text: str, file: str, others: Sequence[str]) -> list[str]:
    """Return the others that this text imports, or has the name of in a string."""
    modules, strings = imported_modules(text, file), _strings(text, file)
    parts = {module.rpartition(".")[2] for module in modules}
    found = []
    for other in others:
        own = module_parts(other)
        imported = not own or own[-1] in parts or ("" in parts and other.endswith("__init__.py"))
        if is_named(other, strings) or (imported and any(is_module(module, file, other) for module in modules)):
            found.append(other)
    return found


@cached_by_text
def _strings(text: str, file: str) -> str:
    nodes = (n.value for n in walk(parse(text, file)) if isinstance(n, ast.Constant))
    return "\n".join(value for value in nodes if isinstance(value, str))


def is_module(module: str, importer: str, file: str) -> bool:
    """Whether `module`, as the importer names it, may be that file. Folders above the files may be on the path as well."""
    parts = list(module_parts(file))
    wanted = module.lstrip(".")
    if level := len(module) - len(wanted):
        base = list(PurePosixPath(importer).parent.parts)
        base = base[: len(base) - (level - 1)]
        return parts == base + (wanted.split(".") if wanted else [])
    names = wanted.split(".")
    return parts[-len(names) :] == names
