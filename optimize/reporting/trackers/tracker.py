"""What a tracker is: another place to which finished trials are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from storage import TrialRecord, one_line

CurvePoints = Sequence[tuple[float, float]]
"""Fraction of the budget, train loss."""


class Tracker(Protocol):
    """Another place for finished trials."""

    where: str  # for people: the place, and how to view it

    def has(self, record: TrialRecord) -> bool:
        """Tell whether this trial is there as a whole."""
        ...

    def write(self, record: TrialRecord, curve: CurvePoints) -> None:
        """Write a finished trial; writing it twice changes nothing."""
        ...


def reason(error: Exception) -> str:
    """Return an error of another package in a few words, without the password that a URL may hold."""
    text = re.sub(r"//[^/@\s]+@", "//***@", str(error)) or type(error).__name__
    return one_line(text, 200).rstrip(".")
