"""Packs a folder into one zip file that appears complete or not at all, and never replaces a file.

Its content is made in a hidden folder beside it. The next call removes a folder that a killed call left; one in use is locked and
stays. The caller decides what goes in.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage import (
    FileLock,
    LeaseHeldError,
    StorageError,
    StorageFullError,
    os_errors_at,
    os_failure,
    sync_file,
    sync_folder,
)

_LOCK = "lock"
_STORED = (".png", ".parquet", ".gz", ".zip")  # compressed already


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make an empty folder in `parent`, and remove it at the end. First it removes those that killed calls of this `name` left.

    Raises StorageFullError on a full disk, StorageError where the folder cannot be written.
    """
    token = secrets.token_hex(4)
    folder, hidden = parent / f".{name}.{token}.tmp", parent / f".{name}.{token}"
    lock = None
    try:
        with _os_errors_outside(parent, name):
            remove_scratch(parent, name)
            hidden.mkdir()
            lock = FileLock.acquire(hidden / _LOCK)  # before it has the name that others search for
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


@contextlib.contextmanager
def _os_errors_outside(parent: Path, name: str) -> Iterator[None]:
    """Turn the system's errors into a StorageError that names their file, or the parent for one in a hidden folder."""
    try:
        yield
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else parent
        inside = where.is_relative_to(parent) and str(where.relative_to(parent)).startswith(f".{name}.")
        raise os_failure(parent if inside else where, error) from error


def remove_scratch(parent: Path, name: str) -> None:
    """Remove the folders that killed calls of this name left."""
    for left in parent.iterdir() if parent.is_dir() else ():
        mine = left.name.startswith(f".{name}.") and left.name.endswith(".tmp") and left.is_dir()
        if mine and not _in_use(left):
            shutil.rmtree(left, ignore_errors=True)


def pack(folder: Path, names: Iterable[Path]) -> Path:
    """Pack `folder` into a zip under the first free one of these names; return its path.

    Inside, all files lie under the folder's own name. Raises StorageError, and changes nothing, if no name is free.
    """
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
    """Raise StorageError if there is something at `to`."""
    with os_errors_at(to):
        if to.exists() or to.is_symlink():
            raise _exists(to)


def _exists(to: Path) -> StorageError:
    return StorageError(f"{to}: exists already. Name another, or move it away; nothing was written")


def _publish(new: Path, to: Path) -> bool:
    """Move the file to `to`; return False if something is there."""
    try:
        to.hardlink_to(new)  # unlike a rename, this never replaces a file
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
    except (StorageError, OSError):  # another process is removing it
        return not folder.exists()
    return False
