"""What advice achieved: how many trials came from it, how often they were the best so far, and what it cost.

It counts over records, and over what the study's attributes keep of the model's answers. It asks no model.
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
    """What was asked and answered in all calls of a study."""

    model: str = ""  # of the latest call
    prompt: int = 0  # version of its text
    requests: int = 0
    failures: int = 0  # requests without a valid proposal
    proposals: int = 0
    refused: int = 0  # of these: no choice, a broken rule, tried before, will not fit the device
    tokens_in: int = 0
    tokens_out: int = 0
    off: str = ""  # why the latest call stopped asking the model

    def attrs(self) -> dict[str, Any]:
        """Return what is written into the study's attributes."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class Rate:
    """How well one source of proposals did."""

    proposed: int  # trials
    judged: int  # those that ended COMPLETE or PRUNED
    better: int  # those that were the best so far when they ended


@dataclass(frozen=True, slots=True)
class Tally:
    """How well the advisor did beside the sampler."""

    advisor: Rate
    sampler: Rate

    @property
    def share(self) -> float:
        """Return the advisor's share of what the two proposed."""
        both = self.advisor.proposed + self.sampler.proposed
        return self.advisor.proposed / both if both else 0.0


def tally(records: Sequence[TrialRecord], metric: Metric) -> Tally:
    """Count the trials of advisor and sampler, in any state and order.

    Trials copied from another study count for neither, but their values count as the best so far.
    """
    ended = sorted((r for r in records if r.value is not None), key=_ended_at)
    better, best = set(), None
    for record in ended:
        if best is None or metric.better(record.value or 0.0, best):
            better.add(record.number)
            best = record.value
    better -= {record.number for record in ended[:1]}  # there was nothing to be better than
    return Tally(_rate(records, ADVISOR, better), _rate(records, SAMPLER, better))


def is_proposal(record: TrialRecord) -> bool:
    """Tell whether the trial was proposed in this study: not queued again, and not copied from another one."""
    return record.kind in (ADVISOR, SAMPLER) and record.requeue_of is None and not record.taken_from


def spent_of(attrs: Mapping[str, Any]) -> Spent:
    """Return what a study's attributes keep; an empty Spent if no model was ever asked."""
    kept = attrs.get(ADVICE)
    known: dict[str, Any] = {each.name: type(each.default) for each in fields(Spent)}
    found: dict[str, Any] = kept if isinstance(kept, dict) else {}
    return Spent(**{name: value for name, value in found.items() if isinstance(value, known.get(name, ()))})


def advice_line(records: Sequence[TrialRecord], spent: Spent, metric: Metric) -> str:
    """Return all of it in one line; "" if no model was ever asked."""
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
        line += f" {spent.requests} requests, {spent.failures} without a valid one"
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
