"""Judges an *environment* ending: does this one configuration need another machine, or can no trial run here any more?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimize.search.endings import NEEDS_ANOTHER, Consequence, consequence_of
from optimize.text import changes
from optimize.trial import Outcome, TrialStatus
from storage import Stored, TrialRecord


class EnvironmentEndings:
    """The *environment* endings in a row of one call."""

    def __init__(self) -> None:
        self._suspect: Mapping[str, Stored] | None = None  # the one configuration that has ended so, in a row
        self.broken = False  # nothing can run here

    def consequence(
        self, outcome: Outcome, params: Mapping[str, Stored], attempt: int, others_train: bool
    ) -> Consequence:
        """Return what this ending means, and note whether the environment is `broken`.

        It is where no other configuration trains, or where a second one ends so for the first time, with nothing that went
        well in between. One that had ended so before says nothing new.
        """
        usual = consequence_of(outcome)
        if outcome.status is not TrialStatus.ENVIRONMENT:
            self._suspect = self._suspect if usual.state == "FAIL" else None
            return usual
        self.broken = not others_train or (self._suspect not in (None, params) and attempt == 1)
        self._suspect = params
        return NEEDS_ANOTHER if others_train else usual


def standing_lines(records: Sequence[TrialRecord], baseline: Mapping[str, Stored]) -> list[str]:
    """Return a line on each configuration that was given up because it needs another environment."""
    again = {record.requeue_of for record in records}
    return [
        f"not possible here: {changes(record.params, baseline)}: {record.reason} (trial {record.number})"
        for record in records
        if record.status == TrialStatus.ENVIRONMENT and record.attempt > 1 and record.number not in again
    ]
