"""Reads and writes single values of YAML, JSON, TOML and INI files by a path of keys such as `model.heads`.

In YAML, JSON and INI only the characters of the value change; TOML goes through tomlkit, which keeps comments and layout.
What was written is read back with the format's own reader, and all else must be as it was.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import tomlkit
import yaml

from optimize.errors import RenderError
from optimize.script.ini_files import INI_SUFFIXES, ini_literal, ini_values, load_ini
from optimize.trial import Value

SUFFIXES = (".yaml", ".yml", ".json", ".toml", *INI_SUFFIXES)
# YAML 1.1 reads 1e-3 as text, OmegaConf and YAML 1.2 read a number
_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Found:
    """A value in a file: what it is, and the characters that it stands in (both 0 in TOML)."""

    value: Value
    line: int
    start: int = 0
    end: int = 0


def find_key(text: str, path: str, where: str) -> Found:
    """Return the value at a path of keys. Raises RenderError with what stands in the way."""
    keys = path.split(".")
    suffix = PurePosixPath(where).suffix
    try:
        if suffix == ".toml":
            return Found(_plain(_at(tomllib.loads(text), keys, path, where), path, where), 0)
        if suffix == ".json":
            _no_repeated_keys(text)
            return _in_json(text, keys, path, where)
        if suffix in INI_SUFFIXES:
            return _in_ini(text, path, where)
        return _in_yaml(text, keys, path, where)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise RenderError(f"{where}: cannot be read: {_first_line(error)}. Correct the file.") from None


def _in_ini(text: str, path: str, where: str) -> Found:
    for each in ini_values(text):
        if each.path == path:
            return Found(each.value, each.line, each.start, each.start + len(each.text))
    raise _missing(path, path.rpartition(".")[2], where)


def write_keys(text: str, values: tuple[tuple[str, Value], ...], where: str) -> str:
    """Return `text` with the value at each path of keys replaced, unless it stands there already.

    Raises RenderError if one cannot be written exactly.
    """
    values = tuple((path, value) for path, value in values if repr(find_key(text, path, where).value) != repr(value))
    is_toml = PurePosixPath(where).suffix == ".toml"
    written = _written_toml(text, values, where) if is_toml else _written_spans(text, values, where)
    for path, value in values:
        if repr(find_key(written, path, where).value) != repr(value):  # 1 is not 1.0
            raise RenderError(
                f"{where}: {path}: {value!r:.60} cannot be written there. Choose another value, or report this."
            )
    if _without(_load(text, where), values) != _without(_load(written, where), values):
        raise RenderError(
            f"{where}: writing changed more than {', '.join(path for path, _ in values)}. Report this as a bug."
        )
    return written


def _written_spans(text: str, values: Sequence[tuple[str, Value]], where: str) -> str:
    found = sorted(((find_key(text, path, where), value) for path, value in values), key=lambda each: -each[0].start)
    for span, value in found:  # the last first, so that the others stay where they are
        indent = (
            " " if text[span.start : span.start + 2] == "- " else ""
        )  # a list in block style may stand below its key
        is_ini = PurePosixPath(where).suffix in INI_SUFFIXES
        literal = ini_literal(value, text[span.start : span.end]) if is_ini else _literal(value)
        text = text[: span.start] + indent + literal + text[span.end :]
    return text


def _written_toml(text: str, values: Sequence[tuple[str, Value]], where: str) -> str:
    document = tomlkit.parse(text)
    for path, value in values:
        *outer, last = path.split(".")
        table: Any = document
        for key in outer:
            table = table[key]
        table[last] = list(value) if isinstance(value, tuple) else value
    written = tomlkit.dumps(document)
    return written.replace("\n", "\r\n") if "\r\n" in text and "\r\n" not in written else written


def _literal(value: Value) -> str:
    """Return a value as both JSON and every version of YAML read it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float):
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}.0{e}{exponent}" if e and "." not in mantissa else text
    return json.dumps(value)


def _first_line(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    return str(problem).split("\n")[0] + (f", line {mark.line + 1}" if mark else "")


def _at(data: object, keys: Sequence[str], path: str, where: str) -> object:
    for key in keys:
        if isinstance(data, Mapping) and key in data:
            data = data[key]
        elif isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            data = data[int(key)]
        else:
            raise _missing(path, key, where)
    return data


def _missing(path: str, key: str, where: str) -> RenderError:
    return RenderError(f"{where}: {path}: there is no key {key}. Correct the path, or write the key with its default.")


def _plain(value: object, path: str, where: str) -> Value:
    if isinstance(value, list) and all(not isinstance(each, list | dict) for each in value):
        return tuple(_plain(each, path, where) for each in value)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise RenderError(f"{where}: {path}: is no number, text, true/false or list of them. Name a plain value.")


# --- JSON: its reader tells where a value ends, so keys can be followed ------------------------------------------------

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def _in_json(text: str, keys: Sequence[str], path: str, where: str) -> Found:
    start = _skip(text, 0)
    for key in keys:
        start = _member(text, start, key, path, where)
    value, end = _DECODER.raw_decode(text, start)
    return Found(_plain(value, path, where), text.count("\n", 0, start) + 1, start, end)


def _member(text: str, start: int, key: str, path: str, where: str) -> int:
    """Return where the value of a key of the object, or an element of the array, at `start` begins."""
    is_object, index, position = text[start] == "{", 0, _skip(text, start + 1)
    if text[start] not in "{[":
        raise _missing(path, key, where)
    while text[position] not in "}]":
        name = str(index)
        if is_object:
            name, position = _DECODER.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        if name == key:
            return position
        _, position = _DECODER.raw_decode(text, position)
        position, index = _skip(text, position), index + 1
        position = _skip(text, position + 1) if text[position] == "," else position
    raise _missing(path, key, where)


def _skip(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    assert blank  # it matches nothing as well
    return blank.end()


def _no_repeated_keys(text: str) -> None:
    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in found]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the key {repeated} is there twice in one object")
        return dict(found)

    json.loads(text, object_pairs_hook=pairs)


# --- YAML: the nodes of its syntax tree know where they stand -----------------------------------------------------------


def _in_yaml(text: str, keys: Sequence[str], path: str, where: str) -> Found:
    node, shared = _composed(text)
    for key in keys:
        node = _child(node, key, path, where)
        if node.start_mark.index in shared:
            raise RenderError(
                f"{where}:{node.start_mark.line + 1}: {path}: {key} is repeated by an alias, so other places would change too. "
                "Write its value out."
            )
    if text[node.start_mark.index : node.start_mark.index + 1] in ("&", "!"):
        raise RenderError(f"{where}:{node.start_mark.line + 1}: {path}: has an anchor or a tag. Write the value alone.")
    end = _end(node)
    found = Found(_scalar(node, path, where), node.start_mark.line + 1, node.start_mark.index, end)
    if "#" in _COMMENT_IN.sub("", text[found.start : end]) and isinstance(node, yaml.SequenceNode):
        raise RenderError(f"{where}:{found.line}: {path}: there are comments in the list. Write it on one line.")
    return found


_COMMENT_IN = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")


@lru_cache(maxsize=64)  # a file is asked for many keys
def _composed(text: str) -> tuple[Any, set[int]]:
    return yaml.compose(text, Loader=yaml.SafeLoader), _shared(text)


def _shared(text: str) -> set[int]:
    """Return where the nodes begin that an alias repeats in other places of the file."""
    at: dict[str, int] = {}
    shared = set()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            shared.add(at[event.anchor])
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            at[event.anchor] = event.start_mark.index
    return shared


def _child(node: yaml.Node | None, key: str, path: str, where: str) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        found = [value for name, value in node.value if isinstance(name, yaml.ScalarNode) and name.value == key]
        if len(found) > 1:
            lines = ", ".join(str(each.start_mark.line + 1) for each in found)
            raise RenderError(f"{where}: {path}: the key {key} is there {len(found)} times (lines {lines}). Leave one.")
        if found:
            return found[0]
    if isinstance(node, yaml.SequenceNode) and key.isdecimal() and int(key) < len(node.value):
        return node.value[int(key)]
    raise _missing(path, key, where)


def _end(node: yaml.Node) -> int:
    """Return the index behind a node; a list in block style ends with its last element."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _scalar(node: yaml.Node, path: str, where: str) -> Value:
    if isinstance(node, yaml.SequenceNode) and node.value:
        return tuple(_scalar(each, path, where) for each in node.value)
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">"):
        if node.style is None and node.tag == "tag:yaml.org,2002:str" and _FLOAT.fullmatch(node.value):
            return float(node.value.replace("_", ""))
        value = yaml.SafeLoader("").construct_object(node)
        if not (value is None and node.start_mark.index == node.end_mark.index):
            return _plain(value, path, where)
    raise RenderError(
        f"{where}: {path}: is no number, text, true/false or list of them on one line. Name a plain value."
    )


def _load(text: str, where: str) -> Any:
    suffix = PurePosixPath(where).suffix
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix in INI_SUFFIXES:
        return load_ini(text)
    # every scalar as its text: what a key such as `on` means differs between versions of YAML
    return json.loads(text) if suffix == ".json" else yaml.load(text, Loader=yaml.BaseLoader)


def _without(data: Any, values: Sequence[tuple[str, Value]]) -> Any:
    """Return the data of a file with None at each of these paths."""
    for path, _ in values:
        *outer, last = path.split(".")
        place = data
        for key in outer:
            place = place[int(key) if isinstance(place, list) else key]
        place[int(last) if isinstance(place, list) else last] = None
    return data
