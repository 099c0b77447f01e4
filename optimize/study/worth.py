"""What ten more trials of a study are expected to bring, from how its best value fell so far.

The best of ever more trials falls about as the logarithm of their number: so do extremes of samples (B. Gnedenko, Sur la
distribution limite du terme maximum d'une serie aleatoire, Annals of Mathematics 44, 1943), and so do recorded searches.
What it fell by since a third, half and two thirds of the trials gives three slopes; their mean is carried on. Nothing is
fitted. `benchmarks/worth.py` compares what came with what was said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

from optimize.trial import sign_of
from storage import TrialRecord

AHEAD = 10  # trials
LEAST = 12  # trials before anything is said
LEAST_EQUAL = 3  # values before it is said that they do not differ
SINCE = (1 / 3, 1 / 2, 2 / 3)  # of the trials so far


def values_of(records: Iterable[TrialRecord]) -> list[float | None]:
    """Return the value of each trial that says something of its parameters, in their order; None where it has none."""
    return [record.value for record in records if record.state in ("COMPLETE", "PRUNED")]


def equal_values(values: Sequence[float | None]) -> tuple[int, int]:
    """Return how many of how many values are the same, where all are or all but one; (0, 0) elsewhere.

    A metric like that tells parameters apart no better than none. None are trials without a value.
    """
    told = Counter(value for value in values if value is not None)
    count, same = sum(told.values()), max(told.values(), default=0)
    return (same, count) if same >= max(count - 1, LEAST_EQUAL) else (0, 0)


def expected_gain(values: Sequence[float | None], direction: str, ahead: int = AHEAD) -> float | None:
    """Return by how much `ahead` more trials are expected to improve the best value, in units of the metric, 0 or more.

    `values` are those of all trials in their order, None for one without. None while too few have ended to say it.
    """
    count, sign = len(values), sign_of(direction)
    if count < LEAST:
        return None
    best = _best_so_far([None if value is None else sign * value for value in values])
    marks = [mark for mark in (round(share * count) for share in SINCE) if best[mark - 1] < _NONE]
    slopes = [(best[mark - 1] - best[-1]) / log(count / mark) for mark in marks]
    return log((count + ahead) / count) * sum(slopes) / len(slopes) if slopes else None


_NONE = float("inf")


def _best_so_far(values: Sequence[float | None]) -> list[float]:
    found, best = [], _NONE
    for value in values:
        best = best if value is None else min(best, value)
        found.append(best)
    return found
