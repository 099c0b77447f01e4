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
DATABASE, ARTIFACTS, MLFLOW = "optuna.db", "artifacts", "mlflow.db"
_REPLICATES = "confirm"  # a child study: replicates of the winners, in a folder of its own inside the study's
_TAKEN = (  # beside the study folders
    ARTIFACTS, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", MLFLOW, "mlflow-artifacts",
)  # fmt: skip


def replicates_of(study: str) -> str:
    """Return the name of the child study that holds the replicates of a study's winners."""
    return f"{study}/{_REPLICATES}"


def parent_of(study: str) -> str:
    """Return the study that a child belongs to; "" for a study of its own, such as another program's with a slash in
    its name.
    """
    name, _, child = study.partition("/")
    return name if child == _REPLICATES else ""


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
class RunsPaths:
    """The names that all studies of one runs folder share: `root/optuna.db`, `root/artifacts`."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / DATABASE  # all studies in one, so that one dashboard shows them all

    @property
    def artifacts(self) -> Path:
        return self.root / ARTIFACTS

    @property
    def mlflow(self) -> Path:
        return self.root / MLFLOW  # MLflow's own database, for all studies


@dataclass(frozen=True, slots=True)
class StudyPaths(RunsPaths):
    """The names under one runs folder that a study has: `root/<study>/...`, and what all studies share.

    Raises StorageError for what is no name of a study.
    """

    study: str

    def __post_init__(self) -> None:
        name, _, child = self.study.partition("/")
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN or ("/" in self.study and child != _REPLICATES):
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
        return [] if "/" in self.study else [replicates_of(self.study)]

    @property
    def lock(self) -> Path:
        return self.folder / "driver.lock"

    @property
    def driver_log(self) -> Path:
        return self.folder / "driver.log"  # what a driver says that has no terminal

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"  # of a driver that has no terminal
