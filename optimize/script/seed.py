"""Finds where a script's seed stands, if it is no constant SEED: a flag, a key of a config file, a field of a class.

workload.toml may name it (`seed = "--seed"`, `"conf.yaml:seed"`, `"Config.seed"`); else the usual names are looked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from optimize.errors import RenderError
from optimize.script.bindings import parse
from optimize.script.config_files import SUFFIXES, find_key
from optimize.script.config_overrides import pair_overrides
from optimize.script.parsers import known_flags
from optimize.script.places import Placement, Places
from search_spaces import Location

SEED = "seed"  # what a seed that is no constant is called among the parameters of a confirmation
FLAGS = ("--seed", "--random-seed", "--random_seed", "--manual-seed", "--manual_seed")


def place_of_seed(named: str, files: Mapping[str, str], command: tuple[str, ...]) -> Placement | None:
    """Return where the seed stands: as `seed` in workload.toml names it, else by its usual names; None if in no such place."""
    if not named:
        return find_seed(files, command)
    location = named_seed(named, files)
    return Placement(SEED, location) if location else None


def named_seed(text: str, files: Mapping[str, str]) -> Location | None:
    """Return the place that `seed` in workload.toml names, None if it is a constant of a module."""
    if text.startswith("-"):
        return Location("flag", text)
    file, _, path = text.rpartition(":")
    if file.endswith(SUFFIXES):
        return Location("key", text)
    if "." not in path:
        return None
    classes = {node.name for _, node in _classes(files)}
    return Location("field" if path.split(".")[0] in classes else "entry", text)


def find_seed(files: Mapping[str, str], command: tuple[str, ...]) -> Placement | None:
    """Return where the seed stands by its usual names, None if it stands nowhere, or in several places."""
    flags = [place for flag in FLAGS if (place := _usable(Location("flag", flag), files, command))]
    if flags:
        return flags[0]
    for candidates in (_grouped(files, command), _keys(files), _fields(files)):
        places = [place for each in candidates if (place := _usable(each, files, command))]
        if places:
            return places[0] if len(places) == 1 else None
    return None


def _grouped(files: Mapping[str, str], command: tuple[str, ...]) -> Iterator[Location]:
    """Yield the flags of a group's seed, such as --config.seed, and the entry of a yacs configuration."""
    yield from (Location("flag", flag) for flag in known_flags(files, command) if flag.endswith(".seed"))
    pairs = pair_overrides(files)
    entries = pairs.entries if pairs else {}
    yield from (Location("override", path) for path in entries if path.rpartition(".")[2].lower() == "seed")


def _usable(location: Location, files: Mapping[str, str], command: tuple[str, ...]) -> Placement | None:
    """The place, if it can be written and its value is a whole number from 0."""
    place = Placement(SEED, location)
    places = Places(files, command, {SEED: place}, files)
    with suppress(RenderError):
        value = None if places.problems(SEED) else places.default(SEED)
        return place if type(value) is int and value >= 0 else None
    return None


def _keys(files: Mapping[str, str]) -> Iterator[Location]:
    for file, text in files.items():
        if PurePosixPath(file).suffix in SUFFIXES:
            with suppress(RenderError):
                find_key(text, "seed", file)
                yield Location("key", f"{file}:seed")


def _fields(files: Mapping[str, str]) -> Iterator[Location]:
    for file, node in _classes(files):
        names = [
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        names += [
            t.id for each in node.body if isinstance(each, ast.Assign) for t in each.targets if isinstance(t, ast.Name)
        ]
        if "seed" in names:
            yield Location("field", f"{file}:{node.name}.seed")


def _classes(files: Mapping[str, str]) -> Iterator[tuple[str, ast.ClassDef]]:
    for file, text in files.items():
        if file.endswith(".py") and "seed" in text:
            yield from ((file, node) for node in parse(text, file).body if isinstance(node, ast.ClassDef))
