"""The result of `optimize confirm` as one value: which winners of a study are real. It is stored in the study's attributes.

`rounds.py` finds it; the report, the notes and `best/` show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optimize.confirm.campaign import VerdictState

CONFIRMATION = "confirmation"  # study attribute
FAILED = "did not complete"  # how the caveat about a failed replicate begins
SCALE_BOUND = "scale-bound"  # how that about a winner begins that loses to the baseline at a larger budget


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial that was repeated, against the baseline with the same seeds.

    Gains are in units of the metric; positive is better, whatever the direction.
    """

    number: int  # of the trial in the study
    pairs: int  # seeds with which both it and the baseline completed
    gain: float  # mean paired difference to the baseline, without the trial that selected it
    low: float  # simultaneous interval over all finalists and rounds
    high: float
    confirmed: bool  # the interval excludes no gain
    rejected: bool = False  # left out after a round: another finalist was better, or it was no better than the baseline
    doubts: tuple[str, ...] = ()  # caveats about its values, a line each

    @property
    def state(self) -> VerdictState:
        """Return what it counts as, in the words of every view."""
        if self.confirmed:
            return VerdictState.CONFIRMED
        return VerdictState.LUCK if self.rejected or min(self.gain, self.high) <= 0 else VerdictState.CANDIDATE


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a confirmation. Finalists are in the order of their gain, the best first."""

    finalists: tuple[Finalist, ...]
    level: float  # of the intervals, such as 0.95
    noise: float  # standard deviation of the metric between seeds, pooled over finalists
    floor: float  # the smallest gain that so many pairs could have shown
    lines: tuple[str, ...] = ()  # further results: another split, a larger budget
    repeated: tuple[int, ...] = ()  # every trial that was repeated, even if too few replicates completed
    freedom: int = 0  # degrees of freedom of the noise; 0 where they are not kept
    sure: tuple[int, ...] = ()  # of a verdict beside a search: trials that `optimize confirm` had confirmed before
    beside: bool = False  # found beside the search, with one repeat at a time; else by `optimize confirm`

    @property
    def winner(self) -> Finalist | None:
        """The best confirmed finalist; None if none is confirmed."""
        return next((finalist for finalist in self.finalists if finalist.confirmed), None)


def surely_confirmed(verdict: Verdict | None) -> tuple[int, ...]:
    """Return the trials that the last `optimize confirm` confirmed."""
    if verdict is None or verdict.beside:
        return verdict.sure if verdict is not None else ()
    return tuple(each.number for each in verdict.finalists if each.confirmed)


def verdict_attrs(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as attributes of the study."""
    return {CONFIRMATION: asdict(verdict)}


def verdict_of(attrs: Mapping[str, Any]) -> Verdict | None:
    """Read the verdict from a study's attributes; None if there is none, or another release wrote it in another form."""
    try:
        kept = attrs[CONFIRMATION]
        finalists = [Finalist(**{**known, "doubts": tuple(known.get("doubts", ()))}) for known in kept["finalists"]]
        tuples = {name: tuple(kept.get(name, ())) for name in ("lines", "repeated", "sure")}
        return Verdict(**{**kept, "finalists": tuple(finalists), **tuples})
    except (TypeError, KeyError, AttributeError):  # another release wrote it
        return None
