"""What the columns of a table and the keys of JSON mean, whoever named them; and their values as parameters.

It reads no file, and knows no trial.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from optimize.errors import SettingsError
from optimize.intake.text_file import number_in
from storage import Stored, one_line

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
    """The parameter that a column or key holds, "" if it holds something else. `named` is what the user said."""
    for prefix in _PREFIXES:
        if column.startswith(prefix) and len(column) > len(prefix):
            return column[len(prefix) :]
    return column if column in named or _CONSTANT.fullmatch(column) else ""


def parameters_among(names: Iterable[str], named: Collection[str]) -> dict[str, str]:
    """Column or key -> the parameter that it holds. One that says so (`params_DEPTH`) goes before one that is only called
    so (`DEPTH`), which then holds something else."""
    found = {name: parameter for name in names if (parameter := parameter_of(name, named))}
    said = {parameter for name, parameter in found.items() if name != parameter}
    return {name: parameter for name, parameter in found.items() if name != parameter or name not in said}


def metric_among(names: Sequence[str], metric: str | None, what: str, advice: str = NAME_IT) -> tuple[str, str]:
    """(metric, the column or key that has it). Raises SettingsError where there is none."""
    for wanted in (metric,) if metric else ("val_bpb",):
        for column in (f"metric_{wanted}", wanted):
            if column in names:
                return wanted, column
    if "value" in names:
        return metric or "value", "value"
    there = one_line(", ".join(names), 120) or "nothing"
    raise SettingsError(f"{what}: has neither {one_line(metric or 'val_bpb', 60)} nor value. It has {there}. {advice}")


def stored(told: object) -> Stored:
    """A value of JSON or a cell as a parameter's: numbers as numbers, a tuple as text, as we keep them."""
    if isinstance(told, bool) or told is None:
        return told
    if isinstance(told, int | float):
        return told if abs(told) <= _EXACT or (isinstance(told, float) and isfinite(told)) else str(told)[:_LONGEST]
    if isinstance(told, list | tuple):
        return one_line(str(tuple(told)), _LONGEST)
    return _of_text(str(told))


def params_from(given: Iterable[tuple[str, object]]) -> dict[str, Stored]:
    """By cleaned name; what is empty is not told."""
    return {
        one_line(name, 100): stored(value) for name, value in given if value not in ("", None) and one_line(name, 100)
    }


def numbers_from(given: Mapping[str, Any]) -> dict[int, float]:
    """A curve, of JSON: step -> value."""
    found = {}
    for step, value in given.items():
        try:
            found[int(step)] = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return {step: value for step, value in found.items() if abs(step) < 2**31}


def _of_text(text: str) -> Stored:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return one_line(text[1:-1], _LONGEST)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = number_in(text)
    if number is None or isinstance(number, tuple):
        return one_line(text if number is None else str(number), _LONGEST)
    return number if isinstance(number, float) or abs(number) <= _EXACT else one_line(text, _LONGEST)
