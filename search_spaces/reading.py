"""Reads what the parts of a search-space file have in common: whole files, arrays of tables, lines of text, params."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from search_spaces.expressions import SearchSpaceError, Value
from search_spaces.parameters import literal, objection_to_choice
from search_spaces.problems import SpaceProblems, show
from search_spaces.space import Parameter

MAX_BYTES = 100_000


def read_file(path: Path, where: str, wanted: str) -> str:
    """Return the text of a file of at most MAX_BYTES. Raises SearchSpaceError, which begins with `where`."""
    try:
        path = path.expanduser()
        if not path.is_file():  # a pipe would block for ever
            what = "is not a file" if path.exists() else "does not exist"
            raise SearchSpaceError(f"{where}: {what}. Check the path.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SearchSpaceError(f"{where}: cannot be read: {error.strerror}. Check the path.") from None
    except RuntimeError:
        raise SearchSpaceError(f"{where}: there is no such home folder. Check the path.") from None
    if len(raw) > MAX_BYTES:
        raise SearchSpaceError(f"{where}: larger than {MAX_BYTES} bytes. Give {wanted}.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SearchSpaceError(f"{where}: byte {error.start} is not UTF-8. Save it as UTF-8 text.") from None


def tables_of(raw: object, key: str, problems: SpaceProblems) -> list[tuple[str, dict[str, object]]]:
    """Return the [[key]] tables, each with its name for messages."""
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        problems.add(key, f"is not an array of tables. Begin each with [[{key}]].")
        return []
    return [(f"{key.removesuffix('s')} {number}", table) for number, table in enumerate(raw, 1)]


def text_of(table: Mapping[str, object], key: str, where: str, problems: SpaceProblems) -> str:
    """Return a required line of text, "" if it is none."""
    value = table.get(key)
    text = value.strip() if isinstance(value, str) else ""
    if text and text.isprintable():
        return text
    problems.add(where, f"{key}: {show(value) if key in table else 'missing'}. Give it one line of plain text.")
    return ""


def params_of(
    raw: object, where: str, declared: object, parameters: tuple[Parameter, ...], problems: SpaceProblems
) -> dict[str, Value]:
    """Return the values of `params`, each with a nearest choice; `declared` is the file's table of parameters."""
    if not isinstance(raw, dict) or not raw:
        problems.add(where, "params: missing or empty. Write params = { NAME = value, ... }.")
        return {}
    usable = {parameter.name: parameter for parameter in parameters}
    params: dict[str, Value] = {}
    for name, value in raw.items():
        objection = objection_to_choice(value)
        if not isinstance(declared, dict) or name not in declared:
            problems.add(where, f"{show(name)} is no parameter of this space. Remove it or add its choices.")
        elif objection:
            problems.add(where, f"{name}: {objection}")
        elif name in usable:  # else its choices have been complained about already
            params[name] = literal(value)
            try:
                usable[name].nearest(params[name])
            except SearchSpaceError as error:
                problems.add(where, str(error))
    return params
