"""Finds the search space that a study keeps, where the file that it began with is no longer there.

A search space that lies in the file's place, or that a call names, is never passed over for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from optimize.config.settings import Settings, is_named
from optimize.study.begun import same_path, told_of
from optimize.study.comparable import ABOUT, SPACE_FILE
from optimize.study.stored import StoredStudy
from search_spaces import SearchSpace, SearchSpaceError, parse_space


def kept_space(attrs: Mapping[str, object]) -> SearchSpace | None:
    """Return the search space that a study with these attributes keeps, by the name of its file; None if it keeps none."""
    about, text = attrs.get(ABOUT), attrs.get(SPACE_FILE)
    if isinstance(about, Mapping) and isinstance(text, str):
        with suppress(SearchSpaceError):  # another program's may be anything
            return parse_space(text, str(about.get("search_space", "")))
    return None


def lost_space(settings: Settings, stored: StoredStudy) -> SearchSpace | None:
    """Return the search space that the study keeps, where this call would take its file and that has gone; else None."""
    file = str(told_of(stored).get("search_space", ""))
    if "/" not in file or Path(file).expanduser().exists():
        return None
    if "/" in settings.search_space and not same_path(file, settings.search_space):
        return None
    if is_named(settings, "search_space") and "/" not in settings.search_space:
        return None
    return kept_space(stored.database.study_attrs(stored.study_id))


def with_space_of(settings: Settings, stored: StoredStudy, space: SearchSpace) -> Settings:
    """Return the settings of a call that takes this search space from the study."""
    origins = {**settings.origins, "search_space": f"kept by study {stored.name}"}
    return replace(settings, search_space=space.path, origins=origins)
