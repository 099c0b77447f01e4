"""What a search space knows of good configurations, as values: starts are tried as they are, priors guide the search."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from search_spaces.expressions import Value


@dataclass(frozen=True, slots=True)
class Start:
    """Parameters that did well somewhere; values may lie between our choices, and missing ones are the baseline's."""

    params: Mapping[str, Value] = field(hash=False)
    source: str
    script: str | None = None  # whose script measured it
    val_bpb: float | None = None

    def without(self, names: Collection[str]) -> Start:
        """Return it without these parameters; what was measured with them is then no longer known."""
        if not names & self.params.keys():
            return self
        kept = {name: value for name, value in self.params.items() if name not in names}
        return replace(self, params=kept, val_bpb=None)


@dataclass(frozen=True, slots=True)
class RankedRow:
    """A configuration of a related task with its rank there, 1 being the best; values and missing ones as in a start."""

    rank: float
    params: Mapping[str, Value] = field(hash=False)


@dataclass(frozen=True, slots=True)
class SpacePrior:
    """Configurations of a related task, the best first: where the search of a new study begins."""

    source: str
    rows: tuple[RankedRow, ...]
    script: str | None = None  # whose script measured them
