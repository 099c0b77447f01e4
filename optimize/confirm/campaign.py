"""What a verdict inside the search depends on, and what is decided: plain values. Knows no study and computes nothing but shares.

A campaign is a study's trials so far and their repeats. A repeat is one more training of a configuration with another seed.
`policy.py` decides, and whoever drives the study does what it says:

- After each training that ended, and at the beginning, a decision is asked for.
- What is `wanted` begins first, in that order, on free slots.
- The search may begin a trial as long as `trainings + reserved < planned`, or if no number is planned.
- A training that was lost, and is tried again, is none: it is left out.
- Hours become a planned number by how many trainings they will take. At their end, `over` asks for the last look. It is not for
  somebody who watches and stops when the result looks good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from math import log

from optimize.confirm.replicates import MOST_SEEDS

FEWEST_TRIALS = 16  # of which a quarter is kept: two repeats of the baseline and two of a candidate
_FROM, _TO = (20, 5), (100, 10)  # trials, and how many of them are kept for repeats


class VerdictState(StrEnum):
    """What is known of a configuration that looks better than the baseline, in the words of every view."""

    CANDIDATE = "candidate"  # it looks better; its repeats have not shown it yet
    CONFIRMED = "confirmed"  # its repeats are better than the baseline's
    LUCK = "luck"  # its repeats are no better than what it had to beat


@dataclass(frozen=True, slots=True)
class Searched:
    """A trial of the study that has ended, the first of its configuration."""

    number: int
    value: float | None  # None: it failed, or was pruned
    pruned: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """A training of a trial's configuration with another seed; the other seeds count from 1."""

    number: int  # of the trial
    seed: int
    value: float | None = None  # None: it failed, or is running
    running: bool = False
    given: bool = False  # of a confirmation: it tells as much, and is none of the campaign's trainings


@dataclass(frozen=True, slots=True)
class Campaign:
    """Everything that a decision depends on. Repeats stand in the order in which they were begun."""

    baseline: int  # number of its trial
    searched: Sequence[Searched]
    repeats: Sequence[Repeat]
    trainings: int  # begun so far, trials and repeats together
    planned: int | None  # how many may be begun in all; None: no end is known
    slots: int = 1  # how many repeats could begin now
    over: bool = False  # the plan has come to its end, and nothing more is trained
    confirmed: Collection[int] = ()  # trials that an earlier decision confirmed
    sign: int = 1  # 1 if smaller values are better, else -1
    seeds: int = MOST_SEEDS  # how many others there are
    sure: Collection[int] = ()  # trials that `optimize confirm` confirmed: they stay so while they are ahead
    aside: int = 0  # trainings of the share that went into something else than repeats

    @property
    def spent(self) -> int:
        """How many of the trainings were not the search's."""
        return spent_on(self.repeats) + self.aside


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the repeats of a trial's configuration say. Gains are in units of the metric; positive is better."""

    number: int
    state: VerdictState
    repeats: int = 0  # with a value
    gain: float | None = None  # mean of its repeats, without its first value, against that of all the baseline's values
    error: float | None = None  # standard error of the gain; None while nothing is known of the noise
    failed: bool = False  # it did not complete with another seed


@dataclass(frozen=True, slots=True)
class Decision:
    """What to train next, and the verdict as it stands."""

    wanted: tuple[tuple[int, int], ...]  # trial and seed of each repeat that should begin now, the first first
    reserved: int  # of the trainings that may still begin, how many are not the search's; those that are wanted are among them
    evidence: tuple[Evidence, ...] = ()  # of every trial that was repeated, in that order, and of the best that was not
    best: int | None = None  # the confirmed trial with the best repeats
    noise: float | None = None  # standard deviation of one training between seeds; None while no configuration has two
    freedom: int = 0  # degrees of freedom of that
    why_none: str = ""  # why there can be no verdict

    def state_of(self, number: int) -> VerdictState | None:
        """Return what a trial counts as; None if it is no candidate and never was."""
        return next((each.state for each in self.evidence if each.number == number), None)


def share(trials: int) -> int:
    """Return how many of so many trainings are kept for repeats: a quarter of 20, a tenth of 100 or more.

    Between the two the number grows as a power of the trials. Fewer than FEWEST_TRIALS leave none: a verdict takes two repeats of
    the baseline and two of a candidate, and more than a quarter of a study is too much for it.
    """
    if trials < FEWEST_TRIALS:
        return 0
    if trials <= _FROM[0]:
        return trials // 4
    if trials >= _TO[0]:
        return trials // 10
    power = log(_TO[1] / _FROM[1]) / log(_TO[0] / _FROM[0])
    return int(_FROM[1] * (trials / _FROM[0]) ** power + 1e-9)


def spent_on(repeats: Iterable[Repeat]) -> int:
    """Return how many of these repeats are trainings of the search's plan; those of `optimize confirm` are none."""
    return sum(not each.given for each in repeats)


def planned_after(trials: int) -> int:
    """Return how many trainings a plan has whose search ends after so many trials: the trials and the share of all."""
    return next(planned for planned in count(trials) if planned - share(planned) >= trials)


def share_beside(trainings: int) -> int:
    """Return how many of the trainings so far may be repeats where no end is known."""
    return trainings // 10
