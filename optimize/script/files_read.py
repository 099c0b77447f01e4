"""Finds the Python files that settings of a script can stand in: those from which it takes a name, directly or through others.

A package may import hundreds of modules of which a script needs three. So `from package import build` leads to the file that has
`build`, and to what that one imports; the other modules of the package run as well, but are not read. Nothing is executed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TypeAlias

from optimize.errors import RenderError
from optimize.script.imported_names import ImportedNames, imported_names

MOST_FILES = 200
MOST_CHARACTERS = 4_000_000
MOST_NAMED = 3_000  # files of which only the imports are looked at
Reader: TypeAlias = Callable[[str], str | None]
"""Returns the text of a file by its path inside the folder, None if there is none, or none that is Python."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]*import\b[ \t]*(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))", re.MULTILINE
)
_MAKES_NAMES = re.compile(r"__getattr__|globals\(\)|setattr\(|\bexec\(|import_module|__import__")
_ROOT = PurePosixPath(".")


@dataclass(slots=True)
class FilesRead:
    """The files by path, in the order in which they were found, and those that were too many to read."""

    files: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


@lru_cache(maxsize=8)
def _of_workload(files: tuple[tuple[str, str], ...], first: tuple[str, ...]) -> FilesRead:
    texts = {file: text for file, text in files if file.endswith(".py")}
    by_name: dict[str, list[str]] = {}
    for file in texts:
        by_name.setdefault("".join(module_parts(file)[-1:]), []).append(file)
    return read_by_name([file for file in first if file in texts], texts.get, by_name)


def files_read(files: Mapping[str, str], first: Iterable[str]) -> dict[str, str]:
    """Return those Python files among `files` in which settings of `first` can stand, these included. Raises RenderError."""
    return dict(_of_workload(tuple(files.items()), tuple(first)).files)


def module_parts(file: str) -> tuple[str, ...]:
    """Return the parts of the module's name that a file is: `a/b/__init__.py` is a.b."""
    parts = PurePosixPath(file).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def read_by_name(first: Iterable[str], read: Reader, by_name: Mapping[str, list[str]] | None = None) -> FilesRead:
    """Return `first` and the files that they take names from. `by_name`: files by the last part of their module's name."""
    search = _Search(read, by_name or {}, PurePosixPath(next(iter(first := list(first)), "")).parent)
    for file in first:
        search.want(file, None)
    return search.run()


class _Search:
    """Follows imports, each with the names that are taken: None stands for all of a file."""

    def __init__(self, read: Reader, by_name: Mapping[str, list[str]], home: PurePosixPath) -> None:
        self._read, self._by_name, self._home = read, by_name, home
        self._texts: dict[str, str | None] = {}
        self._targets: dict[tuple[str, str], list[str]] = {}  # by a module's name and the folder of who imports it
        self._wanted: dict[str, set[str] | None] = {}
        self._waiting: list[tuple[str, frozenset[str] | None]] = []
        self._found, self._characters = FilesRead(), 0

    def run(self) -> FilesRead:
        """Return what was found when nothing is left to follow."""
        while self._waiting:
            file, names = self._waiting.pop(0)
            facts = self._take(file)
            known = self._wanted.setdefault(file, set())
            if facts is None or known is None:
                continue
            new = frozenset() if names is None else names - known
            if names is None or new & facts.defined:
                self._wanted[file] = None
                self._follow(file, facts)
            else:
                known |= new
            self._pass_on(file, facts, new - facts.defined)
        return self._found

    def want(self, file: str, names: Iterable[str] | None) -> None:
        """Read a file for these names, later."""
        self._waiting.append((file, None if names is None else frozenset(names)))

    def _take(self, file: str) -> ImportedNames | None:
        """Add a file to those that are read. Return what it imports, None if it is not read."""
        text = self._text(file)
        if text is None or file in self._found.left:
            return None
        try:
            facts = imported_names(text, file)
        except RenderError:
            return None
        if file not in self._found.files:
            if len(self._found.files) >= MOST_FILES or self._characters + len(text) > MOST_CHARACTERS:
                self._found.left.append(file)
                return None
            self._found.files[file] = text
            self._characters += len(text)
        return facts

    def _follow(self, file: str, facts: ImportedNames) -> None:
        """Follow every import of a file."""
        for module, name, alias in facts.names:
            self._want_module(module, file, {name})
            self._want_module(_joined(module, name), file, facts.taken(alias), submodule=True)
        for module in facts.stars:
            self._want_module(module, file, facts.used)
        for module, alias in facts.modules:
            self._want_module(module, file, facts.taken(alias) if alias else None)
        for text in facts.run:
            if text.endswith(".py"):
                for base in (_ROOT, self._home):
                    self.want((base / text).as_posix(), None)
            else:
                self._want_module(text, file, None)

    def _pass_on(self, file: str, facts: ImportedNames, names: frozenset[str]) -> None:
        """Follow the imports by which a file passes these names on."""
        found: set[str] = set()
        for module, name, alias in facts.names:
            if alias in names:
                found.add(alias)
                self._want_module(module, file, {name})
                self._want_module(_joined(module, name), file, None, submodule=True)
        for module, alias in facts.modules:
            if alias in names:
                found.add(alias)
                self._want_module(module, file, None)
        rest = names - found
        for module in facts.stars if rest else ():
            for path in self.targets(module, file):
                text = self._text(path) or ""
                if "import *" in text or rest.intersection(re.findall(r"\w+", text)):
                    self.want(path, rest)
        if rest and _MAKES_NAMES.search(self._text(file) or ""):
            self.want(file, None)

    def _want_module(self, module: str, importer: str, names: Iterable[str] | None, submodule: bool = False) -> None:
        targets = self.targets(module, importer)
        for path in targets:
            self.want(path, names)
        if targets and not submodule:
            for package in _packages(module):
                for path in self.targets(package, importer):
                    self.want(path, ())

    def targets(self, module: str, importer: str) -> list[str]:
        """Return the files that a module may be, as the importer names it."""
        key = module, importer.rpartition("/")[0]
        if key not in self._targets:
            self._targets[key] = self._find(module, PurePosixPath(key[1]))
        return self._targets[key]

    def _find(self, module: str, folder: PurePosixPath) -> list[str]:
        plain = module.lstrip(".")
        level, parts = len(module) - len(plain), [part for part in plain.split(".") if part]
        for _ in range(level - 1):
            folder = folder.parent
        bases = [folder] if level else [self._home, _ROOT]
        if not level and parts and parts[0] not in sys.stdlib_module_names:
            bases.append(folder)  # where a script may have put its folder on the path
        for base in dict.fromkeys(bases):
            path = base.joinpath(*parts)
            files = ([path.with_name(f"{path.name}.py")] if parts else []) + [path / "__init__.py"]
            found = [each.as_posix() for each in files if self._text(each.as_posix()) is not None]
            if found:
                return found
        known = self._by_name.get(parts[-1], []) if parts and not level else []
        return [file for file in known if module_parts(file)[-len(parts) :] == tuple(parts)]

    def _text(self, file: str) -> str | None:
        if file not in self._texts:
            self._texts[file] = self._read(file)
        return self._texts[file]


def _joined(module: str, name: str) -> str:
    return f"{module}{name}" if module.endswith(".") else f"{module}.{name}"


def _packages(module: str) -> Iterator[str]:
    """Yield the packages on the way to a module: `a.b.c` -> a, a.b."""
    parts = module.lstrip(".").split(".")
    dots = module[: len(module) - len(module.lstrip("."))]
    yield from (dots + ".".join(parts[:count]) for count in range(1, len(parts)))


def files_imported(script: str, read: Reader) -> set[str]:
    """Return the script and every file that runs with it, by the words of their import statements alone."""
    search = _Search(read, {}, PurePosixPath(script).parent)
    found, waiting = {script}, [script]
    while waiting and len(found) < MOST_NAMED:
        file = waiting.pop()
        for module in dict.fromkeys(_modules_named(read(file) or "")):
            for each in (*_packages(module), module):
                new = [path for path in search.targets(each, file) if path not in found]
                found.update(new)
                waiting += new
    return found


def _modules_named(text: str) -> Iterator[str]:
    for base, names, modules in _IMPORT.findall(text):
        if base:
            yield base
            yield from (_joined(base, name) for name in re.findall(r"(\w+)(?:\s+as\s+\w+)?", names.strip("()")))
        yield from (part.split()[0] for part in modules.split(",") if part.strip())


def names_imported(text: str) -> set[str]:
    """Return the words of a file's import statements, `*` among them: each name that one may bring in is one of these."""
    found: set[str] = set()
    for base, names, modules in _IMPORT.findall(text):
        found.update(re.findall(r"\w+|\*", f"{base} {names} {modules}"))
    return found
