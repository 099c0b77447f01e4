"""Finds the settings in the configuration files that a script loads: keys of YAML, JSON and TOML, and overrides of a Hydra app."""

from __future__ import annotations

import ast
import json
import math
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from optimize.runner.metric_files import matches
from optimize.script.files_written import normal, written_texts
from optimize.script.ini_files import INI_SUFFIXES, ini_values
from optimize.script.process_parameters import value_of
from optimize.script.result_files import result_files
from optimize.script.source_names import read_names
from optimize.text import read_bounded
from optimize.trial import Value
from search_spaces import ScriptConstant

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_READS_INI = re.compile(r"\bconfigparser\b", re.IGNORECASE)
MAX_BYTES = 200_000
TWICE = "keys that are in the file twice: leave one of each"
ALIASED = "repeated by an alias, so that other keys would change too"
LISTS = "lists, which are not varied"
CALLBACKS = "what watches a training, and does not change it"
INTERPOLATED = "interpolations, which follow from other keys"
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # text to YAML 1.1, a number to OmegaConf
_TRAINS = re.compile(r"optim|sched", re.IGNORECASE)  # what stands under such a key is a setting, whatever its name
_WATCHES = re.compile(r"(?:^|[._])(?:callbacks?|loggers?)(?:[._]|$)")  # groups of keys
_NOT_LOADED = (
    "package.json",
    "pyproject.toml",
    "space.toml",
    "workload.toml",
    "tokenizer.json",
    "vocab.json",
    "setup.cfg",
)


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """A plain value in a configuration file, under a path of keys."""

    path: str
    value: Value
    comment: str = ""
    aside: str = ""


@dataclass(frozen=True, slots=True)
class HydraApp:
    """Where a Hydra app has its configuration: a folder, and the name of the primary file."""

    folder: str
    name: str


def config_files(files: Mapping[str, str], folder: Path, words: Sequence[str] = ()) -> list[str]:
    """Return the configuration files of the folder that these Python files, or words of the command, name; none that they write."""
    patterns, written = [each.path for each in result_files(files)], written_texts(files, words)
    texts = [*words, *(text for file, source in files.items() for text in read_names(source, file).texts)]
    own = PurePosixPath(next(iter(files), "")).parent.as_posix()  # of the script, which comes first
    folders = ["", own, *(text.rstrip("/") for text in texts if _is_inside(text) and (folder / text).is_dir())]
    reads_ini = any(_READS_INI.search(source) for source in files.values())
    suffixes = (*SUFFIXES, *(INI_SUFFIXES if reads_ini else ()))
    found: list[str] = []
    for text in texts:
        text = text.partition("=")[2] or text if text.startswith("-") else text
        if normal(text) in written:
            continue
        if text.endswith(suffixes) and _is_inside(text) and PurePosixPath(text).name not in _NOT_LOADED:
            paths = (PurePosixPath(base, text).as_posix() for base in folders)
            found += [path for path in paths if (folder / path).is_file()][:1]
    return [path for path in dict.fromkeys(found) if not any(matches(pattern, path) for pattern in patterns)]


def hydra_app(files: Mapping[str, str]) -> HydraApp | None:
    """Return what `@hydra.main(config_path=..., config_name=...)` says, None without it."""
    for file, text in files.items():
        names = read_names(text, file)
        for call, _ in names.calls() if "hydra" in text else ():
            if names.qualified(call.func) == "hydra.main":
                words = {each.arg: each.value for each in call.keywords}
                given = [_text(words.get(key)) for key in ("config_path", "config_name")]
                base = PurePosixPath(file).parent
                folder = posixpath.normpath((base / given[0]).as_posix())
                return HydraApp(folder, given[1].removesuffix(".yaml")) if given[1] else None
    return None


def keys_as_settings(files: Sequence[str], folder: Path) -> Iterator[ScriptConstant]:
    """Yield the keys of these files."""
    for file in files:
        for each in read_keys(folder / file):
            aside = CALLBACKS if _WATCHES.search(each.path.rpartition(".")[0]) else each.aside
            yield replace(_setting(each, file), kind="key", place=f"{file}:{each.path}", aside=aside)


def overrides_as_settings(app: HydraApp, folder: Path, words: Sequence[str] = ()) -> Iterator[ScriptConstant]:
    """Yield what a Hydra app can be told on its command line: the keys of its primary file, and of the groups it chooses.

    `words`: of the command, which may give some of them another value already.
    """
    given = {word.partition("=")[0].lstrip("+~"): word.partition("=")[2] for word in words if "=" in word}
    for file, group in hydra_files(app, folder):
        for each in read_keys(folder / file):
            if not each.path.startswith(("hydra.", "defaults")):
                aside = CALLBACKS if group in ("callbacks", "logger") else each.aside
                path = f"{group}.{each.path}" if group else each.path
                setting = replace(_setting(each, file), kind="override", place=path, aside=aside)
                yield replace(setting, value=value_of(given[path])) if path in given else setting


def hydra_files(app: HydraApp, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each file of a Hydra app's configuration with the group that its keys stand under, "" for the primary one."""
    primary = f"{app.folder}/{app.name}.yaml".removeprefix("./")
    data = _load(folder / primary)
    yield primary, ""
    for entry in data.get("defaults", []) if isinstance(data, dict) and isinstance(data.get("defaults"), list) else []:
        for group, option in entry.items() if isinstance(entry, dict) else ():
            name = str(group).removeprefix("override ").lstrip("/")
            where, _, package = name.partition("@")
            path = f"{app.folder}/{where}/{str(option).removesuffix('.yaml')}.yaml".removeprefix("./")
            if not name.startswith("hydra") and (folder / path).is_file():
                yield path, (package or where).replace("/", ".").removeprefix("_global_").strip(".")


def read_keys(path: Path) -> list[ConfigKey]:
    """Return the plain values of a file in its order; none where it cannot be read."""
    text = _read(path)
    if path.suffix in (".yaml", ".yml"):
        return list(_yaml_keys(text))
    if path.suffix in INI_SUFFIXES:
        return list(_ini_keys(text))
    return [ConfigKey(key, value, aside=aside) for key, value, aside in _plain_keys(_load(path), "")]


def _ini_keys(text: str) -> Iterator[ConfigKey]:
    with suppress(ValueError):
        for each in ini_values(text):
            if re.fullmatch(r"[^\W_][\w-]*\.[^\W_][\w-]*", each.path):
                yield ConfigKey(each.path, each.value, aside=INTERPOLATED if "%(" in each.text else "")


def _setting(key: ConfigKey, file: str) -> ScriptConstant:
    owner, _, last = key.path.rpartition(".")
    certain = bool(_TRAINS.search(owner)) and not isinstance(key.value, str)
    return ScriptConstant(
        re.sub(r"\W", "_", last), key.value, key.comment, f"keys of {file}", key.aside, certain=certain
    )


def _plain_keys(data: object, path: str) -> Iterator[tuple[str, Value, str]]:
    for key, value in data.items() if isinstance(data, dict) else ():
        if not isinstance(key, str) or not re.fullmatch(r"[^\W_][\w-]*", key):
            continue
        inner = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _plain_keys(value, inner)
        elif isinstance(value, list):
            yield inner, None, LISTS
        elif isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
            yield inner, value, INTERPOLATED if isinstance(value, str) and "${" in value else ""


def _yaml_keys(text: str) -> Iterator[ConfigKey]:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    lines, seen = text.splitlines(), set[int]()

    def walk(node: yaml.Node | None, path: str) -> Iterator[ConfigKey]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        for key, value in pairs:
            if not isinstance(key, yaml.ScalarNode) or not re.fullmatch(r"[^\W_][\w-]*", key.value):
                continue
            inner = f"{path}.{key.value}" if path else key.value
            aside = TWICE if keys.count(key.value) > 1 else ALIASED if id(value) in seen else ""
            seen.add(id(value))
            if isinstance(value, yaml.MappingNode):
                yield from walk(value, inner)
            elif isinstance(value, yaml.SequenceNode):
                yield ConfigKey(inner, None, aside=aside or LISTS)
            elif (found := _scalar(value)) is not None:
                comment = _comment(lines[value.end_mark.line] if value.end_mark.line < len(lines) else "")
                interpolated = INTERPOLATED if isinstance(found, str) and "${" in found else ""
                yield ConfigKey(inner, found, comment, aside or interpolated)

    yield from walk(root, "")


def _scalar(node: object) -> Value:
    import yaml

    try:
        value = yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        return None
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) else None


def _comment(line: str) -> str:
    return line.partition(" #")[2].strip()


def _load(path: Path) -> object:
    try:
        text = _read(path)
        if path.suffix == ".json":
            return json.loads(text)
        if path.suffix == ".toml":
            return tomllib.loads(text)
        import yaml

        return yaml.safe_load(text)
    except (ValueError, RecursionError):
        return {}
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            return {}
        raise


def _read(path: Path) -> str:
    try:
        return read_bounded(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError):
        return ""


def _is_inside(text: str) -> bool:
    path = PurePosixPath(text)
    return bool(text) and len(text) < 200 and text.isprintable() and not path.is_absolute() and ".." not in path.parts


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
