"""Opens the study that a call goes on with, and finds what it was begun with, so that it goes on where the folder offers others.

It only reads. What a call names itself is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from optimize.config.settings import FOUND, Settings
from optimize.script.load_workload import ours
from optimize.study.comparable import ABOUT, FINGERPRINT
from optimize.study.stored import StoredStudy, find_study
from search_spaces import shipped_spaces
from storage import StorageError, StudyPaths, is_there, open_database


@contextmanager
def opened_to_go_on(settings: Settings, study: str) -> Iterator[StoredStudy | None]:
    """Open the study if there is one of ours. What is wrong with the database is told later, by who writes into it."""
    with ExitStack() as stack:
        yield _opened(settings, study, stack)


def _opened(settings: Settings, study: str, stack: ExitStack) -> StoredStudy | None:
    with suppress(StorageError):
        where = settings.storage or StudyPaths(settings.runs, settings.study).database
        if is_there(where):
            opened = open_database(where, create=False, check=False, read_only=True)
            database = stack.enter_context(closing(opened))
            study_id = database.find_study(study)
            if study_id is not None and isinstance(database.study_attrs(study_id).get(FINGERPRINT), dict):
                return find_study(database, study, settings.runs)
    return None


def told_of(stored: StoredStudy | None) -> Mapping[str, object]:
    """Return what the study tells people of itself; {} if there is none."""
    about = stored.database.study_attrs(stored.study_id).get(ABOUT) if stored is not None else None
    return about if isinstance(about, dict) else {}


def begun_with(settings: Settings, stored: StoredStudy | None, moves: bool = False) -> dict[str, str]:
    """Return workload and search space of the study, by their names in Settings, where the folder offers others.

    `moves`: it gets another search space under another name. Names of ours are returned, since a study of an earlier version
    knew of no other place to take them from, and a file of choices of the user's own, if it is still there.
    """
    names = {"workload": ours()} if moves else {"workload": ours(), "search_space": shipped_spaces()}
    found = [name for name in names if settings.origins[name].endswith(FOUND)]
    about = told_of(stored) if found else {}
    own = {name: str(about[name]) for name in found if about.get(name) in names[name]}
    file = str(about.get("search_space", ""))
    if "search_space" in found and "/" in file and not same_path(file, settings.search_space) and _full(file).is_file():
        own["search_space"] = file
    return own


def same_path(file: str, other: str) -> bool:
    """Tell whether both name one file, of which `other` may be a name of ours."""
    return "/" in other and _full(file) == _full(other)


def _full(file: str) -> Path:
    return Path(file).expanduser().resolve()
