"""How each ending looks in every figure: a colour that colour-blind eyes tell apart, and a shape that needs no colour.

It draws nothing. Frequent endings have Okabe and Ito's colours; all can be seen on white and on dark.
`marker` is matplotlib's word for a shape, `symbol` plotly's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ACCENT = "#007a5e"  # improvements, the best, the confirmed: nothing else has this colour
GREY = "#9a9a9a"  # trials that changed nothing


@dataclass(frozen=True, slots=True)
class Look:
    """Of one ending; `label` is its word for people."""

    label: str
    colour: str
    marker: str
    symbol: str


# In the order of legends and tables: what was of use, what was bad, what was the world's fault, what is not over.
LOOKS = {
    "complete": Look("complete", "#0072b2", "o", "circle"),
    "hopeless": Look("hopeless, cut", "#e69f00", "v", "triangle-down"),
    "out_of_memory": Look("out of memory", "#d55e00", "s", "square"),
    "diverged": Look("diverged", "#cc79a7", "^", "triangle-up"),
    "infeasible": Look("infeasible", "#8f7700", "D", "diamond"),
    "timed_out": Look("timed out", "#7f6bb5", "P", "cross"),
    "silent": Look("silent", "#56b4e9", "<", "triangle-left"),
    "crashed": Look("crashed", "#b8423c", "X", "x"),
    "environment": Look("environment", "#94694a", ">", "triangle-right"),
    "busy": Look("busy device", "#8a8a8a", "h", "hexagon"),
    "cancelled": Look("cancelled", "#6c7f92", "d", "diamond-tall"),
    "lost": Look("lost", "#7d7d5a", "*", "star"),
    "pruned": Look("pruned", "#e69f00", "v", "triangle-down"),  # these two of other programs, which say no more
    "fail": Look("failed", "#b8423c", "X", "x"),
    "running": Look("running", "#0b6e99", ".", "circle-open"),
    "waiting": Look("waiting", "#9a9a9a", ".", "circle-open"),
}


def look_of(ending: str) -> Look:
    """That of an ending as `series.ending_of` names it; one that is unknown looks like a failure and keeps its name."""
    return LOOKS.get(ending) or Look(ending.replace("_", " ")[:40], "#b8423c", "X", "x")


def in_order(endings: Iterable[str]) -> list[str]:
    """Each once, in the order of legends; those of no known look last."""
    known = list(LOOKS)
    return sorted(set(endings), key=lambda ending: (known.index(ending) if ending in known else len(known), ending))
