"""Loads search spaces from TOML files; every problem of a file is reported at once and nothing in it is run.

A bare name is one of ours, anything with a slash is a path. README.md beside this file describes the format. The script
is not known here: others check that a parameter exists there, and what a rule's constants are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from search_spaces.expressions import Rule, SearchSpaceError, Value, parse_rule
from search_spaces.parameters import literal, objection_to_choice, read_parameters
from search_spaces.problems import SpaceProblems, show
from search_spaces.space import Parameter, SearchSpace, Start

OURS = Path(__file__).parent
# tomllib takes time quadratic in the length of a dotted key: 40 kB on one line are 7 s, 100 kB in short lines under 2 s
MAX_BYTES = 100_000
MAX_LINE = 1_000


def shipped_spaces() -> tuple[str, ...]:
    """Return the names of the search spaces that come with this package."""
    return tuple(sorted(path.stem for path in OURS.glob("*.toml")))


def load_space(name_or_path: str) -> SearchSpace:
    """Load the search space of this name or in this file. Raises SearchSpaceError with every problem found."""
    where = name_or_path if "/" in name_or_path else f"search_spaces/{name_or_path}.toml"
    return parse_space(read_space(name_or_path), where)


def read_space(name_or_path: str) -> str:
    """Return the text of the search space of this name or in this file. Raises SearchSpaceError."""
    if "/" in name_or_path:
        return _read(Path(name_or_path), name_or_path)
    if name_or_path not in shipped_spaces():
        raise SearchSpaceError(_unknown(name_or_path))
    return _read(OURS / f"{name_or_path}.toml", name_or_path)


def _unknown(name: str) -> str:
    near = get_close_matches(name[:256], shipped_spaces(), n=1, cutoff=0.65)
    if name and len(name) < 256 and Path(name).exists():
        near = [f"./{name}"]
    ours, hint = ", ".join(shipped_spaces()), f" Did you mean {near[0]}?" if near else ""
    return f"{name or repr(name)}: no such search space. Use one of ours ({ours}) or ./your/file.toml.{hint}"


def parse_space(text: str, path: str) -> SearchSpace:
    """Parse the search space written in `text`; `path` is for messages. Raises SearchSpaceError with every problem
    found.
    """
    problems = SpaceProblems(path)
    data = _parse_toml(text, path)
    problems.unknown_keys("", data, ("parameters", "rules", "start"))
    parameters = read_parameters(data.get("parameters", {}), problems)
    rules = _rules(data.get("rules", []), problems)
    starts = _starts(data.get("start", []), data.get("parameters", {}), parameters, problems)
    if problems.lines:
        raise SearchSpaceError(*problems.lines)
    return SearchSpace(Path(path).stem, path, parameters, rules, starts, text)


def _read(path: Path, where: str) -> str:
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
        raise SearchSpaceError(f"{where}: larger than {MAX_BYTES} bytes. Give a search space, not data.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SearchSpaceError(f"{where}: byte {error.start} is not UTF-8. Save it as UTF-8 text.") from None


def _parse_toml(text: str, path: str) -> dict[str, object]:
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise SearchSpaceError(f"{path}: line {number} is longer than {MAX_LINE} characters. Break it up.")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else f"{error!s:.200}"
        raise SearchSpaceError(f"{path}: not valid TOML: {what}. Correct it.") from None


def _rules(raw: object, problems: SpaceProblems) -> tuple[Rule, ...]:
    rules = []
    for where, table in _tables(raw, "rules", problems):
        problems.unknown_keys(f"{where}: ", table, ("rule", "why"))
        text, why = _text(table, "rule", where, problems), _text(table, "why", where, problems)
        try:
            rules += [parse_rule(text, why, f"{problems.path}: {where}")] if text else []
        except SearchSpaceError as error:
            problems.lines += error.problems
    return tuple(rules)


def _starts(
    raw: object, declared: object, parameters: tuple[Parameter, ...], problems: SpaceProblems
) -> tuple[Start, ...]:
    starts = []
    for where, table in _tables(raw, "start", problems):
        problems.unknown_keys(f"{where}: ", table, ("params", "source", "script", "val_bpb"))
        source = _text(table, "source", where, problems)
        script = _text(table, "script", where, problems) if "script" in table else None
        params = _start_params(table.get("params"), where, declared, parameters, problems)
        starts.append(Start(params, source, script, _measured(table, where, problems)))
    return tuple(starts)


def _measured(table: Mapping[str, object], where: str, problems: SpaceProblems) -> float | None:
    value = table.get("val_bpb")
    if value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and not objection_to_choice(value)
    ):
        return None if value is None else float(value)
    problems.add(where, f"val_bpb: {show(value)} is not a number. Give what was measured, or leave it out.")
    return None


def _start_params(
    raw: object, where: str, declared: object, parameters: tuple[Parameter, ...], problems: SpaceProblems
) -> dict[str, Value]:
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


def _tables(raw: object, key: str, problems: SpaceProblems) -> list[tuple[str, dict[str, object]]]:
    """Return the [[key]] tables, each with its name for messages."""
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        problems.add(key, f"is not an array of tables. Begin each with [[{key}]].")
        return []
    return [(f"{key.removesuffix('s')} {number}", table) for number, table in enumerate(raw, 1)]


def _text(table: Mapping[str, object], key: str, where: str, problems: SpaceProblems) -> str:
    """Return a required line of text, "" if it is none."""
    value = table.get(key)
    text = value.strip() if isinstance(value, str) else ""
    if text and text.isprintable():
        return text
    problems.add(where, f"{key}: {show(value) if key in table else 'missing'}. Give it one line of plain text.")
    return ""
