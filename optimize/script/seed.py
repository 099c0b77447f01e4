"""Finds where a script's seed stands, if it is no constant SEED: wherever a parameter may stand.

workload.toml may name it (`seed = "--seed"`, `"conf.yaml:seed"`, `"Config.seed"`); else the usual names are looked for. What only
decides about the data, such as the seed of a split, is none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath

from optimize.errors import RenderError
from optimize.script.bindings import parse
from optimize.script.config_files import SUFFIXES, find_key
from optimize.script.config_overrides import pair_overrides
from optimize.script.file_scopes import Function, file_scopes
from optimize.script.parsers import known_flags
from optimize.script.places import Placement, Places
from optimize.script.seeding import OF_DATA
from optimize.script.settings_in_attributes import attributes_of_classes
from optimize.script.settings_in_functions import settings_in_functions
from optimize.script.settings_in_modules import entries_of_tables, fields_of_classes
from optimize.script.trees import assigned_values, walk
from search_spaces import Location, ScriptConstant

SEED = "seed"  # what a seed that is no constant is called among the parameters of a confirmation
FLAGS = (
    "--seed",
    "--random-seed",
    "--random_seed",
    "--manual-seed",
    "--manual_seed",
    "--random-state",
    "--random_state",
)
USUAL = ("random_seed", "random_state", "global_seed", "manual_seed")  # names of constants, before others that end so


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
    for candidates in (_grouped(files, command), _keys(files), _fields(files), _settings(files)):
        places = [place for each in candidates if (place := _usable(each, files, command))]
        if places:
            return places[0] if len(places) == 1 else None
    return None


_NAMES = re.compile(r"(?:\w*_)?seed|random_state|seed_value", re.IGNORECASE)
_SEEDED_BY = re.compile(r"seed|random|rng|generator|PRNGKey", re.IGNORECASE)
_MENTIONED = re.compile(r"seed|random_state", re.IGNORECASE)


def _settings(files: Mapping[str, str]) -> list[Location]:
    """Return where settings of the Python files have a seed's name; those of the best kind, see `_rank`."""
    found: list[tuple[int, Location]] = []
    for file, text in files.items():
        if file.endswith(".py") and _MENTIONED.search(text):
            with suppress(RenderError):
                found += [(_rank(each), Location(each.kind, each.place)) for each in _named_seeds(text, file)]
    first = min((rank for rank, _ in found), default=0)
    return list(dict.fromkeys(location for rank, location in found if rank == first))


def _named_seeds(text: str, file: str) -> Iterator[ScriptConstant]:
    one = {file: text}
    settings = [
        *fields_of_classes(one, file),
        *attributes_of_classes(one, file),
        *entries_of_tables(text, file, ""),
        *settings_in_functions(one, file),
        *_defaults(text, file),
        *_in_blocks(text, file),
    ]
    for each in settings:
        if each.kind and _NAMES.fullmatch(each.place.rpartition(".")[2]) and not OF_DATA.search(_owner(each)):
            yield replace(each, place=f"{file}:{each.place}")


def _defaults(text: str, file: str) -> Iterator[ScriptConstant]:
    """Yield parameters of functions that have a default: `def set_seed(seed=42)`."""
    for known in file_scopes(text, file).definitions.values():
        for each in known:
            if isinstance(each.node, Function):
                given = each.node.args
                path = "".join(f"{getattr(scope, 'name', '')}." for scope in each.inside)
                positional = [*given.posonlyargs, *given.args]
                with_default = positional[len(positional) - len(given.defaults) :]
                with_default += [a for a, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
                named = [a.arg for a in with_default if _NAMES.fullmatch(a.arg) and _seeds_with(each.node, a.arg)]
                yield from (ScriptConstant(name, None, kind="local", place=f"{path}{name}") for name in named)


def _seeds_with(function: Function, name: str) -> bool:
    """Tell whether a function hands this parameter to what seeds: `torch.manual_seed(seed)`, `SVC(random_state=seed)`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            given = [*node.args, *(each.value for each in node.keywords)]
            takes = any(isinstance(part, ast.Name) and part.id == name for each in given for part in ast.walk(each))
            named = any(each.arg and _MENTIONED.search(each.arg) for each in node.keywords)
            if takes and (named or _SEEDED_BY.search(ast.unparse(node.func))):
                return True
    return False


def _in_blocks(text: str, file: str) -> Iterator[ScriptConstant]:
    """Yield variables that stand in blocks of the module, as in that of __main__; constants of the module stand at its top."""
    for node, scopes in file_scopes(text, file).nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and not scopes:
            yield from (ScriptConstant(name, None, kind="local", place=name) for name, _ in assigned_values(node))


def seed_constant(texts: Mapping[str, str], names: Collection[str]) -> str:
    """Return which of a script's constants is its seed, by its name and by what it is used for; "" if none is."""
    likely = [name for name in names if _NAMES.fullmatch(name)]
    likely.sort(key=lambda name: (name != "SEED", name != "seed", name.lower() not in USUAL, name))
    return next((name for name in likely if not _only_of_data(texts, name)), "")


def _only_of_data(texts: Mapping[str, str], name: str) -> bool:
    """Tell whether a constant is read, but by nothing that is not about data: `train_test_split(x, random_state=STATE)`."""
    read = of_data = 0
    for file, text in texts.items():
        for node in walk(parse(text, file)) if file.endswith(".py") and name in text else ():
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                read += 1
            elif isinstance(node, ast.Call) and OF_DATA.search(ast.unparse(node.func)):
                inside = (*node.args, *(each.value for each in node.keywords))
                of_data += sum(isinstance(each, ast.Name) and each.id == name for each in inside)
    return bool(read) and read == of_data


def _owner(setting: ScriptConstant) -> str:
    return setting.place.rpartition(":")[2].rpartition(".")[0]


def _rank(setting: ScriptConstant) -> int:
    """Return 0 for what certainly is the seed of all: a setting of that very name, or the default of what sets seeds."""
    name = setting.place.rpartition(":")[2].rpartition(".")[2].lower()
    sets_seeds = "seed" in _owner(setting).lower()
    return 0 if sets_seeds else 1 if name == "seed" else 2


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
