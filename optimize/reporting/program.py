"""How this process was started, as a shell understands it where the user stands: the program, Python, its tools, make.

It knows no flag. `hints.py` writes whole commands.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from optimize.config.environment import in_notebook, make_folder

_OURS = Path(__file__).parents[1] / "__main__.py"
_NAME = "optimize-train"  # in pyproject.toml
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"  # only a clone has it


def program(packages: Sequence[str] = ()) -> str:
    """Return what starts this program again from the current folder; under uvx with these packages beside it."""
    started = sys.argv[0]
    if by_uvx():
        beside = [word for package in packages for word in ("--with", package)]
        return shlex.join(["uvx", "--from", _source(), *beside, "optimize"])
    if Path(started).name == "optimize":
        return "optimize" if _is_on_path("optimize", started) else shlex.quote(started)
    if in_notebook() and _is_on_path("optimize", str(Path(sysconfig.get_path("scripts"), "optimize"))):
        return "optimize"  # a cell has started it, with the path of its own Python
    if _is_same(started, str(_OURS)):  # python -m optimize
        words = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        return shlex.join(words)
    return f"{python()} -m optimize"


def by_uvx() -> bool:
    """Tell whether uvx started this program, from an environment in its cache that no shell has on its PATH."""
    return Path(sys.prefix).parent.name.startswith(("archive-v", "environments-v"))


def installer() -> str:
    """Return what installs packages for this Python: its pip, or uv where it has none, as in an environment of `uv tool`."""
    if find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip install --python {shlex.quote(sys.executable)}"
    return f"{python()} -m pip install"


def python() -> str:
    """Return the Python of this process."""
    return _short(sys.executable)


def elsewhere_python() -> str:
    """Return the Python of this process for a command that is given in another folder."""
    word = python()
    return word if word == Path(sys.executable).name else shlex.quote(sys.executable)


def tool(name: str) -> str:
    """Return a program that a package has installed beside this Python, or only its name if it is not there."""
    path = Path(sys.executable).with_name(name)
    return _short(str(path)) if path.is_file() else name


def make() -> str:
    """Return `make` as the user called it, "" if this process was started in another way."""
    folder = make_folder()
    if folder is None:
        return ""
    return "make" if _is_same(folder, ".") else f"make -C {shlex.quote(str(Path.cwd()))}"


def in_shell(command: str) -> str:
    """Return a command as it can be pasted: in a notebook's cell, and from where make was called."""
    folder = make_folder()
    if folder is not None and not command.startswith("make ") and not _is_same(folder, "."):
        command = f"cd {shlex.quote(str(Path.cwd()))} && {command}"
    return f"!{command}" if in_notebook() else command


def interrupt() -> str:
    """Return what a user does to end what runs here, at the beginning of a clause: `interrupt() + " ends it"`."""
    return "stopping this cell" if in_notebook() else "Ctrl-C"


def near(path: Path) -> str:
    """Return a path as a word of a shell, relative where it lies in the current folder."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def version_line() -> str:
    """Return this program's name and version, for a person."""
    from importlib.metadata import PackageNotFoundError, version  # as below

    try:
        return f"{_NAME} {version(_NAME)}"
    except PackageNotFoundError:
        return f"{_NAME}, not installed: run from {near(_OURS.parents[1])}"


def _source() -> str:
    """Return what this program was installed from: a file, a folder, a repository's address, or its name in an index."""
    import json  # what only uvx needs, and no other start waits for
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        told = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
        url, repository = str(told["url"]), told.get("vcs_info", {})
        path = unquote(urlsplit(url).path)
    except (PackageNotFoundError, ValueError, LookupError):
        return _NAME
    at = f"@{revision}" if (revision := repository.get("requested_revision")) else ""
    return f"{repository['vcs']}+{url}{at}" if repository else path if url.startswith("file:") else url


def _short(path: str) -> str:
    name = Path(path).name
    found = None if by_uvx() else shutil.which(name)  # it puts its own environment on the PATH
    return name if found is not None and Path(found).absolute() == Path(path).absolute() else near(Path(path))


def _is_on_path(name: str, started: str) -> bool:
    found = shutil.which(name)
    return found is not None and _is_same(found, started)


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
