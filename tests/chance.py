"""Ten thousand draws, each from a seed of its own: cheaper than Hypothesis by far, and a failure can be had again."""

from __future__ import annotations

import random
from collections.abc import Callable

MANY = 10_000


def ten_thousand_times(check: Callable[[random.Random], None]) -> None:
    for seed in range(MANY):
        try:
            check(random.Random(seed))
        except Exception as error:
            raise AssertionError(f"with random.Random({seed})") from error
