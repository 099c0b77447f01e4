"""Keeps a whole backup of a database and its artifacts in a folder that may be slow, vanish or be cut off.

The folder can be used as a runs folder (`optuna.db`, `artifacts/`), and is restored into one. The database of the
backup before stays beside it until the next one is whole. Nothing in the folder is opened for writing. When a backup is
due is not decided here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from storage import sql
from storage.artifacts import Artifacts
from storage.database import Database, open_database
from storage.errors import LeaseHeldError, StorageError, StorageFullError
from storage.files import beside, os_errors_at, sweep, sync_file, sync_folder
from storage.locks import FileLock
from storage.paths import ARTIFACTS, DATABASE, RunsPaths
from storage.read_only import left_beside
from storage.sqlite import check_pages
from storage.sqlite_copies import backup_lines_in, copy_foreign, copy_online, in_use

PREVIOUS = "optuna.previous.db"
_SETTLED_S = 60.0  # a younger file may still be being written
_TURN_S = 0.2
_FILES_AT_ONCE = 16  # of a distant disk: each waits for it
_OTHER = (
    "it holds a backup that this database does not come from. Restore that one into a new folder "
    "(`optimize restore BACKUP --runs NEW`), or name another folder; nothing was changed"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored. `lines` say which copies of the database were passed over, and why."""

    studies: Sequence[str]
    trials: int
    missing: int  # artifacts that a trial names and the backup lacks
    lines: Sequence[str]


class BackupFolder:
    """The folder for backups of one SQLite database, however many drivers write them.

    A database and its backup share a *line*: a list of random words, to which each restoring adds one. A new database
    has another line, so it never overwrites the backup that should have been restored. Neither does a machine that was
    thought dead overwrite its successor's.
    """

    def __init__(self, folder: Path, database: Database, artifacts: Path) -> None:
        """Make the folder.

        Raises StorageError if it cannot be made, if it holds another database's backup, or if the database is a
        server's.
        """
        if database.path is None:
            raise StorageError(f"{database.where}: a server's database is copied by its own tool. Use pg_dump")
        self.folder, self._database, self._path = folder, database, database.path
        self._copies = Copies(artifacts, folder / ARTIFACTS)
        begin_line(database)
        with os_errors_at(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._refuse_others()

    def write(self) -> None:
        """Write one more backup. Whatever dies when, the folder holds a whole one: this, or the one before."""
        with self._turn():
            here = self._path.with_name(f".{self._path.name}.backup")
            try:
                copy_online(self._path, here)
                mine = self._refuse_others()
                if backup_lines_in(here) != mine:
                    raise StorageError(f"{self._path}: replaced by another file. No backup was made")
                with os_errors_at(self.folder):
                    self._copies.make()  # before the database that names them
                    self._put(here)
            finally:
                here.unlink(missing_ok=True)

    def _put(self, here: Path) -> None:
        path = self.folder / DATABASE
        sweep(path)
        if in_use(path):
            raise StorageError(f"{path}: open in another program. Close that one; look at a backup after restoring it")
        new = beside(path)
        try:
            shutil.copyfile(here, new)
            sync_file(new)
            if path.exists():
                path.replace(self.folder / PREVIOUS)
            new.replace(path)
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _refuse_others(self) -> list[str]:
        """Return our line. Raises StorageError if the folder holds a backup of another line, or a damaged one."""
        mine = self._database.write(sql.backup_lines, kind="read")
        there = next((each for path in _databases(self.folder) if (each := backup_lines_in(path)) is not None), None)
        if there is None and any(_databases(self.folder)):
            raise StorageError(f"{self.folder}: the backup in it is damaged. Move it away, or name another folder")
        if there is not None and (not there or there[-1] not in mine):
            raise StorageError(f"{self.folder}: {_OTHER}")
        return mine

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other driver writes a backup: its copy must not come late and replace a newer one."""
        lock = None
        while lock is None:
            try:
                lock = FileLock.acquire(self._path.with_name(f".{self._path.name}.backup.lock"))
            except LeaseHeldError:
                time.sleep(_TURN_S)
        try:
            yield
        finally:
            lock.release()


class Copies:
    """Copies files of one folder into another; a file that is there in its right size is not copied again."""

    def __init__(self, source: Path, to: Path) -> None:
        self._source, self._to = source, to
        self._there: dict[str, int] | None = None  # sizes; a distant folder is listed once
        self._settled: set[str] = set()

    def make(self) -> None:
        """Copy what is new. Raises OSError if a folder does not allow it; the next call then looks at all files again."""
        if not self._source.is_dir():
            return
        there, self._there = self._there, None
        if there is None:
            self._to.mkdir(exist_ok=True)  # not its parents: where a disk was mounted, there may be an empty folder now
            there, self._settled = _sizes(self._to), set()
        with os.scandir(self._source) as entries:
            for entry in entries:
                if entry.name not in self._settled and _is_plain(entry):
                    self._copy(entry, there)
        self._there = there

    def _copy(self, entry: os.DirEntry[str], there: dict[str, int]) -> None:
        try:
            found = entry.stat()
            if there.get(entry.name) != found.st_size:
                there[entry.name] = _copy_whole(Path(entry.path), self._to / entry.name)
            elif time.time() - found.st_mtime > _SETTLED_S:
                self._settled.add(entry.name)
        except FileNotFoundError:
            if Path(entry.path).exists():
                raise  # else its study was deleted meanwhile


def begin_line(database: Database, anew: bool = False) -> None:
    """Give the database a line of backups if it has none; `anew` adds a word to the one it has."""
    if anew or not database.write(sql.backup_lines, kind="read"):
        database.write(lambda connection: sql.add_backup_line(connection, secrets.token_hex(16), anew), ours=True)


def restore_backup(folder: Path, runs: Path) -> Restored:
    """Make a new runs folder from the newest whole backup in `folder`.

    Raises StorageError, and writes nothing, if `runs` holds anything already.
    """
    with os_errors_at(folder):
        if not any(_databases(folder)):
            raise StorageError(
                f"{folder}: no backup here. Name the folder that was given to --backup, or to the command backup"
            )
    with os_errors_at(runs):
        runs = runs.resolve()
        if RunsPaths(runs).database.exists():
            raise StorageError(f"{runs}: holds studies already. Go on with them, or restore to another folder (--runs)")
        if runs.exists() and any(runs.iterdir()):
            raise StorageError(f"{runs}: not empty. Move what is in it away, or restore to another folder (--runs)")
        sweep(runs)
        new = beside(runs)
        try:
            new.mkdir(parents=True)
            lines = _bring_database(folder, RunsPaths(new).database)
            _bring_artifacts(folder / ARTIFACTS, RunsPaths(new).artifacts)
            restored = _begin_again(new, lines)
            sync_folder(new)
            new.rename(runs)
            sync_folder(runs.parent)
        except StorageFullError:  # of whichever file was just copied
            raise StorageFullError(
                f"{runs}: no space left. Free some, or restore to another disk (--runs); nothing was written"
            ) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return restored


def _bring_database(folder: Path, to: Path) -> list[str]:
    """Copy the newest database that is whole; returns a line about each that is not."""
    bad: list[str] = []
    for path in _databases(folder):
        with os_errors_at(path):
            _copy_whole(path, to)
            used = bool(left_beside(path))  # it was worked on since
        try:
            if used:
                to.unlink()
                copy_foreign(path, to)
            problems = check_pages(to, "integrity_check")
            if not problems:
                open_database(to, create=False, check=False, read_only=True).close()  # Optuna's
                return [f"{line}; the backup before it is taken" for line in bad]
        except StorageFullError:
            raise
        except StorageError as error:
            problems = [str(error).removeprefix(f"{to}: ")]
        bad.append(f"{path}: {problems[0].removesuffix('.')}")
    raise StorageError(f"{folder}: no backup in it is whole ({'; '.join(bad)}). Look for another")


def _bring_artifacts(source: Path, to: Path) -> None:
    to.mkdir()
    if not source.is_dir():
        return
    with os.scandir(source) as entries, ThreadPoolExecutor(_FILES_AT_ONCE) as together:
        paths = [Path(entry.path) for entry in entries if _is_plain(entry)]
        list(together.map(lambda path: _copy_whole(path, to / path.name), paths))
    sync_folder(to)


def _begin_again(runs: Path, lines: Sequence[str]) -> Restored:
    """Forget the drivers of what was just restored, and add a word to its line."""
    paths = RunsPaths(runs)
    with closing(open_database(paths.database, create=False, check=False, read_only=True)) as database:
        begin_line(database, anew=True)
        database.write(sql.delete_leases, ours=True)
        names = database.study_names()
        ids = [found for name in names if (found := database.find_study(name)) is not None]
        trials = sum(sum(database.counts(study_id).values()) for study_id in ids)
        missing = len(Artifacts(paths.artifacts, database).dangling().metadata)
    return Restored(names, trials, missing, lines)


def _databases(folder: Path) -> Iterator[Path]:
    """Return the databases of a backup, the newest first."""
    return (folder / name for name in (DATABASE, PREVIOUS) if (folder / name).is_file())


def _sizes(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if _is_plain(entry)}


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)


def _copy_whole(path: Path, to: Path) -> int:
    """Copy a file, which gets its name only when it is whole; returns its size."""
    new = beside(to)
    try:
        shutil.copyfile(path, new)
        sync_file(new)
        new.replace(to)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return to.stat().st_size
