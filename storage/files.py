"""Writes whole files and whole folders so that a kill or a power cut leaves the old or the new one, never half.

It writes to a name beside, syncs, renames, and syncs the folder. What a kill leaves beside is hidden (`.name.*.tmp`)
and removed by the next write of the same name. Nothing is locked: two writers of one name end with one of the two
versions.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from storage.errors import StorageError, StorageFullError
from storage.text import encodable

PATH_SHOWN = 300  # characters: what there is to say of it comes after it
_LEFTOVER_AFTER_S = 60.0  # a file beside that is younger may belong to a writer that is alive


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path`; whoever reads it meanwhile sees the old or the new text. Raises StorageError."""
    write_bytes(path, encodable(text).encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at `path`, as `write_text` does."""
    with os_errors_at(path):
        sweep(path)
        new = beside(path)
        try:
            write_synced(new, data)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def replace_folder(path: Path, files: Mapping[str, str | bytes]) -> None:
    """Replace the folder at `path` by one that holds exactly `files` (relative name -> content). Raises StorageError.

    Linux exchanges the two folders in one step. Elsewhere, and where the file system cannot, there are two renames; a
    kill between them leaves the old folder as `.name.old`, which the next write (or `heal_folder`) puts back.
    """
    with os_errors_at(path):
        heal_folder(path)
        sweep(path)
        new = beside(path)
        try:
            _fill(new, files)
            _swap(new, path)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def heal_folder(path: Path) -> None:
    """Finish or undo a folder swap that was killed between its two renames."""
    old = _old(path)
    if old.exists() and not path.exists():
        old.rename(path)
    elif old.exists():
        shutil.rmtree(old, ignore_errors=True)


def beside(path: Path) -> Path:
    """Return a fresh hidden name next to `path`, on the same file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def write_synced(path: Path, data: bytes) -> None:
    """Create `path`, which must not exist, with its content on the disk; its name is durable after `sync_folder`."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a rename is safe against power loss only after this."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def os_errors_at(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into a StorageError of one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise os_failure(path, error) from error


def os_failure(path: Path, error: OSError) -> StorageError:
    """Return the StorageError for an error of the operating system at `path`."""
    where = str(path) if len(str(path)) <= PATH_SHOWN else f"{path!s:.{PATH_SHOWN}}..."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFullError(f"{where}: no space left. Free some and start again; what was finished is kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{where}: not writable. Change its permissions, or choose another folder")
    return StorageError(f"{where}: {error.strerror or error}. Check that the path is right and its disk is there")


def check_place(path: Path) -> None:
    """Raise StorageError if no file could be made at `path`, folders included; makes nothing."""
    with os_errors_at(path):
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def inner_name(name: str) -> PurePosixPath:
    """Return `name` as a path that stays inside its folder. Raises StorageError for any other."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise StorageError(f"{name!r}: not a file name inside a folder. Use a relative path without '..'")
    return path


def _fill(folder: Path, files: Mapping[str, str | bytes]) -> None:
    folder.mkdir()
    folders = {folder}
    for name, content in files.items():
        path = folder / inner_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, encodable(content).encode("utf-8") if isinstance(content, str) else content)
        folders.add(path.parent)
    for each in folders:
        sync_folder(each)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
    elif not path.is_dir():
        raise StorageError(f"{path}: a file stands where a folder belongs. Move it away")
    elif not _exchange(new, path):
        path.rename(_old(path))
        new.rename(path)
        shutil.rmtree(_old(path), ignore_errors=True)
    sync_folder(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, swap_names = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename(here, os.fsencode(one), here, os.fsencode(other), swap_names) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` have left beside it."""
    for leftover in path.parent.glob(f".{_literal(path.name)}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.lstat().st_mtime > _LEFTOVER_AFTER_S:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _literal(name: str) -> str:
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in name)
