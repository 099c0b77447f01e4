"""Knows where everything that a study leaves lies.

It makes nothing but the folders of a study and of a report, and reads nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.files import os_errors_at

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CHILDREN = ("confirm",)  # a child study: replicates of the winners, in a folder of its own inside the study's
_TAKEN = (  # beside the study folders
    "artifacts", "optuna.db", "optuna.db-wal", "optuna.db-shm", "optuna.db-journal", "mlflow.db", "mlflow-artifacts",
)  # fmt: skip


def parent_of(study: str) -> str:
    """Return the study that a child belongs to; "" for a study of its own, such as another program's with a slash in
    its name.
    """
    name, _, child = study.partition("/")
    return name if child in _CHILDREN else ""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The names of a report in a folder: `report.html` and `plots/<name>.png`."""

    folder: Path

    def create(self) -> None:
        """Make the folders. Raises StorageError where that cannot be."""
        plots = self.plot("any").parent
        with os_errors_at(plots):
            plots.mkdir(parents=True, exist_ok=True)

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    def plot(self, name: str) -> Path:
        return self.folder / "plots" / f"{name}.png"


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The names under one runs folder: `root/optuna.db`, `root/artifacts`, `root/<study>/...`.

    Raises StorageError for what is no name of a study.
    """

    root: Path
    study: str

    def __post_init__(self) -> None:
        name, _, child = self.study.partition("/")
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN or ("/" in self.study and child not in _CHILDREN):
            raise StorageError(
                f"study {self.study!r:.100}: not a name for a study. Use letters, digits, '.', '_' and '-', "
                f"starting with a letter or a digit, but not {', '.join(_TAKEN[:2])}"
            )

    @classmethod
    def of(cls, root: Path, name: str) -> StudyPaths:
        """Return the paths of a study that is in the database; where its name is no folder's, of a name made from it."""
        try:
            return cls(root, name)
        except StorageError:
            plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:60]
            return cls(root, f"{plain or 'study'}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}")

    def create(self) -> None:
        """Make the study's folder. Raises StorageError where that cannot be."""
        with os_errors_at(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")

    @property
    def database(self) -> Path:
        return self.root / "optuna.db"  # all studies in one, so that one dashboard shows them all

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow.db"  # MLflow's own database, for all studies

    @property
    def folder(self) -> Path:
        return self.root / self.study

    @property
    def work(self) -> Path:
        return self.folder / "work"  # one folder per running trial

    @property
    def results_tsv(self) -> Path:
        return self.folder / "results.tsv"

    @property
    def trials_csv(self) -> Path:
        return self.folder / "trials.csv"

    @property
    def trials_parquet(self) -> Path:
        return self.folder / "trials.parquet"  # of a bundle

    @property
    def best(self) -> Path:
        return self.folder / "best"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"  # a folder per trial

    @property
    def settings_json(self) -> Path:
        return self.folder / "settings.json"

    @property
    def report(self) -> ReportPaths:
        return ReportPaths(self.folder)

    @property
    def confirmation_json(self) -> Path:
        return self.folder / "confirmation.json"  # of a bundle

    @property
    def children(self) -> list[str]:
        """The names that child studies of this one would have."""
        return [] if "/" in self.study else [f"{self.study}/{child}" for child in _CHILDREN]

    @property
    def lock(self) -> Path:
        return self.folder / "driver.lock"
