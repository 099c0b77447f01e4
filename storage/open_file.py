"""Notices that the SQLite file at a path is no longer the one that was opened: removed, replaced, overwritten, emptied or cut
short.

SQLite itself goes on in a file that has lost its name, and says nothing. What is written there is gone when it closes.
"""

from __future__ import annotations

import os
from pathlib import Path

from storage.driver_errors import RESTORE
from storage.errors import DatabaseLostError, StorageError
from storage.paths import ARTIFACTS, DATABASE
from storage.sqlite import MAGIC, check_pages
from storage.wal import refuse_strange_wal

_BESIDE = ("-wal", "-shm")  # they last as long as a connection does; a -journal comes and goes
_BACK = "Nothing was written since. Put it back, or a backup (`optimize restore BACKUP --runs NEW`), and start again"
_FILES = "Files of finished trials are in artifacts/ beside it, those of running ones in work/ of their study"
_NO_FILES = "The files of its trials are gone too: without a backup, or the folder if it was only moved, all is lost"
_Identity = tuple[int, int]  # device and inode


class OpenFile:
    """The file that was opened at a path, and what lies beside it.

    `check` costs three calls of `stat`. After a checkpoint, some 4 MB of writing, `read_pages` makes it compare every
    index once as well: 0.3 to 0.6 s for 30 MB. `quick_check` takes a tenth of that, but calls a file sound that an older
    copy was written over.
    """

    def __init__(self, path: Path) -> None:
        self._shown, self._path = path, path.absolute()  # the program may change its folder
        found = path.stat()
        self._file, self._size, self._changed = _identity(found), found.st_size, found.st_mtime_ns
        self._beside: dict[str, _Identity] = {}

    def check(self, read_pages: bool = True) -> None:
        """Raise DatabaseLostError if the file is not what was opened, StorageError if it is damaged.

        Inside a transaction `read_pages` is False: who waits for its lock does not wait for all pages too.
        """
        try:
            self._check(read_pages)
        except OSError:  # nothing is known of it: SQLite will say what it cannot do
            return

    def _check(self, read_pages: bool) -> None:
        found = _found(self._path)
        if found is None:
            raise self._lost("was removed or moved while it was in use")
        if _identity(found) != self._file:
            raise self._lost("was replaced by another file while it was in use")
        if found.st_size < len(MAGIC):
            raise self._lost("was emptied while it was in use")
        self._check_length(found.st_size)
        if read_pages:
            self._check_content(found.st_mtime_ns)
        for end in _BESIDE:
            self._check_beside(end)

    def _check_length(self, size: int) -> None:
        """A file that was made smaller may have been tidied (VACUUM), or cut."""
        smaller, self._size = size < self._size, size
        if smaller and (problems := check_pages(self._path, "quick_check")):
            self._size = size + 1  # it stays damaged: tell it again
            raise StorageError(f"{self._shown}: damaged ({problems[0]}). {RESTORE}")

    def _check_content(self, changed: int) -> None:
        """Under WAL only a checkpoint changes the file, after some 4 MB of writing; a file that is copied over it does too."""
        before, self._changed = self._changed, changed
        if before != changed and "-wal" in self._beside:
            try:
                refuse_strange_wal(self._path)
            except StorageError:
                self._changed = -1  # it stays mixed: tell it again
                raise

    def _check_beside(self, end: str) -> None:
        found, known = _found(self._path.with_name(self._path.name + end)), self._beside.get(end)
        if known is None and found is not None:
            self._beside[end] = _identity(found)
        elif known is not None and (found is None or _identity(found) != known):
            raise DatabaseLostError(
                f"{self._shown}{end}: was removed or replaced while its database was in use. It is a part of the database, "
                "so nothing was written since. Leave it alone, and start again"
            )

    def _lost(self, what: str) -> DatabaseLostError:
        folder = self._path.parent
        has_files, may_have = (folder / ARTIFACTS).exists(), self._path.name == DATABASE or not folder.exists()
        files = _FILES if has_files else _NO_FILES if may_have else ""
        return DatabaseLostError(". ".join(filter(None, (f"{self._shown}: {what}", _BACK, files))))


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
