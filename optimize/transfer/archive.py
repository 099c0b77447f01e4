"""Packs a folder into one zip that is there complete or not at all, and never in place of a file that was there.

What goes in is made in a hidden folder beside it. One that a kill has left is removed by the next call; one that
somebody works in is locked and stays. What is packed is not decided here.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage import FileLock, LeaseHeldError, StorageError, StorageFullError, os_errors_at, sync_file, sync_folder

_LOCK = "lock"
_STORED = (".png", ".parquet", ".gz", ".zip")  # compressed already


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder in `parent` that goes when this is done; those of earlier calls of this `name` that died go first.

    A disk that is full, or refuses, meanwhile is one line about `parent`.
    """
    token = secrets.token_hex(4)
    folder, hidden = parent / f".{name}.{token}.tmp", parent / f".{name}.{token}"
    lock = None
    try:
        with os_errors_at(parent):
            remove_scratch(parent, name)
            hidden.mkdir()
            lock = FileLock.acquire(hidden / _LOCK)  # before it has the name by which others look for what is left
            hidden.rename(folder)
            (folder / "files").mkdir()
            yield folder / "files"
    except StorageFullError:  # of whichever file was just written
        raise StorageFullError(
            f"{parent}: no space left. Free some, or name another disk; nothing was written"
        ) from None
    finally:
        for each in (hidden, folder):
            shutil.rmtree(each, ignore_errors=True)
        if lock is not None:
            lock.release()


def remove_scratch(parent: Path, name: str) -> None:
    """Removes what killed calls have left."""
    for left in parent.iterdir() if parent.is_dir() else ():
        mine = left.name.startswith(f".{name}.") and left.name.endswith(".tmp") and left.is_dir()
        if mine and not _in_use(left):
            shutil.rmtree(left, ignore_errors=True)


def pack(folder: Path, names: Iterable[Path]) -> Path:
    """`folder` as a zip under the first of these names that is free, all of it under the folder's own name; returns where
    it is. StorageError if none is free; then nothing changes."""
    new = folder.with_name(f"{folder.name}.zip")
    with os_errors_at(new):
        with zipfile.ZipFile(new, "w", compression=zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                kind = zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED
                archive.write(path, path.relative_to(folder.parent), compress_type=kind)
        sync_file(new)
    to = new
    for to in names:
        with os_errors_at(to):
            if _publish(new, to):
                sync_folder(to.parent)
                return to
    raise _exists(to)


def refuse_existing(to: Path) -> None:
    with os_errors_at(to):
        if to.exists() or to.is_symlink():
            raise _exists(to)


def _exists(to: Path) -> StorageError:
    return StorageError(f"{to}: exists already. Name another, or move it away; nothing was written")


def _publish(new: Path, to: Path) -> bool:
    """False if `to` is there."""
    try:
        to.hardlink_to(new)  # unlike a rename it replaces nothing, whoever was faster
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if to.exists() or to.is_symlink():
            return False
        new.rename(to)
    return True


def _in_use(folder: Path) -> bool:
    try:
        FileLock.acquire(folder / _LOCK).release()
    except LeaseHeldError:
        return True
    except (StorageError, OSError):  # somebody else is just removing it
        return not folder.exists()
    return False
