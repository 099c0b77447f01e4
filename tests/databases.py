"""Databases for tests, without the time that making one takes, and a trial to put into them."""

from __future__ import annotations

import functools
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from storage import Database, Stored, open_database

CHOICES: dict[str, list[Stored]] = {
    "DEPTH": [2, 3, 4],
    "MATRIX_LR": [0.01, 0.02, 1e-05],
    "WINDOW_PATTERN": ["L", "SSSL"],
    "ADAM_BETAS": ["(0.8, 0.95)", "(0.9, 0.95)"],
    "TIED": [True, False, None],
}
PARAMS: dict[str, Stored] = {
    "DEPTH": 3,
    "MATRIX_LR": 1e-05,
    "WINDOW_PATTERN": "SSSL",
    "ADAM_BETAS": "(0.9, 0.95)",
    "TIED": None,
}


def empty_database(folder: Path) -> Path:
    """A new database, made once and copied: Optuna takes a tenth of a second to make one."""
    path = folder / "optuna.db"
    path.write_bytes(_empty_bytes())
    return path


@functools.cache
def _empty_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optuna.db"
        open_database(path).close()
        return path.read_bytes()


def small_database(folder: Path) -> Path:
    """A sound database with one study and one trial."""
    path = empty_database(folder)
    with closing(open_database(path)) as database:
        database.finish_trial(new_trial(database, database.create_study("cpu", "minimize", "val_bpb")), "COMPLETE", 1.0)
    return path


def new_trial(database: Database, study_id: int, state: Any = "RUNNING", **attrs: Any) -> int:
    return database.create_trial(study_id, state=state, params=PARAMS, choices=CHOICES, attrs=attrs).trial_id
