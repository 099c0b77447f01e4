"""Packs a folder into one zip that is there complete or not at all, and never in place of a file that was there.

What goes in is made in a hidden folder beside it. One that a kill has left is removed by the next call; one that
somebody works in is locked and stays. What is packed is not decided here.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from storage.errors import LeaseHeldError, StorageError
from storage.files import os_errors_at, sync_file, sync_folder
from storage.locks import FileLock

_LOCK = "lock"
_STORED = (".png", ".parquet", ".gz", ".zip")  # compressed already


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder in `parent` that goes when this is done; those of earlier calls of this `name` that died go first."""
    remove_scratch(parent, name)
    token = secrets.token_hex(4)
    folder, hidden = parent / f".{name}.{token}.tmp", parent / f".{name}.{token}"
    with os_errors_at(parent):
        hidden.mkdir()
    lock = FileLock.acquire(hidden / _LOCK)  # before it has the name by which others look for what is left
    try:
        with os_errors_at(parent):
            hidden.rename(folder)
            (folder / "files").mkdir()
        yield folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def remove_scratch(parent: Path, name: str) -> None:
    """Removes what killed calls have left."""
    for left in parent.iterdir() if parent.is_dir() else ():
        mine = left.name.startswith(f".{name}.") and left.name.endswith(".tmp") and left.is_dir()
        if mine and not _in_use(left):
            shutil.rmtree(left, ignore_errors=True)


def pack(folder: Path, to: Path) -> None:
    """`folder` as a zip at `to`, all of it under the folder's own name. StorageError if `to` exists; nothing changes."""
    new = folder.with_name(f"{folder.name}.zip")
    with os_errors_at(to):
        with zipfile.ZipFile(new, "w", compression=zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                kind = zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED
                archive.write(path, path.relative_to(folder.parent), compress_type=kind)
        sync_file(new)
        _publish(new, to)
        sync_folder(to.parent)


def refuse_existing(to: Path) -> None:
    if to.exists() or to.is_symlink():
        raise StorageError(f"{to}: exists already. Name another file, or move it away; nothing was written")


def _publish(new: Path, to: Path) -> None:
    try:
        to.hardlink_to(new)  # unlike a rename it replaces nothing, whoever was faster
    except FileExistsError:
        refuse_existing(to)
    except OSError:  # a file system without hard links
        refuse_existing(to)
        new.rename(to)


def _in_use(folder: Path) -> bool:
    try:
        FileLock.acquire(folder / _LOCK).release()
    except LeaseHeldError:
        return True
    except (StorageError, OSError):  # somebody else is just removing it
        return not folder.exists()
    return False
