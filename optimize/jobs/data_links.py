"""Folders of data that a script finds in its work folder, as links to where they lie: read by it, and never changed by us.

Nothing is written, counted or removed through a link; what the script itself writes there is its own affair.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

LOOKED_AT = 10_000  # files and folders, of each link: a corpus in a million pieces is known by the first of them


def link_data(files: Path, links: Mapping[str, str]) -> None:
    """Make the links, after all files are written. Raises OSError for a folder that is not on this machine."""
    if problem := missing(links):
        raise OSError(problem)
    for name, target in links.items():
        inner, path = PurePosixPath(name), files / name
        if inner.is_absolute() or ".." in inner.parts:
            raise ValueError(f"{name} would lie outside")
        if any((files / parent).is_symlink() for parent in inner.parents):
            raise ValueError(f"{name} would lie in the folder of another link")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target, target_is_directory=True)


def missing(links: Mapping[str, str]) -> str:
    """What is not there, in one line; empty if all is."""
    gone = [target for target in links.values() if not Path(target).is_dir()]
    return f"links: {', '.join(gone)}: no such folder on this machine. Put the data there" if gone else ""


def fingerprint(links: Mapping[str, str]) -> str:
    """Changes when a file of the data is added, removed or of another size; what is hidden does not count."""
    digest = hashlib.sha256()
    for name, target in sorted(links.items()):
        for path, size in filter(None, islice(_walk(target), LOOKED_AT)):
            digest.update(f"{name}\0{path}\0{size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _walk(folder: str) -> Iterator[tuple[str, int] | None]:
    """Path and size of every file, and None for every folder, in an order that is the same everywhere.

    A linked folder counts like a copy of it, wherever it lies, but each folder once: links may lead in circles.
    """
    seen = set()
    for at, folders, names in os.walk(folder, followlinks=True):
        yield None
        found = _identity(at)
        if found is None or found in seen:
            folders.clear()
            continue
        seen.add(found)
        folders[:] = sorted(name for name in folders if not _is_aside(name))
        for name in sorted(name for name in names if not _is_aside(name)):
            path = os.path.join(at, name)  # noqa: PTH118
            try:
                yield os.path.relpath(path, folder), os.stat(path).st_size  # noqa: PTH116
            except OSError:  # a link to nowhere, or gone meanwhile
                continue


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)  # noqa: PTH116
    except OSError:  # gone meanwhile
        return None
    return found.st_dev, found.st_ino


def _is_aside(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"
