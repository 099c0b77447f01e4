"""All configurations of a small search space."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from search_spaces import SearchSpace, Value


def configurations(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Yield every configuration, the infeasible ones included; the last parameter varies fastest."""
    for values in product(*(parameter.choices for parameter in space.parameters)):
        yield dict(zip(space.names, values, strict=True))
