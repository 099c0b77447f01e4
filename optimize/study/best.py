"""Which trial is the best one, and how sure that is: by value, until its repeats have confirmed one.

Everything that shows a best trial asks here. This module reads a verdict and records. It finds no verdict (`confirm/` does) and
shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from optimize.confirm.campaign import VerdictState
from optimize.confirm.verdict import Finalist, Verdict
from optimize.search import StoredSpace
from optimize.text import amount, gain_text, value_text
from storage import TrialRecord, best_record

ANY_SPACE = StoredSpace()
ONCE = "never trained with another seed"
TOO_FEW = "too few trainings completed with other seeds"


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best trial of a study, and how sure that is."""

    record: TrialRecord
    state: VerdictState | None  # None: it is the baseline
    why: str  # in a line
    luckiest: TrialRecord  # has the best single value: it may be another trial
    finalist: Finalist | None = None  # the result of training its parameters again
    open: bool = False  # whether a confirmation would tell more about it, or about a better candidate
    aside: str = ""  # a line about the best single value, where another trial has it

    @property
    def confirmed(self) -> bool:
        return self.state is VerdictState.CONFIRMED

    def __str__(self) -> str:
        return f"{self.state}: {self.why}" if self.state else self.why

    def attrs(self) -> dict[str, object]:
        """Return what `summary.toml` says about it."""
        about = {"confirmed": self.confirmed, "verdict": str(self.state or "baseline"), "confirmation": self.why}
        doubts = "; ".join(self.finalist.doubts) if self.finalist is not None else ""
        return about | ({"but": doubts} if doubts else {}) | ({"beside": self.aside} if self.aside else {})


def find_best(
    records: Sequence[TrialRecord], direction: str, verdict: Verdict | None, space: StoredSpace = ANY_SPACE
) -> BestTrial | None:
    """Return the best trial, or None if none has a value. It is a whole configuration of the search space.

    That is the confirmed winner: a trial with a better value is a candidate, until its repeats are no worse than the winner's.
    Without a winner it is the trial with the best value of those that did not turn out to be luck. A result holds for every other
    trial with the same parameters. Not all records are needed: the repeated ones, the baseline, and the best by value up to the
    first that is none of these.
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
        hopeful = best_record([r for r in records if not repeated.is_luck(r)], direction)
        is_better = hopeful is not None and not repeated.is_baseline(hopeful)
        return _by_value(hopeful if hopeful is not None and is_better else luckiest, luckiest, repeated)
    new = best_record([of_winner, *(r for r in records if not repeated.has(r))], direction) or of_winner
    asides = [_aside(luckiest, of_winner, repeated)]
    if new.number not in (of_winner.number, luckiest.number):
        asides.append(f"trial {new.number}, {value_text(new.value or 0.0)}, is a {VerdictState.CANDIDATE}: {ONCE}")
    why = f"gain {_interval(winner)} over the baseline, {amount(winner.pairs, 'other seed')}"
    aside = "; ".join(filter(None, asides))
    return BestTrial(of_winner, VerdictState.CONFIRMED, why, luckiest, winner, new is not of_winner, aside)


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

    def is_luck(self, record: TrialRecord) -> bool:
        """Tell whether the repeats of these parameters were no better than what they had to beat."""
        finalist = self.finalist(record)
        return finalist is not None and finalist.state is VerdictState.LUCK

    @property
    def why_in_vain(self) -> str:
        """Why repeats brought no result at all, "" if they did, or if there were none."""
        if self._verdict is None or self._verdict.finalists:
            return ""
        return self._verdict.lines[0] if self._verdict.beside and self._verdict.lines else TOO_FEW


def numbers_repeated(verdict: Verdict | None) -> set[int]:
    """Return the numbers of the trials that were repeated."""
    return set() if verdict is None else {*verdict.repeated, *(each.number for each in verdict.finalists)}


def _by_value(best: TrialRecord, luckiest: TrialRecord, repeated: Repeated) -> BestTrial:
    finalist, aside = repeated.finalist(best), _aside(luckiest, best, repeated)
    if repeated.is_baseline(best):
        return BestTrial(best, None, "the baseline: nothing has a better value", luckiest, aside=aside)
    if finalist is not None:
        return BestTrial(best, finalist.state, _result(finalist), luckiest, finalist, aside=aside)
    in_vain = repeated.why_in_vain or (TOO_FEW if repeated.has(best) else "")
    is_open = in_vain in ("", TOO_FEW)  # else no confirmation would tell more
    return BestTrial(best, VerdictState.CANDIDATE, in_vain or ONCE, luckiest, open=is_open, aside=aside)


def _result(finalist: Finalist) -> str:
    """Return in words what was found of a trial that is not confirmed."""
    if not finalist.pairs:
        return "it did not complete with another seed"
    gain = f"gain {_interval(finalist)} over the baseline, {amount(finalist.pairs, 'other seed')}"
    is_luck = finalist.state is VerdictState.LUCK
    return f"{gain}: {'no better than what it had to beat' if is_luck else 'which may be luck'}"


def _aside(luckiest: TrialRecord, best: TrialRecord, repeated: Repeated) -> str:
    if luckiest.number == best.number:
        return ""
    finalist, line = repeated.finalist(luckiest), _single(luckiest)
    if _same(luckiest, best):
        return f"{line}, of the same parameters"
    if finalist is not None:
        return f"{line}, {finalist.state}: with other seeds its gain is {gain_text(finalist.gain)}"
    return line if repeated.has(luckiest) else f"{line}, a {VerdictState.CANDIDATE}: {ONCE}"


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
