"""Reads trials from JSON lines, one object each: flat, or with the parameters in an object of their own.

Known keys are interpreted, the rest is kept. A line that is not an object, or holds no trial, is reported with its number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optimize.errors import SettingsError
from optimize.importing.cells import (
    MEANING,
    PARAMS,
    metric_among,
    numbers_from,
    parameter_of,
    parameters_among,
    read_text,
    settings_in,
)
from optimize.importing.csv_table import MOST_ROWS, TableContents, first_of
from optimize.importing.rows import Row

_FIGURES = ("summary", "metrics")
_CURVES = ("curve", "intermediate_values")
_ATTRIBUTES = ("user_attrs", "attributes")


def read_lines(source: str, what: str, metric: str | None, named: Collection[str]) -> TableContents:
    """Return the rows of a file, as `read_table` does. Raises SettingsError with a line for each problem."""
    found: list[tuple[int, dict[str, Any]]] = []
    problems = []
    for number, line in enumerate(read_text(source, what).split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append((number, _object(line)))
        except ValueError as error:
            problems.append(f"{what}: line {number} {error}. Correct it.")
        if len(found) > MOST_ROWS:
            raise SettingsError(f"{what}: more than {MOST_ROWS:,} lines. Cut it down.")
    if problems:
        raise SettingsError(*first_of(problems, what))
    if not found:
        raise SettingsError(f"{what}: it is empty. Give a file with a JSON object a line.")
    keys = list(dict.fromkeys(key for _, record in found for key in (*record, *_merged(record, _FIGURES))))
    name, key = _metric(keys, metric, what)
    without = [number for number, record in found if not _holds_trial(record, key, named)]
    if without:
        problems = [
            f"{what}: line {number} holds no trial: no {key}, no parameters, no status. Remove it."
            for number in without
        ]
        raise SettingsError(*first_of(problems, what))
    return TableContents(name, [_row(number, record, key, named) for number, record in found])


def _metric(keys: Sequence[str], metric: str | None, what: str) -> tuple[str, str]:
    as_optuna = metric is None and "values" in keys and not {"value", "val_bpb"} & set(keys)
    return ("value", "values") if as_optuna else metric_among(keys, metric, what)


def _holds_trial(record: Mapping[str, Any], key: str, named: Collection[str]) -> bool:
    known = {key, "state", "status", "description", *PARAMS}
    return bool(known & {*record, *_merged(record, _FIGURES)}) or any(parameter_of(name, named) for name in record)


def _object(line: str) -> dict[str, Any]:
    """Return the object of a line. Raises ValueError with the reason in a few words."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("is not a JSON object")
    for name in (*PARAMS, *_FIGURES, *_CURVES, *_ATTRIBUTES):
        if name in record and record[name] is not None and not isinstance(record[name], dict):
            raise ValueError(f"has {name} that is not an object")
    objectives = record.get("values")
    if objectives is not None and (not isinstance(objectives, list) or len(objectives) > 1):
        raise ValueError("has values that are not a list of one, and studies here have one objective")
    return record


def _row(number: int, record: Mapping[str, Any], key: str, named: Collection[str]) -> Row:
    objects = {*PARAMS, *_FIGURES, *_CURVES, *_ATTRIBUTES}
    flat = {name: value for name, value in record.items() if name not in objects and name != key}
    known = {MEANING[name]: value for name, value in flat.items() if name in MEANING}
    inner = {name: value for part in reversed(PARAMS) for name, value in (record.get(part) or {}).items()}
    held = {name: each for name, each in parameters_among(flat, named).items() if each not in inner}
    params = {**{parameter: flat[name] for name, parameter in held.items()}, **inner}
    rest = {name: value for name, value in flat.items() if name not in MEANING and name not in held}
    figures = _merged(record, _FIGURES)
    value = record.get(key, figures.get(key))
    return Row(
        line=number,
        known=known,
        value=value[0] if isinstance(value, list) and value else value,
        params=params or settings_in(str(known.get("description", ""))),
        summary=figures,
        curve=numbers_from(_merged(record, _CURVES)),
        rest={**rest, **_merged(record, _ATTRIBUTES)},
    )


def _merged(record: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {key: value for name in names for key, value in (record.get(name) or {}).items()}
