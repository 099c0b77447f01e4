"""Tells which of our workloads, search spaces and profiles are as we shipped them, and what earlier versions of them said.

`released/` has a copy of every TOML file that we have shipped, named by a digest; `tests/test_released.py` keeps it whole.
Scripts are not among them, because a study keeps those that it runs. The digest of a workload is of its scripts as well: files of
anybody's database that have one of these digests are ours, to the letter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from optimize.config.settings import PROFILES, Settings, load_profile
from optimize.errors import WorkloadError
from optimize.script.load_workload import OURS, earlier_workload
from optimize.script.workload import Workload
from search_spaces import SearchSpace, load_space, parse_space

RELEASED = Path(__file__).parents[1] / "released"
WORKLOADS, SPACES, PROFILE_TABLES = "workloads", "search_spaces", "profiles"  # folders in it


def workload_digest(workload: Workload) -> str:
    """Return a digest of the scripts' whole text and of the commands; it is the same on every Python."""
    files = sorted((name, text.replace("\r\n", "\n")) for name, text in workload.files.items())
    return _digest((workload.command, workload.prepare_command, workload.overrides, files))


def profile_digest(profile: Settings) -> str:
    """Return a digest of what a profile says that makes values comparable: its constants and how data is prepared."""
    of_one = sorted((name, sorted(each.items())) for name, each in profile.constants_of.items())
    return _digest((sorted(profile.constants.items()), of_one, profile.prepare_args))


def is_our_workload(name: str, workload: Workload) -> bool:
    """Tell whether the workload is one of ours, by its name, and nobody has edited it."""
    return _is_released(WORKLOADS, name, workload_digest(workload))


def is_our_space(name: str) -> bool:
    """Tell whether the search space is one of ours, by its name, and nobody has edited it."""
    return _is_ours(name) and _is_released(SPACES, name, load_space(name).fingerprint())


def is_our_profile(name: str) -> bool:
    """Tell whether the profile is one of ours, by its name, and nobody has edited its constants."""
    return _is_ours(name) and _is_released(PROFILE_TABLES, name, profile_digest(_profile_of_today(name)))


def released_workloads(name: str, files: Mapping[str, str]) -> Iterator[Workload]:
    """Yield the version of our workload that has exactly these files, if there was one."""
    for path in _versions(WORKLOADS, name):
        with suppress(WorkloadError):  # it describes other files
            workload = earlier_workload(path, OURS / name, files)
            if workload_digest(workload) == path.stem:
                yield workload


def released_spaces(name: str) -> Iterator[SearchSpace]:
    """Yield every version of our search space."""
    for path in _versions(SPACES, name):
        yield parse_space(path.read_text("utf-8"), f"search_spaces/{name}.toml")


def released_profiles(settings: Settings) -> Iterator[Settings]:
    """Yield the settings with the constants, the limits and the data of every version of their profile."""
    for path in _versions(PROFILE_TABLES, settings.profile):
        said = load_profile(settings.profile, path)
        constants = {**said.constants, **said.constants_of.get(settings.workload, {})}
        mine = {"constants": constants, "prepare_args": said.prepare_args, "limits": said.limits}
        origins = {**settings.origins, **dict.fromkeys(mine, f"an earlier profile {settings.profile}")}
        yield replace(settings, **mine, origins=origins)  # type: ignore[arg-type]


def _is_ours(name: str) -> bool:
    return "/" not in name


def _is_released(kind: str, name: str, digest: str) -> bool:
    return _is_ours(name) and (RELEASED / kind / name / f"{digest}.toml").is_file()


def _versions(kind: str, name: str) -> list[Path]:
    return sorted((RELEASED / kind / name).glob("*.toml")) if _is_ours(name) else []


def _profile_of_today(name: str) -> Settings:
    return load_profile(name, PROFILES / f"{name}.toml")


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
