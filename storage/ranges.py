"""What a parameter of finished trials ranges over, seen from the values that it had: a span of numbers, or the choices.

For trials that ran elsewhere, where nobody knows what was on offer. Every trial of a study has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from storage.tables import Stored

_WIDE = 100  # largest over smallest: from here on a plot of the numbers is logarithmic
_EXACT = 2**53  # larger whole numbers are not stored exactly


def spanning_rows(trials: Sequence[Mapping[str, Stored]]) -> list[list[dict[str, Any]]]:
    """For each trial the rows of its parameters, as `WholeTrial` has them."""
    seen: dict[str, dict[tuple[type, Stored], None]] = {}
    for params in trials:
        for name, value in params.items():
            seen.setdefault(name, {})[type(value), value] = None
    ranges = {name: _range(value for _, value in values) for name, values in seen.items()}
    texts = {name: distribution_to_json(each) for name, each in ranges.items()}
    return [[_row(name, value, ranges[name], texts[name]) for name, value in params.items()] for params in trials]


def _row(name: str, value: Stored, within: BaseDistribution, text: str) -> dict[str, Any]:
    stored = within.to_internal_repr(_choice(value, within))
    return {"param_name": name, "param_value": float(stored), "distribution_json": text}


def _range(values: Iterable[Stored]) -> BaseDistribution:
    known = list(values)
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(known) or any(abs(number) > _EXACT for number in numbers if isinstance(number, int)):
        return CategoricalDistribution(_choices(known))
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= _WIDE
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _choices(known: Sequence[Stored]) -> tuple[Stored, ...]:
    """As they are where all are of one kind, else as texts: to Optuna 1, 1.0 and True are the same choice."""
    kinds = {type(value) for value in known if value is not None}
    if len(kinds) == 1:
        return tuple(sorted(known, key=lambda value: (value is None, "" if value is None else value)))
    return tuple(sorted({str(value) for value in known}))


def _choice(value: Stored, within: BaseDistribution) -> Stored:
    if not isinstance(within, CategoricalDistribution):
        return value
    return value if any(type(each) is type(value) and each == value for each in within.choices) else str(value)
