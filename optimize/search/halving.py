"""Asynchronous successive halving in its stopping form: a trial whose early loss is not among the best third is hopeless.

L. Li et al., "A system for massively parallel hyperparameter tuning", 2020 (arXiv 1810.05934), with one rung: the loss at RUNG
percent of the budget is compared with every loss that was seen there, of running and of cut trials too. It begins with few
finished trials, where `pruner.py` waits for sixteen, and asks for less: that a trial's loss is worse, not that its value will be.

So it has to watch whether values follow losses at all. In each pair of finished trials the one with the better loss has the
better value, or not. While too few pairs agree, nothing is cut. Then all trials end, and their pairs tell more.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass

from optimize.search.pruner import SPARED, Params
from optimize.trial import Metric
from storage import TrialRecord

RUNG, LAST_RUNG = 15, 30  # percents; a script that prints nothing between them is not judged
KEPT = 3  # one of so many losses goes on
FINISHED = 4  # complete trials before anything is cut
FOLLOWS = (
    0.65  # of the pairs must agree: 0.5 is chance. On the recorded trials of `auto`, 0.6 cuts one of the best tenth
)


@dataclass(frozen=True, slots=True)
class RungDecision:
    """Why a trial is hopeless."""

    percent: int
    loss: float
    bound: float  # the worst loss that goes on
    seen: int  # losses
    spared: bool  # runs on all the same

    def __str__(self) -> str:
        return (
            f"train loss {self.loss:.3f} at {self.percent} %: the best third of {self.seen} is no worse than "
            f"{self.bound:.3f}"
        )


class Halving:
    """Judge the running trials of one study. The same seed and trials in the same order give the same decisions."""

    def __init__(self, metric: Metric, seed: int) -> None:
        self._sign, self._seed = metric.sign, seed
        self._losses: list[float] = []  # of ended trials, sorted
        self._running: dict[int, float] = {}
        self._complete: list[tuple[float, float]] = []  # loss and value, smaller is better
        self._agree = self._pairs = 0

    def ended(self, record: TrialRecord) -> None:
        """Learn from a trial that completed or was cut, and from the losses of all others."""
        self._running.pop(record.number, None)
        at = _rung(record.curve)
        if at is None:
            return
        loss = record.curve[at]
        insort(self._losses, loss)
        if record.value is None:
            return
        value = self._sign * record.value
        for other_loss, other_value in self._complete:
            signs = (loss - other_loss) * (value - other_value)
            self._pairs += signs != 0
            self._agree += signs > 0
        self._complete.append((loss, value))

    def judge(self, number: int, params: Params, curve: Mapping[int, float]) -> RungDecision | None:
        """Return why a running trial is hopeless by its loss at the rung; None if it is not, or was judged before."""
        at = _rung(curve)
        if at is None or number in self._running:
            return None
        loss = curve[at]
        others = sorted([*self._losses, *self._running.values()])
        self._running[number] = loss
        rank, seen = bisect_left(others, loss), len(others) + 1
        if not self._follows() or rank < max(seen // KEPT, 1):
            return None
        spared = random.Random(f"{self._seed} spares {number}").random() < SPARED
        return RungDecision(at, loss, others[max(seen // KEPT, 1) - 1], seen, spared)

    def _follows(self) -> bool:
        return len(self._complete) >= FINISHED and self._agree >= FOLLOWS * self._pairs > 0


def _rung(curve: Mapping[int, float]) -> int | None:
    """Return the first percent at which a trial can be compared."""
    return min((percent for percent in curve if RUNG <= percent <= LAST_RUNG), default=None)
