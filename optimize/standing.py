"""Which trial lies in `best/`, and how sure it is: by value, until a confirmation has found a winner.

It reads a verdict and records; it finds no verdict (`confirming/`) and writes nothing (`showing/views.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimize.verdict import Finalist, Verdict
from storage import TrialRecord, best_record


@dataclass(frozen=True, slots=True)
class Standing:
    """A trial that is shown as the best one."""

    record: TrialRecord
    confirmed: bool
    why: str  # in a line

    def __str__(self) -> str:
        return f"{'confirmed' if self.confirmed else 'unconfirmed'}: {self.why}"

    def attrs(self) -> dict[str, object]:
        """For summary.toml."""
        return {"confirmed": self.confirmed, "confirmation": self.why}


def standing(records: Sequence[TrialRecord], direction: str, verdict: Verdict | None) -> Standing | None:
    """The confirmed winner; a trial with a better value that came later and was not looked at yet; else the best value."""
    best = best_record(records, direction)
    if best is None:
        return None
    looked_at = {} if verdict is None else {finalist.number: finalist for finalist in verdict.finalists}
    winner = None if verdict is None else verdict.winner
    of_winner = next((r for r in records if winner is not None and r.number == winner.number), None)
    if winner is None or of_winner is None:
        tried = verdict is not None and not verdict.finalists
        return Standing(best, False, _TOO_FEW if tried else _why_not(best, looked_at.get(best.number)))
    others = [record for record in records if record.number not in looked_at]
    later = best_record([of_winner, *others], direction)
    if later is not None and later.number != winner.number:
        why = f"came after trial {winner.number}, which is confirmed, with a better value: optimize confirm tells whether it is"
        return Standing(later, False, why)
    return Standing(of_winner, True, f"gain {_interval(winner)} over the baseline, {winner.pairs} other seeds")


_TOO_FEW = "too few trainings completed with other seeds"


def _why_not(best: TrialRecord, finalist: Finalist | None) -> str:
    if best.kind == "baseline":
        return "the baseline: nothing has a better value"
    if finalist is None:
        return "never trained with another seed"
    return f"gain {_interval(finalist)} over the baseline, {finalist.pairs} other seeds: not told from luck"


def _interval(finalist: Finalist) -> str:
    return f"{finalist.gain:+.6f} ({finalist.low:+.6f} to {finalist.high:+.6f})"
