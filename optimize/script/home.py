"""Finds the folder that a training script belongs to: its own, or one above that has what it loads or imports.

`src/train.py` may read `params.yaml` of the folder above, where people start it. Then a trial has to have that folder, too.
The text alone tells; nothing is run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from optimize.script.data_above import data_above, names_above, reads_beside
from optimize.script.imported_names import imported_names
from optimize.script.settings_in_files import config_files, hydra_app

MOST_MODULES = 60  # of packages that a script comes with
MOST_ABOVE = 3  # folders from a script's own to the one that it belongs to
_ROOT = (
    ".git",
    ".project-root",
    "pyproject.toml",
    "setup.py",
)  # marks of a repository's root: no folder above it counts
_SETS_PATH = re.compile(r"sys\.path|rootutils|addsitedir")


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of a script, what led to it, "" where that is the script's own, and how it is started there.

    `as_module`: by `python -m`; `inside`: in the script's own folder.
    """

    folder: Path
    reason: str = ""
    as_module: bool = False
    inside: bool = False


def home_of(path: Path, words: Sequence[str] = (), beyond: bool = False) -> Home:
    """Return the folder that a script belongs to; `words` are those of its command. Raises RenderError if it is not Python.

    `beyond`: data may lie above the root of a repository, too.
    """
    text, here = path.read_text(encoding="utf-8-sig"), path.parent
    if (app := hydra_app({path.name: text})) and ".." in PurePosixPath(app.folder).parts:
        for above in _above(here):
            if _is_in(here / app.folder, above):
                return Home(above, f"its configuration is in {app.folder}", _needs_root(path, text, above))
    level = max((len(each) - len(each.lstrip(".")) for each in _modules(text, path)), default=0)
    if level:
        return _of_package(here, level)
    configs = config_files({path.name: text}, here, words)
    for above in _above(here):
        if not configs and (found := config_files({path.name: text}, above, words)):
            return Home(above, f"it reads {found[0]} of it", _needs_root(path, text, above))
        if _needs_root(path, text, above):
            return Home(above, "it imports modules of it", as_module=True, inside=reads_beside(path, above, words))
        if taken := [each for each in _taken_from(path, text, above) if _SETS_PATH.search(text)]:
            return Home(
                above, f"it imports {taken[0]} of it", inside=names_above(path) or reads_beside(path, above, words)
            )
    levels, named = data_above(path, words)
    top = next(islice(_above(here, beyond), levels - 1, None), None) if levels else None
    return Home(top, f"it reads {named}", inside=names_above(path)) if top else Home(here)


def module_of(script: str) -> str:
    """Return the module that a file is, as `python -m` names it."""
    return ".".join(PurePosixPath(script).with_suffix("").parts)


def _above(here: Path, beyond: bool = False) -> Iterator[Path]:
    """Yield the folders above one, the nearest first, as far as a repository's root, or `beyond` it."""
    folder = here
    for _ in range(MOST_ABOVE):
        whole = folder.resolve()
        is_root = not beyond and any((folder / mark).exists() for mark in _ROOT)
        if is_root or whole in (whole.parent, Path.home()):
            return
        folder = folder.parent if folder.name not in ("", "..") else folder / ".."
        if folder.resolve() in (folder.resolve().parent, Path.home()):
            return
        yield folder


def _needs_root(path: Path, text: str, above: Path) -> bool:
    """Return whether a script finds what it imports only as a module of a folder above, which nobody installs."""
    named = path.resolve().relative_to(above.resolve()).with_suffix("").parts
    taken = _taken_from(path, text, above)
    if not taken or _SETS_PATH.search(text) or not all(part.isidentifier() for part in named):
        return False
    return not _installs(above) or (_is_small(above, taken) and not _has_own(path, text))


def _is_small(above: Path, packages: Sequence[str]) -> bool:
    """Return whether packages are part of what is trained, rather than a library for anything."""
    files = (file for each in packages for file in (above / each).rglob("*.py"))
    return len(list(islice(files, MOST_MODULES + 1))) <= MOST_MODULES


def _has_own(path: Path, text: str) -> bool:
    """Return whether a script takes anything from its own folder."""
    return any(_has_module(path.parent, each.split(".")[0]) for each in _modules(text, path))


def _taken_from(path: Path, text: str, above: Path) -> list[str]:
    names = {each.split(".")[0] for each in _modules(text, path)} - set(sys.stdlib_module_names)
    return sorted(each for each in names if not _has_module(path.parent, each) and _has_module(above, each))


def _modules(text: str, path: Path) -> list[str]:
    facts = imported_names(text, str(path))
    return [*(module for module, _, _ in facts.names), *(module for module, _ in facts.modules), *facts.stars]


def _has_module(folder: Path, name: str) -> bool:
    with suppress(OSError):
        inside = folder / name
        return (folder / f"{name}.py").is_file() or (inside.is_dir() and next(inside.glob("*.py"), None) is not None)
    return False


def _installs(folder: Path) -> bool:
    """Return whether the packages of a folder are there to be installed, so that a script finds them from anywhere."""
    if (folder / "setup.py").is_file():
        return True
    with suppress(OSError, UnicodeDecodeError):
        return "[build-system]" in (folder / "pyproject.toml").read_text(encoding="utf-8")
    return False


def _of_package(here: Path, level: int) -> Home:
    """Return the folder of the package that a script with relative imports belongs to."""
    folder = here.resolve()
    for _ in range(level - 1):
        folder = folder.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    above = next((each for each in _above(here) if each.resolve() == folder), None)
    return Home(above, "it imports modules beside it by `from .`", as_module=True) if above else Home(here)


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
