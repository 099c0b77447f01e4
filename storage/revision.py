"""Compares the revision of a database's tables, and the installed Optuna's, with the one that this release is tested with.

Tables of a newer Optuna can be read: columns are added more often than they are renamed. Nothing is written into them, since
nobody knows what a row needs there. Tables of an older one are for Optuna to upgrade.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import optuna

from storage.errors import StorageError
from storage.reader import QuickStorage
from storage.sql import REVISION, TESTED

INSTALL = f"`pip install 'optuna=={TESTED}'`"


@dataclass(frozen=True, slots=True)
class NewerTables:
    """Tables that this release only reads: the line for those who read, and the one for those who would write."""

    warning: str
    refusal: str


def check_revision(rdb: QuickStorage, where: str) -> NewerTables | None:
    """Return what to say of tables of a newer Optuna, None if they may be written.

    Raises StorageError, and closes the storage, if the tables are of an older Optuna.
    """
    revision = rdb.get_current_version()
    if revision == REVISION:
        return _of_a_newer_library(where)
    versions = rdb.get_all_versions()  # the newest first
    if revision in versions[versions.index(REVISION) + 1 :]:
        rdb.close()
        raise StorageError(
            f"{where}: its tables are of an older Optuna. Back it up, then: `optuna storage upgrade --storage URL`"
        )
    what = f"{where}: a newer Optuna made its tables (revision {revision}); this release is tested with Optuna {TESTED}"
    return NewerTables(
        f"{what}. They are read as far as they are known, and nothing is written",
        f"{what}, and writes no others. Use a newer release of this project, or: {INSTALL}, then take the studies into a "
        "new database (`optimize copy --to FILE.db`)",
    )


def refuse_untested_optuna(where: str) -> None:
    """Raise StorageError if the installed Optuna would make other tables than this release is tested with."""
    if newer := _of_a_newer_library(where):
        raise StorageError(newer.refusal)


def _of_a_newer_library(where: str) -> NewerTables | None:
    if _revision_of_library() == REVISION:
        return None
    what = f"{where}: Optuna {optuna.__version__} is installed, which has other tables; this release is tested with Optuna {TESTED}"
    return NewerTables(
        f"{what}. What is here is read, and nothing is written",
        f"{what}, and writes no others. Install that one: {INSTALL}",
    )


@functools.cache
def _revision_of_library() -> str:
    """Return the revision of the tables that the installed Optuna makes."""
    if optuna.__version__ == TESTED:
        return REVISION  # asking takes time: it loads all of Alembic's migrations
    storage = QuickStorage("sqlite://", skip_compatibility_check=True)
    try:
        return storage.get_head_version()
    finally:
        storage.close()
