"""What waits in a study's queue, and what decides on its trials. Nothing here acts: `study.py` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optimize.advisor import Advisor
from optimize.search import Sampler
from optimize.search.pruner import Judge
from optimize.study.baseline_fit import BaselineFit
from optimize.trial import Value

ENQUEUED = "enqueue_trial"  # the source of what a person put into the queue


@dataclass(frozen=True, slots=True)
class Queued:
    """Parameters that wait or run: first to be created, then a WAITING or RUNNING trial of the database."""

    params: Mapping[str, Value]
    kind: str
    attempt: int = 1
    alone: bool = False  # on its device
    source: str = ""  # a start's origin, an advisor's model, what a replicate repeats
    trial_id: int = -1  # until it is created
    number: int = -1


@dataclass(frozen=True, slots=True)
class Search:
    """What decides on a study's trials: which parameters are tried next, and which trials are pruned."""

    sampler: Sampler
    pruner: Judge | None  # None: no trial is pruned
    advisor: Advisor | None  # None: the sampler alone proposes
    fit: BaselineFit
