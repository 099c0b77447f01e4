"""Reads a text file within bounds, decides what columns and JSON keys mean, and turns cells into values.

`csv_table.py` and `json_lines.py` build rows with it. It knows no trial.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from optimize.errors import SettingsError
from optimize.text import read_bounded
from search_spaces import SearchSpaceError, parse_expression
from storage import Stored, exact_line, one_line

MAX_BYTES = 50_000_000  # about 100,000 trials of 20 parameters
LONGEST = 20_000  # characters of a description
_VALUE = r"""\([^()]*\)|"[^"]*"|'[^']*'|[^\s,;()]+"""
# `DEPTH=6`, `DEPTH: 6`, and what our own results.tsv says: `DEPTH 4 -> 6`
_SETTING = re.compile(rf"\b([A-Z][A-Z0-9_]*)\s*(?:[=:]\s*({_VALUE})|\s(?:{_VALUE})\s*(?:->|→)\s*({_VALUE}))")


def read_text(source: str, what: str, hint: str = "") -> str:
    """Return the text of a file. `what` begins every message, such as `--from ./results.tsv`. Raises SettingsError."""
    path = Path(source)
    try:
        path = path.expanduser()
        if not path.is_file():
            how = "is not a file" if path.exists() else "does not exist"
            raise SettingsError(f"{what}: {how}. Check the path{hint}.")
        return read_bounded(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise SettingsError(f"{one_line(what, 200)}: cannot be read: {why}. Check the path.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{what}: byte {error.start} is not UTF-8. Save it as UTF-8 text.") from None
    except ValueError as error:
        raise SettingsError(f"{one_line(what, 200)}: {error}. Give a smaller file.") from None


def table_rows(text: str, what: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is not empty. Tabs separate if the first such line has one.

    Raises SettingsError.
    """
    lines = io.StringIO(text, newline="")
    tabs = "\t" in next(filter(str.strip, lines), "")
    lines.seek(0)
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise SettingsError(
            f"{what}: line {reader.line_num} is not a line of a table: {error}. Save it as CSV or TSV."
        ) from None


def is_cut(text: str) -> bool:
    """Return whether a description lacks its end: releases before this one wrote 300 characters and `...`."""
    return text.rstrip().endswith(("...", "\u2026")) or len(text) > LONGEST


def settings_in(text: str) -> dict[str, str]:
    """Return what a sentence sets, as text: `DEPTH=6`, `DEPTH: 6`, `DEPTH 4 -> 6`. One that is cut sets nothing."""
    found = [] if is_cut(text) else _SETTING.findall(text)
    return {name: (one or other).rstrip(".") for name, one, other in found}


def number_in(text: str) -> int | float | tuple[object, ...] | None:
    """Return a finite number, also of arithmetic such as `2**17`, or a tuple of them; None for anything else."""
    for kind in (int, float):
        try:
            value: int | float = kind(text)
            return value if isfinite(value) else None
        except (ValueError, OverflowError):
            continue
    try:
        found = parse_expression(text).evaluate({})
    except SearchSpaceError:
        return None
    return found if isinstance(found, int | float | tuple) and not isinstance(found, bool) else None


_NAMES = {
    "number": ("number", "trial", "trial_number", "run", "iteration"),
    "state": ("state",),
    "status": ("status", "outcome"),
    "description": ("description", "desc", "change"),
    "commit": ("commit", "script"),
    "memory_gb": ("memory_gb", "peak_memory_gb"),
    "started": ("started", "datetime_start", "started_at", "start_time"),
    "finished": ("finished", "datetime_complete", "finished_at", "end_time", "timestamp"),
    "seconds": ("seconds", "duration_s", "elapsed_s"),
    "reason": ("reason", "error"),
    "kind": ("kind",),
    "slot": ("slot",),
    "device": ("device",),
}
MEANING = {name: what for what, names in _NAMES.items() for name in names}
PARAMS = ("params", "parameters", "config", "hyperparameters")  # of JSON: an object of them
_PREFIXES = ("params_", "param_")  # of a column, as Optuna's and ours
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")  # how scripts of this kind name what they let vary
_LONGEST, _EXACT = 200, 2**53
NAME_IT = "Name its column or key with --metric."


def parameter_of(column: str, named: Collection[str]) -> str:
    """Return the parameter that a column or key holds, "" if it holds none. `named` are those that the user named."""
    for prefix in _PREFIXES:
        if column.startswith(prefix) and len(column) > len(prefix):
            return column[len(prefix) :]
    return column if column in named or _CONSTANT.fullmatch(column) else ""


def parameters_among(names: Iterable[str], named: Collection[str]) -> dict[str, str]:
    """Return column or key -> the parameter that it holds.

    With `params_DEPTH` there, `DEPTH` holds something else.
    """
    found = {name: parameter for name in names if (parameter := parameter_of(name, named))}
    prefixed = {parameter for name, parameter in found.items() if name != parameter}
    return {name: parameter for name, parameter in found.items() if name != parameter or name not in prefixed}


def metric_among(names: Sequence[str], metric: str | None, what: str, advice: str = NAME_IT) -> tuple[str, str]:
    """Return the metric and the column or key that holds it. Raises SettingsError if there is none."""
    for wanted in (metric,) if metric else ("val_bpb",):
        for column in (f"metric_{wanted}", wanted):
            if column in names:
                return wanted, column
    if "value" in names:
        return metric or "value", "value"
    there = one_line(", ".join(names), 120) or "nothing"
    raise SettingsError(f"{what}: has neither {one_line(metric or 'val_bpb', 60)} nor value. It has {there}. {advice}")


def stored(value: object) -> Stored:
    """Return a value of JSON or a cell as records hold a parameter's: numbers as numbers, a tuple as text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return (
            value if abs(value) <= _EXACT or (isinstance(value, float) and isfinite(value)) else str(value)[:_LONGEST]
        )
    if isinstance(value, list | tuple):
        return one_line(str(tuple(value)), _LONGEST)
    return _of_text(str(value))


def params_from(given: Iterable[tuple[str, object]]) -> dict[str, Stored]:
    """Return parameters by their cleaned names, without those that are empty."""
    return {
        one_line(name, 100): stored(value) for name, value in given if value not in ("", None) and one_line(name, 100)
    }


def numbers_from(given: Mapping[str, Any]) -> dict[int, float]:
    """Return a curve of JSON as step -> value, without entries that are no numbers."""
    found = {}
    for step, value in given.items():
        try:
            found[int(step)] = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return {step: value for step, value in found.items() if abs(step) < 2**31}


def _of_text(text: str) -> Stored:
    bare = text.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        return exact_line(bare[1:-1], _LONGEST)
    if bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    number = number_in(bare)
    if number is None or isinstance(number, tuple):
        return exact_line(text if number is None else str(number), _LONGEST)
    return number if isinstance(number, float) or abs(number) <= _EXACT else one_line(bare, _LONGEST)
