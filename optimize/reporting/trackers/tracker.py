"""What a tracker is: somewhere else that finished trials are written to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from storage import TrialRecord, one_line

Curve = Sequence[tuple[float, float]]
"""Fraction of the budget, train loss."""


class Tracker(Protocol):
    """Somewhere to write trials to."""

    where: str  # in words, and how to look at it

    def has(self, record: TrialRecord) -> bool:
        """Whether this trial is there, whole."""
        ...

    def write(self, record: TrialRecord, curve: Curve) -> None:
        """Writes a finished trial; again: writes the same."""
        ...


def reason(error: Exception) -> str:
    """An error of somebody else's package as a few words, without the password that a URL may hold."""
    text = re.sub(r"//[^/@\s]+@", "//***@", str(error)) or type(error).__name__
    return one_line(text, 200).rstrip(".")
