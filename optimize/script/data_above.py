"""Finds data above a script's folder: named by `../data`, or from its own path, as `Path(__file__).parent.parent / "data"`.

The text alone tells; nothing is run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from optimize.script.data_used import is_data, local_files
from optimize.script.files_written import normal, written_texts
from optimize.script.imported_names import imported_names
from optimize.script.source_names import read_names

# from a file's own path to the folder above its own, however often
_OWN_PATH = re.compile(r"__file__")
_PARENTS = re.compile(r"(?:\.parent\b)+")
_NUMBERED = re.compile(r"\.parents\[(\d+)\]")
_DIRNAMES = re.compile(r"(?:(?:os\.path\.|path\.)?dirname\(\s*)+")
_JOINED = re.compile(r"""["']\.\./?["']|\bpardir\b""")
# the shell goes to the script's own folder, and names the script by its whole path: `"$OLDPWD/$@"` is that and all other words
_IN_FOLDER = 'cd {folder} && exec "$0" "$OLDPWD/$@"'
# where it imports modules of the folder above as well
_WITH_MODULES = 'cd {folder} && PYTHONPATH="$OLDPWD${{PYTHONPATH:+:$PYTHONPATH}}" exec "$0" "$OLDPWD/$@"'


def in_folder(folder: str, command: Sequence[str], with_modules: bool) -> tuple[str, ...]:
    """Return the command that starts `python path/to/script.py ...` in a folder within that of a trial.

    `with_modules`: it finds modules of the trial's folder, too.
    """
    form = _WITH_MODULES if with_modules else _IN_FOLDER
    return ("sh", "-c", form.format(folder=shlex.quote(folder)), *command)


def folder_of(script: str) -> str:
    """Return the folder that a script lies in, "" for that of the workload."""
    parent = PurePosixPath(script).parent.as_posix()
    return "" if parent == "." else parent


def data_above(path: Path, words: Sequence[str] = ()) -> tuple[int, str]:
    """Return how many folders above that of a script data lies, and the text that names it; 0 and "" without such data."""
    found = [(0, "")]
    for text, source in _named(path, words):
        levels = _levels(text)
        if levels and is_data(path.parent, text):
            found.append((levels, text))
        steps = _steps(source) if not levels and text not in ("", ".", "..") else 0
        above = next((n for n in range(1, steps + 1) if is_data(path.parent, "../" * n + text)), 0)
        if above and not (path.parent / text).exists():
            found.append((above, "../" * above + text))
    return max(found)


def names_above(path: Path) -> bool:
    """Return whether a script names anything by `../`, from where it is started: there it has to be started in a trial, too."""
    named = [(text, source) for text, source in _named(path, ()) if not _OWN_PATH.search(source)]
    return any(_levels(text) and (path.parent / text).exists() for text, _ in named)


def reads_beside(path: Path, home: Path, words: Sequence[str] = ()) -> bool:
    """Return whether a script reads data of its own folder, by a name that would be another file's if it were started in `home`."""
    named = [text for text, source in _named(path, words) if not _OWN_PATH.search(source) and text not in ("", ".")]
    return any(is_data(path.parent, text) and not (home / text).exists() for text in named)


def _named(path: Path, words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the texts of a script, of the files beside it that it takes names from, and of its command, with their source."""
    imported_names(path.read_text(encoding="utf-8-sig"), str(path))
    files = local_files(path.parent, path.name).files
    given = [(word.partition("=")[2] if word.startswith("-") else word, "") for word in words]
    named = [*given, *((text, source) for file, source in files.items() for text in read_names(source, file).texts)]
    written = written_texts(files, words)
    return [(text, source) for text, source in named if normal(text) not in written]


def _levels(text: str) -> int:
    """Return with how many `..` a path begins."""
    return len(list(takewhile("..".__eq__, PurePosixPath(text).parts)))


def _steps(source: str) -> int:
    """Return how many folders above its own a file reaches from its own path, or joins to where it is started, at most."""
    joined = [1] if _JOINED.search(source) else []
    if not _OWN_PATH.search(source):
        return max(joined, default=0)
    chains = [len(re.findall("parent", each[0])) - 1 for each in _PARENTS.finditer(source)]
    nested = [len(re.findall("dirname", each[0])) - 1 for each in _DIRNAMES.finditer(source)]
    return max([*chains, *nested, *joined, *(int(each[1]) for each in _NUMBERED.finditer(source))], default=0)
