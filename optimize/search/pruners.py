"""The ways of pruning on offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optimize.search.halving import Halving
from optimize.search.pruner import Judge, Pruner
from optimize.text import meant
from optimize.trial import Metric

PRUNERS: Mapping[str, Callable[[Metric, int], Judge]] = {"regression": Pruner, "halving": Halving}


def open_pruner(name: str, metric: Metric, seed: int) -> Judge:
    """Return a pruner that has seen no trial. `unknown_pruner` says beforehand whether there is one."""
    return PRUNERS[name](metric, seed)


def unknown_pruner(name: str) -> str:
    """Return what is wrong with the name of a pruner, "" if nothing."""
    if name in PRUNERS:
        return ""
    return f"--pruner: {name!r} is not on offer. Use one of {', '.join(PRUNERS)}.{meant(name.lower(), PRUNERS)}"
