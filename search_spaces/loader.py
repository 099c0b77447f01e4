"""Loads search spaces from TOML files; every problem of a file is reported at once and nothing in it is run.

A bare name is one of ours, anything with a slash is a path. README.md beside this file describes the format. The script
is not known here: others check that a parameter exists there, and what a rule's constants are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from search_spaces.expressions import Rule, SearchSpaceError, parse_rule
from search_spaces.known import Start
from search_spaces.parameters import objection_to_choice, read_parameters
from search_spaces.prior_reader import PriorReader
from search_spaces.problems import SpaceProblems, show
from search_spaces.reading import params_of, read_file, tables_of, text_of
from search_spaces.space import Parameter, SearchSpace

OURS = Path(__file__).parent
# tomllib takes time quadratic in the length of a dotted key: 40 kB on one line are 7 s, 100 kB in short lines under 2 s
MAX_LINE = 1_000
_WANTED = "a search space, not data"


def shipped_spaces() -> tuple[str, ...]:
    """Return the names of the search spaces that come with this package."""
    return tuple(sorted(path.stem for path in OURS.glob("*.toml")))


def load_space(name_or_path: str) -> SearchSpace:
    """Load the search space of this name or in this file. Raises SearchSpaceError with every problem found."""
    where = name_or_path if "/" in name_or_path else f"search_spaces/{name_or_path}.toml"
    text = read_space(name_or_path)
    return parse_space(text, where, Path(name_or_path).expanduser().parent if "/" in name_or_path else OURS)


def read_space(name_or_path: str) -> str:
    """Return the text of the search space of this name or in this file. Raises SearchSpaceError."""
    if "/" in name_or_path:
        return read_file(Path(name_or_path), name_or_path, _WANTED)
    if name_or_path not in shipped_spaces():
        raise SearchSpaceError(_unknown(name_or_path))
    return read_file(OURS / f"{name_or_path}.toml", name_or_path, _WANTED)


def _unknown(name: str) -> str:
    near = get_close_matches(name[:256], shipped_spaces(), n=1, cutoff=0.65)
    if name and len(name) < 256 and Path(name).exists():
        near = [f"./{name}"]
    ours, hint = ", ".join(shipped_spaces()), f" Did you mean {near[0]}?" if near else ""
    return f"{name or repr(name)}: no such search space. Use one of ours ({ours}) or ./your/file.toml.{hint}"


def parse_space(text: str, path: str, beside: Path | None = None) -> SearchSpace:
    """Parse the search space written in `text`; `path` is for messages. Raises SearchSpaceError with every problem
    found.

    The tables of its priors are read in the folder `beside`, or among ours; without one they are left out, as a study that
    keeps the text keeps its prior too.
    """
    problems = SpaceProblems(path)
    data = _parse_toml(text, path)
    problems.unknown_keys("", data, ("parameters", "rules", "start", "prior"))
    parameters = read_parameters(data.get("parameters", {}), problems)
    rules = _rules(data.get("rules", []), problems)
    starts = _starts(data.get("start", []), data.get("parameters", {}), parameters, problems)
    reader = PriorReader(data.get("parameters", {}), parameters, problems, *([] if beside is None else [beside, OURS]))
    priors = reader.read(data.get("prior", []))
    if problems.lines:
        raise SearchSpaceError(*problems.lines)
    return SearchSpace(Path(path).stem, path, parameters, rules, starts, priors, text)


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
    for where, table in tables_of(raw, "rules", problems):
        problems.unknown_keys(f"{where}: ", table, ("rule", "why"))
        text, why = text_of(table, "rule", where, problems), text_of(table, "why", where, problems)
        try:
            rules += [parse_rule(text, why, f"{problems.path}: {where}")] if text else []
        except SearchSpaceError as error:
            problems.lines += error.problems
    return tuple(rules)


def _starts(
    raw: object, declared: object, parameters: tuple[Parameter, ...], problems: SpaceProblems
) -> tuple[Start, ...]:
    starts = []
    for where, table in tables_of(raw, "start", problems):
        problems.unknown_keys(f"{where}: ", table, ("params", "source", "script", "val_bpb"))
        source = text_of(table, "source", where, problems)
        script = text_of(table, "script", where, problems) if "script" in table else None
        params = params_of(table.get("params"), where, declared, parameters, problems)
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
