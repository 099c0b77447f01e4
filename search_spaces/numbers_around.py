"""Proposes numbers around a number, by what the words of its name suggest: rates by ratio, shares by steps, sizes by powers of two.

Numbers rise, and the present one is among them. `choices.py` says of which names there are choices at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set

from search_spaces.expressions import Value

WIDTHS = ("n_embd", "d_model", "model_dim", "hidden_size", "hidden_dim", "embed_dim", "embedding_dim", "dim", "width")

_SIZES = {
    "batch", "channels", "dim", "dims", "embd", "embed", "embedding", "ff", "ffn", "head", "heads", "hidden", "mlp", "rank", "size",
    "sizes", "width", "minibatch", "minibatches", "lora",
}  # fmt: skip
_DEPTHS = {"depth", "layer", "layers", "block", "blocks"}
NEAR_ONE = {"beta", "betas", "momentum", "ema"}
SHARES = {
    "cooldown", "drop", "dropout", "pdrop", "frac", "fraction", "pct", "prob", "probability", "ratio", "smoothing", "warmdown",
    "warmup",
}  # fmt: skip

_PENALTIES = {"coef", "coeff", "coefficient", "penalty", "l1", "l2", "reg", "regularization"}
_DISCOUNTS = {"gamma", "discount", "tau", "gae", "quantile"}  # near 1 the distance to 1 counts
_MIXES = {"lambda", "lam", "lamda"}  # of returns, where they are near 1; else weights of a penalty
_UP_TO_ONE = {"rho", "subsample", "colsample", "bagging", "epsilon", "eps", "threshold", "thresh", "thre"}
_EXPLORES = {"start_e", "end_e", "e_start", "e_end"}  # shares of random actions
_PARTS_OF_ALL = {"frac", "fraction"}  # nothing of all is no training

TO_ONE = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
LINEAR = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_FROM_ZERO = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # digits that people write
_FACTORS = (0.5, 0.7, 1, 1.4, 2)
_RATE_FACTORS = (0.25, 0.5, 0.7, 1, 1.4, 2, 4)
_DECADES = (0.01, 0.1, 1, 10, 100)
_LEAST_RATES = (0.0, 1e-6, 1e-5, 1e-4)  # to which a schedule falls
_DECAYS = (0.0, 0.01, 0.03, 0.1, 0.3)


def whole_around(words: Set[str], value: int, others: Mapping[str, Value]) -> Iterable[float]:
    """Return whole numbers around one that is not below 0; `others` are all settings, of which a width bounds the heads."""
    power = value > 0 and value & (value - 1) == 0
    if words & {"head", "heads"} and not words & {"dim", "size"}:
        return _heads(value, others)
    if power and not words & _DEPTHS and (value >= 16 or words & _SIZES):
        octaves = [value * 2**k // 4 for k in range(4 if value >= 4 else 5)]
        return [n for n in octaves if n > 0]
    if words & _SIZES and value > 8 and value % 100:
        return _multiples(value)
    if value <= 24 or words & _DEPTHS:
        step = max(1, round(value / 6))
        return [n for n in range(value - 2 * step, value + 3 * step, step) if n >= min(value, 1)]
    return [value, *(int(rounded(value * factor)) for factor in (0.25, 0.5, 2))] if value < 2**63 else []


def _heads(value: int, others: Mapping[str, Value]) -> Iterable[float]:
    """Return divisors of the width, if there is one, else the value halved and doubled."""
    width = next((n for key, n in others.items() if key.lower() in WIDTHS and type(n) is int), 0)
    if not 0 < value <= width <= 2**20:
        return [n for n in (value // 2, value, value * 2) if n > 0] if value else [0, 1, 2]
    dividing = [n for n in range(1, min(width, 4 * value) + 1) if width % n == 0]
    return _around(dividing, value)


def _multiples(value: int) -> Iterable[int]:
    """Return multiples of the largest power of two that divides the value and is small beside it.

    768 -> 384, 512, 768, 1024, 1536.
    """
    unit = value & -value
    while unit > 1 and value // unit < 6:
        unit //= 2
    return [max(unit, round(value * factor / unit) * unit) for factor in (1 / 2, 2 / 3, 1, 4 / 3, 2)]


def reals_around(name: str, words: Set[str], value: float) -> Iterable[float]:
    """Return fractions around one; none where zero says nothing of its scale."""
    if words & NEAR_ONE and 0 <= value < 1:
        return _around(TO_ONE, value)
    rate = "lr" in words or {"learning", "rate"} <= words
    if words & SHARES and 0 <= value <= 1 and not (rate and words & SHARES == {"warmup"}):
        return _around(_shares(words), value)
    if _is_factor(name, words, value):
        return _around(_factors(words, value), value)
    if not rate and words & {"decay", "wd"} and value >= 0:
        return (0.0, *_scaled(value, (0.5, 1, 2, 4))) if value else _DECAYS
    if value == 0 and rate and words & {"min", "end", "final"}:
        return _LEAST_RATES
    if value == 0:
        return _DECAYS if words & _PENALTIES else ()
    if words & {"eps", "epsilon"}:
        return _scaled(value, _DECADES)
    found = _scaled(value, _RATE_FACTORS if rate else _FACTORS)
    return [each for each in found if each <= 1] if rate and value < 1 else found


def _shares(words: Set[str]) -> tuple[float, ...]:
    if "warmup" in words:
        return _FROM_ZERO
    nothing = words & _PARTS_OF_ALL and not words & {"final", "min", "end", "lr"}
    return LINEAR[1:] if nothing else LINEAR


def _is_factor(name: str, words: Set[str], value: float) -> bool:
    """Return whether a number multiplies another again and again, or is a share of random actions: from above 0 to 1."""
    if name.lower() in _EXPLORES:
        return 0 < value <= 1
    if words & _MIXES and words <= _MIXES | {"gae", "td"} and 0.8 <= value < 1:
        return True
    if words & (_DISCOUNTS | _UP_TO_ONE):
        return (0.01 if words & {"eps", "epsilon"} else 0.1) <= value <= 1
    falls = "decay" in words and not words & {"weight", "wd"} and (value > 0.3 or words & {"lr", "rate"})
    return bool(falls or words & {"factor"}) and 0 < value < (1.1 if "layer" in words else 1)


def _factors(words: Set[str], value: float) -> tuple[float, ...]:
    if value >= 0.8 and words & (_DISCOUNTS | _MIXES | {"decay"}):
        return (*TO_ONE[1:], 1.0) if value < 1 else (0.8, 0.9, 0.95, 0.99, 1.0)
    return LINEAR[1 : -1 if value < 1 and words & {"factor", "decay"} else None]


def _scaled(value: float, factors: Iterable[float]) -> list[float]:
    found = [value if factor == 1 else rounded(value * factor) for factor in factors]
    return [each for each in found if each * value > 0]


def rounded(value: float) -> float:
    """Return the nearest number, by ratio, that a person would write: 0.028 -> 0.03, 0.42 -> 0.4."""
    if value == 0 or not math.isfinite(value):
        return value
    digits, exponent = f"{value:.17e}".split("e")
    near = min(_ROUND, key=lambda each: abs(math.log(each / abs(float(digits)))))
    return math.copysign(float(f"{near}e{exponent}"), value)


def _around(ladder: Sequence[float], value: float) -> list[float]:
    """Return the value with two rungs below it and two above; where a side has fewer, the other gives more."""
    below = [n for n in ladder if n < value]
    above = [n for n in ladder if n > value]
    down = min(len(below), max(2, 4 - len(above)))
    up = min(len(above), max(2, 4 - len(below)))
    return [*below[len(below) - down :], value, *above[:up]]
