"""Finds the workload and the search space that a study was begun with, so that it goes on where the folder offers others.

It only reads. What a call names itself is not looked at.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from optimize.config.settings import FOUND, Settings, is_named
from optimize.script.load_workload import ours
from optimize.study.comparable import ABOUT
from search_spaces import shipped_spaces
from storage import StorageError, StudyPaths, is_there, open_database


def begun_with(settings: Settings, moves: str = "") -> dict[str, str]:
    """Return workload and search space of the study, by their names in Settings, where the folder offers others.

    `moves` is a study that gets another search space under another name. Names of ours are returned, since a study of an earlier
    version knew of no other place to take them from, and a file of choices of the user's own, if it is still there.
    """
    names = {"workload": ours()} if moves else {"workload": ours(), "search_space": shipped_spaces()}
    found = [name for name in names if settings.origins[name].endswith(FOUND)]
    about = _about(replace(settings, study=moves or settings.study)) if found else {}
    own = {name: str(about[name]) for name in found if about.get(name) in names[name]}
    file = str(about.get("search_space", ""))
    if "search_space" in found and "/" in file and not _is_same(file, settings.search_space) and _full(file).is_file():
        own["search_space"] = file
    return own


def _is_same(file: str, other: str) -> bool:
    return "/" in other and _full(file) == _full(other)


def _full(file: str) -> Path:
    return Path(file).expanduser().resolve()


def script_elsewhere(settings: Settings) -> str:
    """Return a line if the study trains a script of its user's own, and this call found none: "" if all is well."""
    if settings.workload not in ours() or is_named(settings, "workload") or "/" in settings.profile:
        return ""
    trained = str(_about(settings).get("workload", ""))
    if not trained or trained in ours():
        return ""
    return (
        f"study {settings.study}: trains the script in {trained}, and the folder where you stand has none. Go to its folder, "
        "or name it: --workload DIR"
    )


def _about(settings: Settings) -> dict[str, object]:
    """What the study tells of itself; {} if there is none, or it cannot be read: whoever opens it to go on says why."""
    try:
        where = settings.storage or StudyPaths(settings.runs, settings.study).database
        if not is_there(where):
            return {}
        with closing(open_database(where, create=False, check=False, read_only=True)) as database:
            study_id = database.find_study(settings.study)
            about = database.study_attrs(study_id).get(ABOUT) if study_id is not None else None
    except StorageError:
        return {}
    return about if isinstance(about, dict) else {}
