"""What advice has come to: how many trials came from it, how often they were the best so far, and what it cost.

Counted over records, and over what was kept of the model's answers in the study's attributes; it asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from optimize.trial import Metric
from storage import TrialRecord

ADVICE = "advice"  # study attribute
ADVISOR, SAMPLER = "advisor", "sampler"  # kinds of trials


@dataclass(frozen=True, slots=True)
class Spent:
    """What was asked and answered, in all calls of a study."""

    model: str = ""  # of the latest call
    prompt: int = 0  # version of its text
    requests: int = 0
    failures: int = 0  # requests that brought no proposal of use
    proposals: int = 0
    refused: int = 0  # of these: no choice, a broken rule, tried before, will not fit the device
    tokens_in: int = 0
    tokens_out: int = 0
    off: str = ""  # why the model is not asked any more in the latest call

    def attrs(self) -> dict[str, Any]:
        """What is written into the study."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one who proposes: trials, those that have ended with parameters judged, and those that were then the best."""

    proposed: int
    judged: int
    better: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The advisor beside the sampler."""

    advisor: Rate
    sampler: Rate

    @property
    def share(self) -> float:
        """Of what the two have proposed."""
        both = self.advisor.proposed + self.sampler.proposed
        return self.advisor.proposed / both if both else 0.0


def tally(records: Sequence[TrialRecord], metric: Metric) -> Tally:
    """Over trials of any state, in any order. Trials of another study count for nobody, but the best is the best."""
    ended = sorted((r for r in records if r.value is not None), key=_ended_at)
    better, best = set(), None
    for record in ended:
        if best is None or metric.better(record.value or 0.0, best):
            better.add(record.number)
            best = record.value
    better -= {record.number for record in ended[:1]}  # there was nothing to be better than
    return Tally(_rate(records, ADVISOR, better), _rate(records, SAMPLER, better))


def is_proposal(record: TrialRecord) -> bool:
    """Whether somebody thought of it in this study: not if it was tried again, or taken over."""
    return record.kind in (ADVISOR, SAMPLER) and record.requeue_of is None and not record.taken_from


def spent_of(attrs: Mapping[str, Any]) -> Spent:
    """From a study's attributes; empty if no model was ever asked."""
    kept = attrs.get(ADVICE)
    known: dict[str, Any] = {each.name: type(each.default) for each in fields(Spent)}
    found: dict[str, Any] = kept if isinstance(kept, dict) else {}
    return Spent(**{name: value for name, value in found.items() if isinstance(value, known.get(name, ()))})


def advice_line(records: Sequence[TrialRecord], spent: Spent, metric: Metric) -> str:
    """All of it in a line; "" if no model was ever asked."""
    counts = tally(records, metric)
    if not spent.requests and not counts.advisor.proposed:
        return ""
    mine, other = counts.advisor, counts.sampler
    line = f"advice{f' of {spent.model}' if spent.model else ''}: {mine.proposed} of {mine.proposed + other.proposed}"
    line += (
        f" proposed trials ({counts.share:.0%}); {mine.better} of {mine.judged} became the best so far{_percent(mine)},"
    )
    line += f" of the sampler's {other.better} of {other.judged}{_percent(other)}"
    if spent.requests:
        line += f"; {spent.proposals - spent.refused} of its {spent.proposals} proposals were valid;"
        line += f" {spent.requests} requests, {spent.failures} in vain"
    if spent.tokens_in or spent.tokens_out:
        line += f"; {spent.tokens_in:,} tokens in, {spent.tokens_out:,} out"
    return line + (f"; switched off: {spent.off}" if spent.off else "")


def _rate(records: Sequence[TrialRecord], kind: str, better: set[int]) -> Rate:
    mine = [record for record in records if record.kind == kind and not record.taken_from]
    judged = [record for record in mine if record.state in ("COMPLETE", "PRUNED")]
    return Rate(sum(map(is_proposal, mine)), len(judged), sum(record.number in better for record in judged))


def _ended_at(record: TrialRecord) -> tuple[float, int]:
    return (record.finished.timestamp() if record.finished else 0.0, record.number)


def _percent(rate: Rate) -> str:
    return f" ({rate.better / rate.judged:.0%})" if rate.judged else ""
