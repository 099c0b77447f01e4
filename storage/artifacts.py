"""Keeps what a trial leaves (script, patch, log, curve) as files that the dashboard shows beside the trial.

Files are written first, then their metadata, so that metadata never names a file that is not there. A kill between the
two leaves a file without metadata, which `optimize check --repair` removes. Names and texts come from scripts: they are
data, and no file is named by them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mimetypes
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from storage.dashboard_notes import drop_links
from storage.database import Database
from storage.errors import StorageError
from storage.files import os_errors_at, sync_file, sync_folder
from storage.queries import delete_system_attrs, list_system_attrs
from storage.text import encodable, one_line

PREFIX = "artifacts:"  # Optuna's: upload_artifact and the dashboard keep metadata in system attributes under it
_TYPES = {
    ".py": "text/x-python",
    ".patch": "text/x-diff",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".csv": "text/csv",
}
_AT_ONCE = 8  # a trial's files, and their folder
_YOUNG_S = 3600.0  # a file without metadata may be just being saved
_USERS = ".{}.databases"  # beside the folder: a line for each database that names files in it


@dataclass(frozen=True, slots=True)
class Dangling:
    """Files that no metadata names, and (trial id, name) of metadata whose file is missing."""

    files: tuple[Path, ...]
    metadata: tuple[tuple[int, str], ...]

    def __bool__(self) -> bool:
        return bool(self.files or self.metadata)


class Artifacts:
    """The artifacts of all studies of one database, in one folder; `store` is Optuna's view of it, for the dashboard."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self._database = database
        self.store = FileSystemArtifactStore(folder)
        self._noted = False
        self._syncing = ThreadPoolExecutor(_AT_ONCE)

    def write(self, files: Mapping[str, str | bytes]) -> dict[str, str]:
        """Write the files to the disk and return their metadata, for `finish_trial(artifacts=...)`."""
        if not files:
            return {}
        self.note_user()
        ids = [str(uuid.uuid4()) for _ in files]
        try:
            with os_errors_at(self.folder):
                self._put({self.folder / each: content for each, content in zip(ids, files.values(), strict=True)})
        except BaseException:  # what fitted on a full disk is of no use, and would be left there by each attempt
            for each in ids:
                (self.folder / each).unlink(missing_ok=True)
            raise
        return {PREFIX + each: json.dumps(asdict(_meta(each, name))) for each, name in zip(ids, files, strict=True)}

    def names(self, trial_id: int) -> list[str]:
        """Return the names of a trial's artifacts, in the order of writing."""
        return [meta["filename"] for meta in self._metadata(trial_id)]

    def ids(self, trial_id: int) -> dict[str, str]:
        """Return the id of each artifact of a trial by its name; the id is the name of the file in the folder."""
        return {meta["filename"]: meta["artifact_id"] for meta in self._metadata(trial_id)}

    def read(self, trial_id: int, name: str) -> str:
        """Return the text of an artifact; bytes that are not UTF-8 become replacement characters.

        Raises StorageError if there is no such artifact, or its file is missing.
        """
        for meta in self._metadata(trial_id):
            if meta["filename"] == name:
                return self.text(meta["artifact_id"])
        raise StorageError(f"{self._database.where}: trial id {trial_id} has no artifact {name!r}")

    def text(self, artifact_id: str) -> str:
        """Return the text of the artifact with this id. Raises StorageError if its file is missing."""
        return self._content(artifact_id).decode("utf-8", errors="replace")

    def other_users(self) -> list[str]:
        """Return the other databases that keep files in this folder. While there are any, no file is removed."""
        return [user for user in self._users() if user != self._user]

    def dangling(self, now: float | None = None) -> Dangling:
        """Compare the folder with the metadata of all studies; no content is read. `now` is in seconds since 1970."""
        known = list(self._all_metadata())
        named = {artifact_id for _, _, artifact_id in known}
        there = {path.name: path for path in self._there() if path.is_file()}
        old = (time.time() if now is None else now) - _YOUNG_S
        files = [path for name, path in sorted(there.items()) if name not in named and path.stat().st_mtime < old]
        missing = [(owner, name) for owner, name, artifact_id in known if artifact_id not in there]
        return Dangling(() if self.other_users() else tuple(files), tuple(missing))

    def remove_orphans(self, dangling: Dangling) -> int:
        """Delete files that belong to no trial; returns how many. Metadata stays: finished trials are not changed."""
        with os_errors_at(self.folder):
            for path in dangling.files:
                path.unlink(missing_ok=True)
        return len(dangling.files)

    def forget_missing(self) -> int:
        """Remove metadata whose file is missing, and the links of notes to it; returns how many there were.

        This changes finished trials too, so it is for a copy that nobody has read yet.
        """
        there = {path.name for path in self._there()}
        attrs = list_system_attrs(self._database, PREFIX)
        lost = [each for each in attrs if _parse(each.value).get("artifact_id") not in there]
        delete_system_attrs(self._database, lost)
        self._database.write(lambda connection: drop_links(connection, there))
        return len(lost)

    def delete_study(self, name: str) -> None:
        """Remove a study with everything that its trials left; files that another study or database may name stay."""
        ids = [] if self.other_users() else self.ids_of_study(name)
        self._database.delete_study(name)
        shared = {
            artifact_id for _, _, artifact_id in self._all_metadata()
        }  # only now: a trial may just have been taken over
        for artifact_id in (each for each in ids if each not in shared):
            with contextlib.suppress(ArtifactNotFound, ValueError), os_errors_at(self.folder):
                self.store.remove(artifact_id)  # it refuses an id that would leave the folder

    @property
    def _user(self) -> str:
        """Return this database's name in the folder; a relative one for a file, which is moved with the folder."""
        path = self._database.path
        return self._database.where if path is None else os.path.relpath(path.resolve(), self.folder.resolve())

    @property
    def _note(self) -> Path:
        return self.folder.with_name(_USERS.format(self.folder.name))

    def _users(self) -> list[str]:
        path = self._note
        with os_errors_at(path):
            return path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []

    def note_user(self) -> None:
        """Write this database's name beside the folder, so that others remove no file from it."""
        self.create()
        if not self._noted and self._user not in self._users():
            with os_errors_at(self._note), self._note.open("a", encoding="utf-8") as file:
                file.write(f"{self._user}\n")
        self._noted = True

    def create(self) -> None:
        """Make the folder, for those who write into it: looking needs none. Raises StorageError where that cannot be."""
        with os_errors_at(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def ids_of_study(self, name: str) -> list[str]:
        """Return the ids of all artifacts of a study and of its trials; [] if there is no such study."""
        study_id = self._database.find_study(name)
        attrs = [] if study_id is None else list_system_attrs(self._database, PREFIX, study_id)
        return [meta["artifact_id"] for each in attrs if (meta := _parse(each.value))]

    def path_of(self, artifact_id: str) -> Path | None:
        """Return the path of an artifact; None for an id that would leave the folder, such as a stranger's."""
        inside = artifact_id not in ("", ".", "..") and not set(artifact_id) & set("/\\\0")
        return self.folder / artifact_id if inside else None

    def _there(self) -> list[Path]:
        with os_errors_at(self.folder):
            return list(self.folder.iterdir()) if self.folder.exists() else []

    def _put(self, files: Mapping[Path, str | bytes]) -> None:
        """Write all files, then sync them at once in threads: one wait for the disk instead of six."""
        for path, content in files.items():
            with path.open("xb") as file:
                file.write(encodable(content).encode("utf-8") if isinstance(content, str) else content)
        syncs = [functools.partial(sync_file, path) for path in files]
        list(self._syncing.map(lambda sync: sync(), [*syncs, functools.partial(sync_folder, self.folder)]))

    def _content(self, artifact_id: str) -> bytes:
        try:
            with self.store.open_reader(artifact_id) as file:  # it refuses an id that would leave the folder
                return file.read()
        except (ArtifactNotFound, ValueError, OSError):
            raise StorageError(f"{self.folder}: artifact {one_line(artifact_id)} is missing or unreadable") from None

    def _metadata(self, trial_id: int) -> list[dict[str, str]]:
        attrs = self._database.system_attrs(trial_id)
        return [meta for key, text in attrs.items() if key.startswith(PREFIX) and (meta := _parse(text))]

    def _all_metadata(self) -> Iterator[tuple[int, str, str]]:
        for each in list_system_attrs(self._database, PREFIX):
            if meta := _parse(each.value):
                yield each.owner_id, meta["filename"], meta["artifact_id"]


def _meta(artifact_id: str, name: str) -> ArtifactMeta:
    guess, encoding = mimetypes.guess_type(name)
    kind = _TYPES.get(PurePosixPath(name).suffix) or guess or "application/octet-stream"
    return ArtifactMeta(artifact_id=artifact_id, filename=one_line(name), mimetype=kind, encoding=encoding)


def _parse(text: object) -> dict[str, str]:
    """Return the metadata of an artifact; {} for anything else."""
    try:
        meta = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    wanted = ("artifact_id", "filename")
    whole = isinstance(meta, dict) and all(isinstance(meta.get(key), str) for key in wanted)
    return {key: meta[key] for key in wanted} if whole else {}
