"""Which trial is the best one, and how sure that is: by value, until a confirmation has found a winner.

Everything that shows a best trial asks here. This module reads a verdict and records. It finds no verdict (`confirm/` does) and
shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from optimize.confirm.verdict import Finalist, Verdict
from optimize.search import StoredSpace
from optimize.text import gain_text, value_text
from storage import TrialRecord, best_record

ANY_SPACE = StoredSpace()


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best trial of a study, and how sure that is."""

    record: TrialRecord
    confirmed: bool
    why: str  # in a line
    luckiest: TrialRecord  # has the best single value: once there is a winner, it may be another trial
    finalist: Finalist | None = None  # the result of training its parameters again
    open: bool = False  # whether a confirmation would tell more about it
    aside: str = ""  # a line about the best single value, where another trial has it

    def __str__(self) -> str:
        return f"{'confirmed' if self.confirmed else 'unconfirmed'}: {self.why}"

    def attrs(self) -> dict[str, object]:
        """Return what `summary.toml` says about it."""
        return {"confirmed": self.confirmed, "confirmation": self.why, **({"beside": self.aside} if self.aside else {})}


def find_best(
    records: Sequence[TrialRecord], direction: str, verdict: Verdict | None, space: StoredSpace = ANY_SPACE
) -> BestTrial | None:
    """Return the best trial, or None if none has a value. It is a whole configuration of the search space.

    That is the confirmed winner, or a trial that came later with a better value and was not repeated yet. Without a winner it is
    the trial with the best value. A result holds for every other trial with the same parameters. Not all records are needed: the
    repeated ones, the baseline, and the best by value up to the first that is none of these.
    """
    luckiest, repeated = best_record(records, direction), Repeated(records, verdict)
    if luckiest is None:
        return None
    if why_not := space.why_not(luckiest):
        best = find_best([r for r in records if not space.why_not(r)], direction, verdict)
        return best and replace(
            best, luckiest=luckiest, aside=f"{_single(luckiest)}, which cannot be trained: {why_not}"
        )
    winner = None if verdict is None else verdict.winner
    of_winner = next((r for r in records if winner is not None and r.number == winner.number), None)
    if winner is None or of_winner is None:
        return _by_value(luckiest, repeated)
    new = best_record([of_winner, *(r for r in records if not repeated.has(r))], direction) or of_winner
    aside = _aside(luckiest, new, repeated)
    if new.number != winner.number:
        why = f"better than trial {winner.number}, which is confirmed, and not confirmed yet"
        return BestTrial(new, False, why, luckiest, open=True, aside=aside)
    why = f"gain {_interval(winner)} over the baseline, {winner.pairs} other seeds"
    return BestTrial(of_winner, True, why, luckiest, winner, aside=aside)


def why_no_best(objectives: int) -> str:
    """Return why a study of so many objectives has no best trial, "" where one may be it."""
    return f"it has {objectives} objectives, so no one trial is the best" if objectives > 1 else ""


class Repeated:
    """The configurations that were trained with other seeds, as far as they are among the records; the baseline is one."""

    def __init__(self, records: Iterable[TrialRecord], verdict: Verdict | None) -> None:
        self._verdict = verdict
        numbers = numbers_repeated(verdict)
        self._records = [r for r in records if r.number in numbers or r.kind == "baseline"]
        self._finalists = {} if verdict is None else {each.number: each for each in verdict.finalists}

    def has(self, record: TrialRecord) -> bool:
        return any(_same(record, other) for other in self._records)

    def is_baseline(self, record: TrialRecord) -> bool:
        return any(_same(record, other) for other in self._records if other.kind == "baseline")

    def finalist(self, record: TrialRecord) -> Finalist | None:
        """Return the result for these parameters; None if there is none, or too few replicates completed."""
        same = (other.number for other in self._records if _same(record, other))
        return next((self._finalists[number] for number in same if number in self._finalists), None)

    @property
    def in_vain(self) -> bool:
        """Whether a confirmation ended without any result."""
        return self._verdict is not None and not self._verdict.finalists


def numbers_repeated(verdict: Verdict | None) -> set[int]:
    """Return the numbers of the trials that were repeated."""
    return set() if verdict is None else {*verdict.repeated, *(each.number for each in verdict.finalists)}


def _by_value(best: TrialRecord, repeated: Repeated) -> BestTrial:
    finalist = repeated.finalist(best)
    if repeated.is_baseline(best):
        return BestTrial(best, False, "the baseline: nothing has a better value", best)
    if finalist is not None:
        why = f"gain {_interval(finalist)} over the baseline, {finalist.pairs} other seeds: which may be luck"
        return BestTrial(best, False, why, best, finalist)
    if repeated.in_vain or repeated.has(best):
        return BestTrial(best, False, "too few trainings completed with other seeds", best, open=True)
    return BestTrial(best, False, "never trained with another seed", best, open=True)


def _aside(luckiest: TrialRecord, best: TrialRecord, repeated: Repeated) -> str:
    if luckiest.number == best.number:
        return ""
    finalist, line = repeated.finalist(luckiest), _single(luckiest)
    if _same(luckiest, best):
        return f"{line}, of the same parameters"
    return line if finalist is None else f"{line}: with other seeds its gain is {gain_text(finalist.gain)}"


def _single(luckiest: TrialRecord) -> str:
    return f"the best single value, {value_text(luckiest.value or 0.0)}, is that of trial {luckiest.number}"


def _same(one: TrialRecord, other: TrialRecord) -> bool:
    """Trials of an imported table may have no parameters: then only the number tells."""
    return one.number == other.number or (bool(one.params) and one.params == other.params)


def _interval(finalist: Finalist) -> str:
    return f"{gain_text(finalist.gain)} ({gain_text(finalist.low)} to {gain_text(finalist.high)})"


def baseline_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the completed trial of the script with the profile's constants."""
    return next((r for r in records if r.kind == "baseline" and r.value is not None), None)
