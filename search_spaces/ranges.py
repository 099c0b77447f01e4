"""Turns a range, such as `{ low = 1e-4, high = 1e-2, steps = 5, log = true }`, into choices: a space stays countable."""

from __future__ import annotations

import math
from typing import TypeAlias

Number: TypeAlias = int | float

DIGITS = 4  # significant ones of a choice between the ends: more would only be noise to read
MOST_STEPS = 1_000
MOST_WHOLE = 32  # whole numbers that are listed one by one without `steps`


def range_choices(low: Number, high: Number, steps: int | None, log: bool) -> tuple[Number, ...]:
    """Return rising choices from `low` to `high`, both included exactly; whole numbers if both ends are whole.

    Without `steps` each whole number is one. With `log` neighbours have the same ratio. Raises ValueError with what is wrong
    and what to do.
    """
    whole = isinstance(low, int) and isinstance(high, int)
    _check(low, high, steps, log)
    if steps is None:
        if not whole or high - low >= MOST_WHOLE:
            raise ValueError("steps: missing. Say how many choices the range gets, such as steps = 5.")
        if not log:
            return tuple(range(int(low), int(high) + 1))
        raise ValueError("steps: missing. A range with log needs it, such as steps = 5.")
    inner = [_between(low, high, index / (steps - 1), log) for index in range(1, steps - 1)]
    rounded = [round(value) if whole else _rounded(value) for value in inner]
    choices = (low, *rounded, high)
    if list(choices) != sorted(set(choices)):
        raise ValueError(f"steps: {steps} choices between {low} and {high} are not all different. Use fewer.")
    return choices if whole else tuple(map(float, choices))


def _check(low: Number, high: Number, steps: int | None, log: bool) -> None:
    if not low < high:
        raise ValueError(f"low {low} is not below high {high}. Correct them.")
    if not math.isfinite(float(high) - float(low)):
        raise ValueError("low and high are too far apart. Choose nearer ones.")
    if log and low <= 0:
        raise ValueError(f"log: a logarithmic range begins above 0, not at {low}. Raise low, or leave log out.")
    if steps is not None and not 2 <= steps <= MOST_STEPS:
        raise ValueError(f"steps: {steps} is not from 2 to {MOST_STEPS}. Correct it.")


def _between(low: Number, high: Number, share: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
