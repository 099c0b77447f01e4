"""Reads the table [parameters] of a search space: a list of choices, or a table that says where the value is written too."""

from __future__ import annotations

import keyword
import math
import unicodedata
from collections.abc import Mapping

from search_spaces.expressions import Rule, SearchSpaceError, Value, kind, parse_rule
from search_spaces.locations import AS_CONSTANT, KINDS, Location, objection_to
from search_spaces.problems import SpaceProblems, show
from search_spaces.ranges import range_choices
from search_spaces.space import Parameter

MAX_DEPTH = 3  # tuples within tuples
_OF_RANGES = ("low", "high", "steps", "log")
_KEYS = (*KINDS, "choices", *_OF_RANGES, "baseline", "when", "optional")


def read_parameters(table: object, problems: SpaceProblems) -> tuple[Parameter, ...]:
    """Return the parameters of the table [parameters]; what is wrong with one becomes lines, and it is left out."""
    if not isinstance(table, dict) or not table:
        problems.add("[parameters]", "the space is empty. List at least one parameter: NAME = [first, second].")
        return ()
    found = []
    for name, raw in table.items():
        parameter = _parameter(name, raw, problems)
        if not name.isidentifier() or keyword.iskeyword(name) or not unicodedata.is_normalized("NFKC", name):
            problems.add(show(name), "is no name of a Python constant. Use the script's own name, unquoted.")
        elif parameter:
            found.append(parameter)
    _two_with_one_place(found, problems)
    return tuple(found)


def _two_with_one_place(parameters: list[Parameter], problems: SpaceProblems) -> None:
    first: dict[Location, str] = {}
    for each in parameters:
        place = each.location if each.location.path else Location(path=each.name)
        if place in first:
            problems.add(each.name, f"{place}: {first[place]} is written there already. Remove one of them.")
        first.setdefault(place, each.name)


def _parameter(name: str, raw: object, problems: SpaceProblems) -> Parameter | None:
    where = name if name.isidentifier() else show(name)
    if isinstance(raw, list):
        choices = _choices(where, raw, problems)
        return Parameter(name, choices) if choices else None
    if not isinstance(raw, dict):
        problems.add(where, f"{show(raw)} is not a list of choices. Write [first, second].")
        return None
    before = len(problems.lines)
    problems.unknown_keys(f"{where}: ", raw, _KEYS)
    location, ranged = _location(where, raw, problems), "choices" not in raw
    choices = _range(where, raw, problems) if ranged else _listed(where, raw, problems)
    baseline, when = _baseline(where, raw, problems), _when(where, raw, problems)
    if not isinstance(optional := raw.get("optional", False), bool):
        problems.add(where, f"optional: {show(optional)} is neither true nor false. Write one of them.")
    if len(problems.lines) > before:
        return None
    choices = _same_numbers((*choices, baseline))[:-1] if isinstance(baseline, float) else choices
    parameter = Parameter(name, choices, location, baseline, when, ranged, optional is True)
    return parameter if baseline is None or not ranged else parameter.including(baseline)


def _location(where: str, table: Mapping[str, object], problems: SpaceProblems) -> Location:
    given = [key for key in KINDS if key in table]
    if len(given) > 1:
        problems.add(where, f"has {' and '.join(given)}. A value is written in one place: leave one.")
    if not given:
        return AS_CONSTANT
    path = table[given[0]]
    location = Location(given[0], path if isinstance(path, str) else show(path))
    if objection := objection_to(location):
        problems.add(where, objection)
    return location


def _listed(where: str, table: Mapping[str, object], problems: SpaceProblems) -> tuple[Value, ...]:
    for key in _OF_RANGES:
        if key in table:
            problems.add(where, f"{key}: choices are listed already. Leave one of the two out.")
    if not isinstance(table["choices"], list):
        problems.add(where, f"choices: {show(table['choices'])} is not a list. Write [first, second].")
        return ()
    return _choices(where, table["choices"], problems)


def _range(where: str, table: Mapping[str, object], problems: SpaceProblems) -> tuple[Value, ...]:
    low, high, steps, log = (table.get(key) for key in _OF_RANGES)
    if low is None or high is None:
        problems.add(where, "has no choices. List them (choices = [first, second]), or give low, high and steps.")
        return ()
    for key, value in (("low", low), ("high", high)):
        if objection := objection_to_choice(value) or ("" if kind(literal(value)) == "number" else "is no number."):
            problems.add(where, f"{key}: {objection}")
            return ()
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool)):
        problems.add(where, f"steps: {show(steps)} is not a whole number. Say how many choices the range gets.")
    elif log is not None and not isinstance(log, bool):
        problems.add(where, f"log: {show(log)} is not true or false. Correct it.")
    else:
        assert isinstance(low, int | float)  # as just checked
        assert isinstance(high, int | float)
        try:
            return range_choices(low, high, steps, bool(log))
        except ValueError as error:
            problems.add(where, str(error))
    return ()


def _baseline(where: str, table: Mapping[str, object], problems: SpaceProblems) -> Value:
    if "baseline" not in table:
        return None
    if objection := objection_to_choice(table["baseline"]):
        problems.add(where, f"baseline: {objection}")
        return None
    return literal(table["baseline"])


def _when(where: str, table: Mapping[str, object], problems: SpaceProblems) -> Rule | None:
    if "when" not in table:
        return None
    text = table["when"]
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        problems.add(where, f"when: {show(text)} is no condition. Write one as text, such as \"optimizer == 'adamw'\".")
        return None
    try:
        return parse_rule(text, "", f"{problems.path}: {where}: when")
    except SearchSpaceError as error:
        problems.lines += error.problems
        return None


def _choices(where: str, raw: list[object], problems: SpaceProblems) -> tuple[Value, ...]:
    """Return the checked choices, empty if they cannot be used."""
    objections = [objection for objection in map(objection_to_choice, raw) if objection]
    for objection in objections:
        problems.add(where, objection)
    if objections:
        return ()
    choices = tuple(map(literal, raw))
    objection = _objection_to_all(choices)
    if objection:
        problems.add(where, objection)
    return () if objection else _same_numbers(choices)


def _objection_to_all(choices: tuple[Value, ...]) -> str:
    kinds = sorted({kind(choice) for choice in choices})
    if len(kinds) > 1:
        return f"mixes {' and '.join(kinds)}. Give every choice the type that the script has."
    seen: dict[Value, Value] = {}
    for choice, written in zip(_same_numbers(choices), choices, strict=True):
        if choice in seen:
            return f"{show(seen[choice])} and {show(written)} are the same choice. Remove one."
        seen[choice] = written
    if not choices:
        return "has no choices. List some, or remove it."
    return "has a single choice. Put it under [constants] in the profile, or remove it." if len(choices) == 1 else ""


def _same_numbers(choices: tuple[Value, ...]) -> tuple[Value, ...]:
    """Turn whole numbers among fractions into floats, so that every choice has one type: [0, 0.05] -> 0.0, 0.05."""
    if any(isinstance(choice, float) for choice in choices):
        return tuple(float(choice) if isinstance(choice, int) else choice for choice in choices)
    return choices


def objection_to_choice(value: object, depth: int = 0) -> str:
    """Return why a TOML value cannot be a choice; "" if it can."""
    if isinstance(value, list):
        if depth == MAX_DEPTH:
            return "arrays are nested too deeply. Flatten them."
        return next((objection for item in value if (objection := objection_to_choice(item, depth + 1))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number. Use a plain number."
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a whole number does not fit 64 bits. Use a smaller one."
    if isinstance(value, str) and not value.isprintable():
        return f"{show(value)} holds a control character. Use plain text."
    if not isinstance(value, bool | int | float | str):
        return f"{show(value)} is not a literal. Use numbers, text, true/false or arrays of them."
    return ""


def literal(value: object) -> Value:
    """Return a TOML value, to which `objection_to_choice` has none, as a choice: an array is a tuple."""
    if isinstance(value, list):
        return tuple(map(literal, value))
    assert isinstance(value, bool | int | float | str)  # objection_to_choice found nothing
    return value
