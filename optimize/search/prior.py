"""What good configurations of related tasks looked like, as values: sources of configurations, each with its rank.

No value of another task is kept, only ranks: where good configurations lie. `guided.py` searches by them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from optimize.trial import Value
from search_spaces import SearchSpace, SearchSpaceError

FEWEST = 10  # configurations; a source with fewer is taken as the best of so many
KEPT = 100  # configurations of a source: the better half, and as many of the others at equal distances


@dataclass(frozen=True, slots=True)
class PriorSource:
    """A related task: distinct whole configurations of the search space, the best first."""

    name: str
    rows: tuple[Mapping[str, Value], ...]
    scores: tuple[float, ...]  # normal scores of their ranks: the best has the lowest, the mean is 0
    elsewhere: float = 0.0  # the score that is expected far from all rows
    unnamed: frozenset[str] = frozenset()  # parameters about which it says nothing

    def encode(self, space: SearchSpace) -> dict[str, Any]:
        """Return it as JSON can hold it, for an attribute of the study."""
        return {
            "name": self.name,
            "params": list(space.names),
            "rows": [list(space.encode(row).values()) for row in self.rows],
            "scores": [round(score, 4) for score in self.scores],
            "elsewhere": round(self.elsewhere, 4),
            "unnamed": sorted(self.unnamed),
        }


Prior = tuple[PriorSource, ...]
"""What a study knows of related tasks; () is nothing."""


def prior_source(
    name: str, ranked: Sequence[tuple[float, Mapping[str, Value]]], unnamed: Iterable[str] = ()
) -> PriorSource | None:
    """Return a source of distinct configurations with values, the best first by a minimised value.

    None if the values tell no good configuration from a bad one.
    """
    values = [value for value, _ in ranked]
    if not values or (len(values) > 1 and values[0] == values[-1]):
        return None
    size = max(len(values), FEWEST)
    scores = normal_scores(values, size)
    elsewhere = -sum(scores) / (size - len(scores)) if size > len(scores) else 0.0
    kept = _kept(len(values))
    rows = tuple(ranked[i][1] for i in kept)
    return PriorSource(name, rows, tuple(scores[i] for i in kept), elsewhere, frozenset(unnamed))


def decode_prior(stored: object, space: SearchSpace) -> Prior:
    """Return what `PriorSource.encode` made of each source. What another program has written there is passed over."""
    found = []
    for each in stored if isinstance(stored, list) else ():
        try:
            found.append(_decoded(each, space))
        except (KeyError, TypeError, ValueError, SearchSpaceError):
            continue
    return tuple(source for source in found if source.rows)


def normal_scores(values: Sequence[float], size: int) -> list[float]:
    """Return the normal scores of the ranks of sorted values, which are the best of `size`; equal values share one.

    G. Blom, Statistical Estimates and Transformed Beta-Variables, 1958, with (rank - 1/2) / size.
    """
    ranks = [(bisect_left(values, value) + bisect_right(values, value)) / 2 for value in values]
    return [NormalDist().inv_cdf(rank / size) for rank in ranks]


def _kept(count: int) -> list[int]:
    if count <= KEPT:
        return list(range(count))
    half = KEPT // 2
    return [*range(half), *(half + i * (count - half) // half for i in range(half))]


def _decoded(stored: Mapping[str, Any], space: SearchSpace) -> PriorSource:
    rows = [space.decode(dict(zip(stored["params"], row, strict=True))) for row in stored["rows"]]
    scores = tuple(float(score) for score in stored["scores"])
    if len(scores) != len(rows):
        raise ValueError("a score a row")
    unnamed = frozenset(map(str, stored["unnamed"]))
    return PriorSource(str(stored["name"]), tuple(rows), scores, float(stored["elsewhere"]), unnamed)
