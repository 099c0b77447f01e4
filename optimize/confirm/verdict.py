"""Whether the winners of a study are real: what `confirm` found, as one value that reports, notes and `best/` read.

It computes nothing and shows nothing; `confirming/` finds it, and it lies in the study's attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

CONFIRMATION = "confirmation"  # study attribute
FAILED = "did not complete"  # how the doubt begins about a finalist of which a repetition failed


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial that was repeated, against the baseline with the same seeds. Gains are in units of the metric, positive
    is better whatever the direction."""

    number: int  # of the trial in the study
    pairs: int  # repetitions that both it and the baseline completed
    gain: float  # mean paired difference to the baseline; the trial that selected it is not among the pairs
    low: float  # simultaneous interval over all finalists and rounds
    high: float
    confirmed: bool  # the interval excludes no gain
    rejected: bool = False  # left out after a round: another finalist was surely better, or it was no better
    doubts: tuple[str, ...] = ()  # what makes it suspicious, a line each


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a confirmation came to. Finalists are in the order of their gain, the best first."""

    finalists: tuple[Finalist, ...]
    level: float  # of the intervals, such as 0.95
    noise: float  # standard deviation of the metric between seeds, pooled over finalists
    floor: float  # the smallest gain that this many pairs could have told from noise
    lines: tuple[str, ...] = ()  # what else was looked at: another split, a larger budget
    repeated: tuple[int, ...] = ()  # every trial that was, those too of which too few repetitions completed

    @property
    def winner(self) -> Finalist | None:
        """The best that is confirmed; None if none is."""
        return next((finalist for finalist in self.finalists if finalist.confirmed), None)


def verdict_attrs(verdict: Verdict) -> dict[str, Any]:
    """What is written into the study."""
    return {CONFIRMATION: asdict(verdict)}


def verdict_of(attrs: Mapping[str, Any]) -> Verdict | None:
    """From a study's attributes; None if nothing was ever confirmed, or what was found is in words of another release."""
    try:
        kept = attrs[CONFIRMATION]
        finalists = [Finalist(**{**known, "doubts": tuple(known.get("doubts", ()))}) for known in kept["finalists"]]
        tuples = {name: tuple(kept.get(name, ())) for name in ("lines", "repeated")}
        return Verdict(**{**kept, "finalists": tuple(finalists), **tuples})
    except (TypeError, KeyError, AttributeError):  # of another release: it says nothing that this one understands
        return None
