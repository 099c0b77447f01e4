"""Goes on with a row of choices beyond one of its ends, and writes them into the text of a search space.

The row says how it goes on: by equal steps or by equal ratios. Whole numbers stay whole, numbers above zero stay above it, and
shares stay between 0 and 1. Whether there is a reason to look further is decided elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from search_spaces.choices import words_of
from search_spaces.draft import literal
from search_spaces.expressions import SearchSpaceError, Value
from search_spaces.loader import parse_space
from search_spaces.space import Parameter, SearchSpace

_NEAREST = 4  # choices at that end, whose steps say how the row goes on
_OF_RANGES = ("low", "high", "steps", "log")
_UP_TO_ONE = {"ratio", "frac", "fraction", "pct", "share", "portion", "cooldown", "warmdown", "warmup"}
_BELOW_ONE = {
    "beta", "betas", "drop", "dropout", "ema", "gamma", "momentum", "prob", "probability", "smoothing", "sparsity",
}  # fmt: skip


def further_choices(parameter: Parameter, end: Value, most: int = 2) -> tuple[Value, ...]:
    """Return choices beyond `end`, the smallest or the largest one of an ordered parameter, the nearest first.

    () where the row can go no further: below zero, below the smallest whole number, outside of 0 to 1 for a share.
    """
    values = sorted(float(each) for each in parameter.choices if isinstance(each, int | float))
    whole = all(isinstance(each, int) for each in parameter.choices)
    row = values if end == values[-1] else values[::-1]
    found: list[float] = []
    while len(found) < most:
        beyond = _next(parameter.name, [*row, *found], math.gcd(*map(int, values)) if whole else 0)
        if beyond is None:
            break
        found.append(beyond)
    return tuple(int(each) for each in found) if whole else tuple(found)


def widened(parameter: Parameter, end: Value, further: Sequence[Value]) -> Parameter:
    """Return the parameter with further choices beyond `end`, in the order that its choices have."""
    last = end == parameter.choices[-1]
    choices = (*parameter.choices, *further) if last else (*further[::-1], *parameter.choices)
    return replace(parameter, choices=choices, ranged=False)


def widened_text(text: str, space: SearchSpace, wider: Mapping[str, Parameter]) -> str:
    """Return the text of a search space with the further choices of these parameters; all else stays as it was written.

    Raises SearchSpaceError where the text does not have the choices as `NAME = [...]`.
    """
    before = parse_space(text, space.path).parameters
    for parameter in wider.values():
        text = _with_choices(text, space, parameter)
    if parse_space(text, space.path).parameters != tuple(wider.get(each.name, each) for each in before):
        raise SearchSpaceError(*(_not_found(space, name) for name in wider))
    return text


def _with_choices(text: str, space: SearchSpace, parameter: Parameter) -> str:
    before, now = space[parameter.name].choices, parameter.choices
    begin = rf"^[ \t]*{re.escape(parameter.name)}[ \t]*=[ \t]*"
    if (table := re.search(rf"{begin}\{{([^\n]*)\}}", text, re.MULTILINE)) and space[parameter.name].ranged:
        kept = [each for each in table[1].split(",") if each.partition("=")[0].strip() not in _OF_RANGES]
        choices = f" choices = [{', '.join(map(literal, now))}] "
        return f"{text[: table.start(1)]}{','.join([*map(str.rstrip, kept), choices])}{text[table.end(1) :]}"
    found = re.search(rf"{begin}(?:\{{[^\n]*?\bchoices[ \t]*=[ \t]*)?\[", text, re.MULTILINE)
    if found is None:
        raise SearchSpaceError(_not_found(space, parameter.name))
    if now[: len(before)] == before:
        last = _last_choice(text, found.end())
        return text[:last] + "".join(f", {literal(each)}" for each in now[len(before) :]) + text[last:]
    new = now[: len(now) - len(before)]
    return text[: found.end()] + "".join(f"{literal(each)}, " for each in new) + text[found.end() :]


def _not_found(space: SearchSpace, name: str) -> str:
    return (
        f"{space.path}: {name}: its choices are not written as `{name} = [...]`. Write them so, or widen them by hand."
    )


def _last_choice(text: str, begin: int) -> int:
    """Return where the last number of an array ends whose first character is at `begin`; comments may hold anything."""
    end = at = begin
    while at < len(text) and text[at] != "]":
        if text[at] == "#":
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
            continue
        if not text[at].isspace() and text[at] != ",":
            end = at + 1
        at += 1
    return end


def _next(name: str, row: Sequence[float], unit: int) -> float | None:
    """Return what follows in a row that runs towards its end; None if nothing can. `unit` is 0 where fractions may be."""
    share, words = all(0 <= each <= 1 for each in row) and not unit, words_of(name)
    ideas = _ideas(row)
    if share and row[-1] > row[0] and words & (_UP_TO_ONE | _BELOW_ONE):
        ideas = [_within_one(row[-1], ideas[0], bool(words & _BELOW_ONE))]
    for idea in ideas:
        value = _whole(idea, row[-1], unit) if unit else _three_digits(idea)
        zero_too = min(row) == 0 or (share and bool(words & _UP_TO_ONE))
        if _is_beyond(value, row) and (min(row) < 0 or value > 0 or (value == 0 and zero_too)):
            return value
    return None


def _ideas(row: Sequence[float]) -> list[float]:
    """Return how a row may go on, the likelier first: by its last step, by its last ratio."""
    near = row[-_NEAREST:]
    steps = [b - a for a, b in pairwise(near)]
    ratios = [b / a for a, b in pairwise(near) if a > 0 and b > 0]
    by_step = row[-1] + steps[-1]
    if min(row) < 0 or not ratios:
        return [by_step]
    by_ratio = row[-1] * ratios[-1]
    equal_steps = _unevenness([abs(step) for step in steps]) <= _unevenness([max(r, 1 / r) for r in ratios]) + 1e-9
    return [by_step, by_ratio] if equal_steps else [by_ratio]


def _unevenness(sizes: Sequence[float]) -> float:
    return max(sizes) / min(sizes)


def _within_one(end: float, idea: float, below: bool) -> float:
    """Return the idea where it is a share, else what is left up to 1: half of it where a share must stay below 1."""
    if idea < 1 or not below:
        return min(idea, 1.0)
    return round(1 - float(f"{(1 - end) / 2:.2g}"), 12)


def _whole(idea: float, end: float, unit: int) -> float:
    """Return the nearest multiple of what all choices are multiples of, else the nearest whole number."""
    if not abs(idea) < 2**53:
        return math.inf
    multiple = round(idea / unit) * unit
    return float(multiple if multiple and multiple != end else round(idea))


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}") if abs(value) < 0.9 or value >= 1 else round(value, 12)


def _is_beyond(value: float, row: Sequence[float]) -> bool:
    return math.isfinite(value) and (value > row[-1] if row[-1] > row[0] else value < row[-1]) and abs(value) < 2**63
