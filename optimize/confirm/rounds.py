"""The rounds of a confirmation: what is trained next, given what has been trained, and the verdict at the end.

Each round trains the baseline and the remaining finalists with one other seed. Then the winner is measured on the other half of the
validation text, and the order of several configurations under a larger budget. The same trials give the same rounds and verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sys import float_info

from optimize.confirm.agreement import agreement
from optimize.confirm.caveats import caveats
from optimize.confirm.replicates import Key, Repeatable, Variation, key_of
from optimize.confirm.significance import LEVEL, Findings, Interval, judge
from optimize.confirm.verdict import FAILED, Finalist, Verdict
from optimize.text import gain_text
from optimize.trial import Metric, Value
from search_spaces import SearchSpace
from storage import TrialRecord

LEAST = 8  # configurations that ranks are compared over


@dataclass(frozen=True, slots=True)
class Replicate:
    """A training that is needed, and the configuration that it repeats."""

    of: Repeatable
    params: Mapping[str, Value]
    key: Key


@dataclass(frozen=True, slots=True)
class Rounds:
    """Everything that a confirmation depends on, except the trained replicates, which each method takes."""

    study: str
    metric: Metric
    space: SearchSpace  # of the child study
    variation: Variation
    baseline: Repeatable
    finalists: Sequence[Repeatable]
    seeds: int
    scale: int = 1
    ranks: Sequence[Repeatable] = ()  # configurations to train under the larger budget
    compared: int = 0  # how many finalists the study has had in all its confirmations
    earlier: Sequence[int] = ()  # the trials that were finalists before
    first_doubts: Mapping[int, Sequence[str]] = field(
        default_factory=dict
    )  # caveats about the trials themselves, by number
    limits: Mapping[str, float] = field(default_factory=dict)  # summary key -> the budget of a training

    def replicate(self, of: Repeatable, seed: int, other_split: bool = False, scale: int = 1) -> Replicate:
        params = self.variation.of(of.params, seed, other_split, scale)
        return Replicate(of, params, key_of(params, self.space))

    def wanted(self, trained: Mapping[Key, TrialRecord]) -> list[Replicate]:
        """Return what to train now; [] at the end. The first two rounds go together: nobody is left out after one."""
        for number in range(1, self.seeds + 1):
            missing = [r for r in self._round(number, trained) if r.key not in trained]
            if missing and number == 1 and self.seeds > 1:
                missing += [r for r in self._round(2, trained) if r.key not in trained]
            if missing:
                return missing
        return [r for r in self._extras(trained) if r.key not in trained]

    def rounds_are_over(self, trained: Mapping[Key, TrialRecord]) -> bool:
        return self._rounds_ended(trained) == self.seeds

    def at_most(self) -> int:
        """Return the largest possible number of trainings."""
        split = 2 if self.variation.split is not None else 0
        return (1 + len(self.finalists)) * self.seeds + split + len(self.ranks)

    def announcement(self) -> str:
        """Return a line on what is about to be trained."""
        *first, last = (each.name for each in (self.baseline, *self.finalists))
        names = f"{', '.join(first)} and {last}"
        return f"confirmation: {names} are trained with the same {self.seeds} other seeds; {self.at_most()} trainings at most"

    def name_of(self, stored: Mapping[str, object]) -> str:
        """Return a replicate's name by its stored parameters: `trial 7, seed 43`, and what else differs from the trial."""
        params = self.space.decode(stored)
        mine = {p.name for p in self.variation.parameters}
        varied = {name: params[name] for name in mine}
        known = {
            key_of({**each.params, **varied}, self.space): each.name
            for each in (self.baseline, *self.finalists, *self.ranks)
        }
        seed, split, budget = self.variation.seed, self.variation.split, self.variation.budget
        parts = [known.get(key_of(params, self.space), "an earlier finalist"), f"seed {params[seed.name]}"]
        if split is not None and params[split.name] != split.choices[0]:
            parts.append(f"{split.name} = {params[split.name]}")
        if budget is not None and self.variation.scale(params) > 1:
            parts.append(f"{self.variation.scale(params)} x {budget.name}")
        return ", ".join(parts)

    def verdict(self, trained: Mapping[Key, TrialRecord]) -> Verdict | None:
        """Return the verdict; None before the last round has ended. It has no finalists if too few trainings completed."""
        if not self.rounds_are_over(trained):
            return None
        findings = self._findings(self.seeds, trained)
        if findings is None:
            lines = tuple(self._too_few(each, trained) for each in self.finalists)
            return Verdict((), LEVEL, 0.0, 0.0, lines, self._numbers())
        told = sorted(findings.intervals.items(), key=lambda entry: -entry[1].gain)
        finalists = tuple(self._finalist(self._candidate(k), found, findings, trained) for k, found in told)
        lines = tuple(self._lines(findings, trained))
        return Verdict(finalists, LEVEL, findings.noise, findings.floor, lines, self._numbers())

    def _numbers(self) -> tuple[int, ...]:
        return tuple(sorted({*self.earlier, *(each.number or 0 for each in self.finalists)}))

    # Rounds

    def _round(self, number: int, trained: Mapping[Key, TrialRecord]) -> list[Replicate]:
        """The baseline and the remaining finalists; [] if none remains."""
        before = self._findings(number - 1, trained)
        out = {k for k, found in before.intervals.items() if found.left_out} if before is not None else set()
        staying = [
            each
            for each in self.finalists
            if (each.number or 0) not in out and not self._broken(each, number - 1, trained)
        ]
        return [self.replicate(each, number) for each in (self.baseline, *staying)] if staying else []

    def _rounds_ended(self, trained: Mapping[Key, TrialRecord]) -> int:
        for number in range(1, self.seeds + 1):
            if any(each.key not in trained for each in self._round(number, trained)):
                return number - 1
        return self.seeds

    def _findings(self, rounds: int, trained: Mapping[Key, TrialRecord]) -> Findings | None:
        gains = {each.number or 0: self._gains(each, rounds, trained) for each in self.finalists}
        return judge(gains, self.seeds, self.compared)

    def _gains(self, finalist: Repeatable, rounds: int, trained: Mapping[Key, TrialRecord]) -> list[float | None]:
        return [self._gain(finalist, seed, trained) for seed in range(1, rounds + 1)]

    def _gain(
        self, finalist: Repeatable, seed: int, trained: Mapping[Key, TrialRecord], other_split: bool = False
    ) -> float | None:
        values = []
        for each in (self.baseline, finalist):
            record = trained.get(self.replicate(each, seed, other_split).key)
            if record is None or record.value is None:
                return None
            values.append(record.value)
        sign = self.metric.sign
        return min(max(sign * (values[0] - values[1]), -float_info.max), float_info.max)  # of values a script may print

    def _replicates(
        self, finalist: Repeatable, rounds: int, trained: Mapping[Key, TrialRecord]
    ) -> Iterator[TrialRecord]:
        for seed in range(1, rounds + 1):
            record = trained.get(self.replicate(finalist, seed).key)
            if record is not None:
                yield record

    def _broken(self, finalist: Repeatable, rounds: int, trained: Mapping[Key, TrialRecord]) -> bool:
        """Whether its parameters failed with another seed: then it cannot win, however good the other trainings were."""
        return any(record.state == "PRUNED" for record in self._replicates(finalist, rounds, trained))

    # The verdict

    def _candidate(self, number: int) -> Repeatable:
        return next(each for each in self.finalists if (each.number or 0) == number)

    def _finalist(
        self, finalist: Repeatable, found: Interval, findings: Findings, trained: Mapping[Key, TrialRecord]
    ) -> Finalist:
        broken = self._broken(finalist, self.seeds, trained)
        return Finalist(
            finalist.number or 0,
            found.pairs,
            found.gain,
            found.low,
            found.high,
            confirmed=self._is_real(found, findings) and not broken and not found.left_out,
            rejected=bool(found.left_out) or broken,
            doubts=tuple(dict.fromkeys(self._doubts(finalist, trained))),
        )

    def _is_real(self, found: Interval, findings: Findings) -> bool:
        return found.real and findings.noise > 0

    def _doubts(self, finalist: Repeatable, trained: Mapping[Key, TrialRecord]) -> Iterator[str]:
        yield from self.first_doubts.get(finalist.number or 0, ())
        for seed in range(1, self.seeds + 1):
            record = trained.get(self.replicate(finalist, seed).key)
            beside = trained.get(self.replicate(self.baseline, seed).key)
            if record is not None and record.value is None:
                yield f"{FAILED} with seed {self.variation.seed.choices[seed]}: {record.status}"
            elif record is not None:
                yield from caveats(record, beside, self.limits)

    def _winner(self, findings: Findings, trained: Mapping[Key, TrialRecord]) -> Repeatable | None:
        real = [
            (found.gain, k)
            for k, found in findings.intervals.items()
            if self._finalist(self._candidate(k), found, findings, trained).confirmed
        ]
        return self._candidate(max(real)[1]) if real else None

    def _extras(self, trained: Mapping[Key, TrialRecord]) -> list[Replicate]:
        findings = self._findings(self.seeds, trained)
        winner = self._winner(findings, trained) if findings is not None else None
        split = [self.replicate(each, 1, other_split=True) for each in (self.baseline, winner) if each is not None]
        larger = [self.replicate(each, 1, scale=self.scale) for each in self.ranks]
        return (split if winner is not None and self.variation.split is not None else []) + larger

    def _lines(self, findings: Findings, trained: Mapping[Key, TrialRecord]) -> Iterator[str]:
        if findings.noise == 0:
            name = self.variation.seed.name
            yield f"another {name} changes nothing: repeating the same training confirms nothing"
        for each in self.finalists:
            if each.number not in findings.intervals:
                yield self._too_few(each, trained)
        winner = self._winner(findings, trained)
        if winner is not None:
            yield from self._others(winner, findings)
            yield from self._split_lines(winner, trained)
        if self.ranks:
            yield from self._scale_lines(winner, trained)

    def _too_few(self, finalist: Repeatable, trained: Mapping[Key, TrialRecord]) -> str:
        gains = [gain for gain in self._gains(finalist, self.seeds, trained) if gain is not None]
        return f"{finalist.name}: it and the baseline completed together with {len(gains)} other seeds, too few for a verdict"

    def _others(self, winner: Repeatable, findings: Findings) -> Iterator[str]:
        """Name the finalists that the seeds cannot tell from the winner; two differ with the noise of the noisier's gain."""
        best = findings.intervals[winner.number or 0]
        near = [
            self._candidate(k).name
            for k, found in findings.intervals.items()
            if k != winner.number and not found.left_out and best.gain - found.gain < max(best.half, found.half)
        ]
        if near:
            yield f"not distinguishable from {winner.name}: {', '.join(near)}"

    def _split_lines(self, winner: Repeatable, trained: Mapping[Key, TrialRecord]) -> Iterator[str]:
        """Say what the winner gains on other text; the training is the same, so the seed adds no noise."""
        if self.variation.split is None:
            yield "no constant VAL_SPLIT: not measured on other validation data (`val_split` in workload.toml names one)"
            return
        here, there = self._gain(winner, 1, trained), self._gain(winner, 1, trained, other_split=True)
        if here is not None and there is not None:
            text = f"{self.variation.split.name} = {self.variation.split.choices[1]}"
            yield (
                f"on other validation text ({text}, same seed) {winner.name} gains {gain_text(there)}; "
                f"on its own {gain_text(here)}"
            )

    def _scale_lines(self, winner: Repeatable | None, trained: Mapping[Key, TrialRecord]) -> Iterator[str]:
        assert self.variation.budget is not None
        larger = {i: trained.get(self.replicate(each, 1, scale=self.scale).key) for i, each in enumerate(self.ranks)}
        both = [(self.ranks[i], r.value) for i, r in larger.items() if r is not None and r.value is not None]
        if len(both) < len(self.ranks) and any(record is None for record in larger.values()):
            return
        name = f"{self.scale} x {self.variation.budget.name}"
        sign = self.metric.sign
        found = {each.number: value for each, value in both}
        if winner is not None and winner.number in found and None in found:
            yield f"with {name} {winner.name} gains {gain_text(sign * (found[None] - found[winner.number]))}, one seed"
        pairs = [(each.value, value) for each, value in both if each.value is not None]
        if len(pairs) >= LEAST:
            order = agreement([a for a, _ in pairs], [b for _, b in pairs])
            yield f"with {name} the order of {len(pairs)} configurations: {order}"
        else:
            yield f"with {name} only {len(pairs)} configurations completed: no order to compare, {LEAST} are needed"
