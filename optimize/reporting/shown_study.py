"""What every view needs to know of the study that it shows while a driver works on it.

It reads and writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimize.study.stored import StoredStudy
from storage import TrialRecord


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ShownStudy:
    """A study as it is stored, and what only its driver knows."""

    stored: StoredStudy
    records: Callable[[], Sequence[TrialRecord]]  # every finished trial, by number, from the driver's memory
    say: Callable[[str], None]  # takes a line for the user
    is_ours: Callable[[], bool] = _always  # False once another driver has the study: its views are the newer ones
