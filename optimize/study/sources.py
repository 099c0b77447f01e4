"""What a loop works on: a search, and beside it the repeats of its best trials, in a study of their own.

Whoever drives the study says which repeats are due (`session/repeating.py`). Here is what the loop needs to know of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimize.study.callback import Callback
from optimize.study.study import Study
from optimize.trial import Job, Suggestion


@dataclass(frozen=True, slots=True)
class Source:
    """A study whose trials the loop starts and tells, and who is told about them."""

    study: Study
    prepare: Callable[[Suggestion], Job]
    callbacks: Sequence[Callback]
    beside: bool = False  # the repeats, not the search

    def numbered(self, number: int) -> int:
        """Return the number of a trial among all jobs of one executor, or back: those of repeats are below 0."""
        return ~number if self.beside else number


@dataclass(frozen=True, slots=True)
class Moment:
    """What a loop knows when a slot may get its next training."""

    searching: int  # trials of the search that have begun and count
    running: int  # trainings, repeats included
    free: int  # slots
    elapsed_s: float  # since the call began
    exhausted: bool  # the search has nothing more to try


class Repeats:
    """What is trained beside a search: here nothing."""

    @property
    def done(self) -> int:
        """How many have ended. They count as trainings of the study."""
        return 0

    @property
    def source(self) -> Source | None:
        """Their study, once there is one."""
        return None

    def decide(self, moment: Moment) -> int:
        """Queue what is due now. Return how many more trainings are kept from the search."""
        return 0

    def has_due(self) -> bool:
        """Tell whether a repeat is to start before any further trial of the search."""
        return False

    def finish(self, over: bool) -> None:
        """Take the last look, after all has ended; `over` says that the time was up."""
