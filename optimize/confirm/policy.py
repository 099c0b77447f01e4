"""What does a search train again, and which of its trials are better than the baseline? A pure function of all values so far.

The same campaign gives the same decision, so a study that goes on after kill -9 decides what it would have decided. `campaign.py`
has what goes in and comes out, `evidence.py` the tests. Nothing here drives a study. A decision takes about a millisecond for
hundreds of trials, and ten for ten thousand.

With a planned number of trainings, the search has the first ones, and the last are kept for repeats: then all trials are known, and
the most promising are repeated first. Only the baseline's first repeats come at half-time, which tell the noise. Without a planned
number, repeats run beside the search.

Each repeat goes where it promises most. A configuration's promise is the logarithm of the odds that it gains ASSUMED against that
it gains nothing, with its first value and its repeats. So one that falls back to the baseline at once makes room for the next.
benchmarks/verdict.py compares that with what somebody reaches who knows all but the winner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt

import numpy as np
import numpy.typing as npt

from optimize.confirm.campaign import Campaign, Decision, Evidence, Repeat, VerdictState, share, share_beside
from optimize.confirm.evidence import Comparison, Mean, level_beside, level_of_plan
from optimize.confirm.noise import spread, within

FIRST = 2  # repeats of the baseline before any candidate's: every comparison needs them
ASSUMED = 3.0  # standard deviations of the gain that repeats are meant to find
CLIP = 4.0  # standard deviations: a larger gain of one training promises no more, it may be a stray
TIE = 1e-3  # what a gain beyond CLIP still counts
PENDING = 0.5  # what a configuration's promise loses by each repeat that is under way
LARGE, TINY = 1e100, 1e-300  # a value whose square is still far from the largest float; stands for no noise


def decide(campaign: Campaign) -> Decision:
    """Return what to repeat now and the verdict as it stands."""
    reserved = max(_kept(campaign) - campaign.spent, 0)
    scene = _scene(campaign)
    why_none = "the baseline has not completed" if scene is None else scene.why_none()
    if scene is None or why_none:
        return Decision((), 0 if _is_time(campaign, reserved) else reserved, why_none=why_none)
    evidence = scene.evidence()
    at_most = _at_most(campaign, reserved)
    wanted = scene.next_repeats(min(at_most, max(campaign.slots, 1)), baseline_only=not _is_time(campaign, reserved))
    if at_most and not wanted and _is_time(campaign, reserved):
        reserved = 0  # settled: the search may have the rest
    noise = scene.comparison.within
    return Decision(
        tuple(wanted[: campaign.slots]),
        reserved,
        tuple(evidence),
        scene.best,
        sqrt(noise.value) * scene.scale if noise is not None else None,
        round(noise.freedom) if noise is not None else 0,
    )


def _kept(campaign: Campaign) -> int:
    return 0 if campaign.planned is None else share(campaign.planned)


def _running(campaign: Campaign) -> int:
    return sum(each.running for each in campaign.repeats)


def _is_time(campaign: Campaign, reserved: int) -> bool:
    """Whether candidates may be repeated: the search has begun its part, or no end is known."""
    return campaign.planned is None or campaign.trainings + reserved >= campaign.planned


def _at_most(campaign: Campaign, reserved: int) -> int:
    """Return how many repeats may begin now, if there were a slot for each.

    At most half of what is left is under way at once, so that the others know what came of it.
    """
    if campaign.over:
        return 0
    if campaign.planned is None:
        left = share_beside(campaign.trainings) - campaign.spent
    elif 2 * campaign.trainings < campaign.planned:
        return 0
    else:
        left = min(reserved, campaign.planned - campaign.trainings)
    running = _running(campaign)
    return max((max(left, 0) + running + 1) // 2 - running, 0)


@dataclass(slots=True)
class _Arm:
    """A configuration, and its values in units of `_Scene.scale`; larger is better."""

    number: int
    first: float
    repeats: list[float] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)
    pending: int = 0  # repeats that run, or are about to
    begun: int = 0  # position of its last repeat among all
    failed: bool = False

    @property
    def mean(self) -> Mean:
        return Mean.of(self.repeats, self.first)


@dataclass(slots=True)
class _Scene:
    """A campaign in numbers."""

    campaign: Campaign
    scale: float
    baseline: _Arm
    repeated: list[_Arm]  # in the order of their first repeats
    fresh: list[_Arm]  # the others, the best first
    comparison: Comparison
    states: dict[int, VerdictState] = field(default_factory=dict)
    best: int | None = None

    def why_none(self) -> str:
        """Return why there can be no verdict; "" if there can."""
        pairs = [(arm.first, value) for arm in (self.baseline, *self.repeated) for value in arm.repeats]
        if len(pairs) > 2 and all(first == value for first, value in pairs):
            return "another seed changes nothing"
        return ""

    # The verdict

    def evidence(self) -> list[Evidence]:
        """Return what is known of each repeated trial and of the best of the others; finds `states` and `best`."""
        arms = [arm for arm in self.repeated if arm.repeats and not arm.failed]
        confirmed = [arm for arm in arms if self._is_confirmed(arm)]
        best = max(confirmed, key=lambda arm: arm.mean.value, default=None)
        self.best = best.number if best is not None else None
        self.states = {arm.number: VerdictState.CONFIRMED for arm in confirmed}
        bar = self._bar(best)
        for arm in self.repeated:
            lost = arm.failed or (bool(arm.repeats) and arm.mean.value <= bar)
            self.states.setdefault(arm.number, VerdictState.LUCK if lost else VerdictState.CANDIDATE)
        self.fresh = [arm for arm in self.fresh if arm.first > bar]
        return [self._evidence(arm) for arm in (*self.repeated, *self.fresh[:1])]

    def _bar(self, best: _Arm | None) -> float:
        """What repeats have to be better than: the baseline's, or those of the confirmed best."""
        bar = self.comparison.to_beat()
        return bar if best is None else max(bar, best.mean.value)

    def _is_confirmed(self, arm: _Arm) -> bool:
        campaign, count, before = self.campaign, len(arm.repeats), arm.number in self.campaign.confirmed
        if arm.number in campaign.sure and arm.mean.value > self.comparison.to_beat():
            return True
        if campaign.planned is None:
            level = level_beside(count, arm.begun, before)
        else:
            kept = _kept(campaign)
            is_last = campaign.over or (campaign.spent >= kept and not _running(campaign))
            level = level_of_plan(count, max(kept, len(campaign.repeats)), is_last or before)
        return self.comparison.chance(arm.mean) <= level

    def _evidence(self, arm: _Arm) -> Evidence:
        state = self.states.get(arm.number, VerdictState.CANDIDATE)
        if not arm.repeats:
            return Evidence(arm.number, state, failed=arm.failed)
        error = self.comparison.error(arm.mean)
        return Evidence(
            arm.number,
            state,
            len(arm.repeats),
            (arm.mean.value - self.comparison.baseline.value) * self.scale,
            error * self.scale if error is not None else None,
            arm.failed,
        )

    # What to repeat

    def next_repeats(self, at_most: int, baseline_only: bool = False) -> list[tuple[int, int]]:
        """Return the next repeats, the most useful first. Call `evidence` before."""
        found: list[tuple[int, int]] = []
        racing = [arm for arm in self.repeated if self.states[arm.number] is VerdictState.CANDIDATE]
        racing += self.fresh[:at_most]
        while len(found) < at_most:
            arm = self._next(racing)
            if arm is None or (baseline_only and arm is not self.baseline):
                break
            seed = next(seed for seed in range(1, self.campaign.seeds + 1) if seed not in arm.seeds)
            arm.seeds.add(seed)
            arm.pending += 1
            found.append((arm.number, seed))
        return found

    def _next(self, racing: Sequence[_Arm]) -> _Arm | None:
        """The most promising candidate, but the baseline has as many values as that, or more; None if neither has a seed left."""
        values = 1 + len(self.baseline.repeats) + self.baseline.pending
        with_seeds = [arm for arm in racing if len(arm.seeds) < self.campaign.seeds]
        leader = max(with_seeds, key=self._promise, default=None)
        few = values <= FIRST or (leader is not None and values < len(leader.repeats) + leader.pending)
        return self.baseline if few and len(self.baseline.seeds) < self.campaign.seeds else leader

    def _promise(self, arm: _Arm) -> float:
        """The log of the odds that a configuration gains ASSUMED, rather than nothing, but for a factor."""
        unit = self._unit()
        bar = self.comparison.to_beat()
        gains = [(value - bar) / unit for value in (arm.first, *arm.repeats)]
        clipped = [min(max(gain, -CLIP), CLIP) - ASSUMED / 2 for gain in gains]
        return sum(clipped) + TIE * gains[0] - PENDING * arm.pending

    def _unit(self) -> float:
        """The standard deviation that gains are seen in: where configurations differ much, the repeats know better."""
        pooled, repeats = self.comparison.pooled, self.comparison.within
        known = [pooled.value] if pooled is not None else []
        if repeats is not None and repeats.freedom > 1:
            known.append(2 * repeats.value)
        return sqrt(min(known, default=0.0)) or TINY


def _scene(campaign: Campaign) -> _Scene | None:
    """None while the baseline has no value."""
    known = [each for each in campaign.searched if each.value is not None and isfinite(each.value)]
    values = np.array([each.value for each in known], dtype=float)
    again = [abs(each.value) for each in campaign.repeats if each.value is not None and isfinite(each.value)]
    largest = max(float(np.abs(values).max(initial=0.0)), *again, 0.0)
    scale = largest if largest > LARGE else 1.0
    values *= -campaign.sign / scale
    numbers = [each.number for each in known]
    first = dict(zip(numbers, values.tolist(), strict=True))
    if campaign.baseline not in first:
        return None
    arms = _arms(campaign.repeats, first, campaign.sign, scale)
    baseline = arms.pop(campaign.baseline, None) or _Arm(campaign.baseline, first[campaign.baseline])
    best = np.argsort(-values, kind="stable")[: len(arms) + 1 + max(campaign.slots, 1)].tolist()
    fresh = [numbers[k] for k in best if numbers[k] not in arms and numbers[k] != baseline.number]
    pruned = sum(each.pruned for each in campaign.searched)
    return _Scene(
        campaign,
        scale,
        baseline,
        list(arms.values()),
        [_Arm(number, first[number]) for number in fresh],
        _comparison(baseline, arms.values(), values, pruned),
    )


def _arms(repeats: Iterable[Repeat], first: dict[int, float], sign: int, scale: float) -> dict[int, _Arm]:
    arms: dict[int, _Arm] = {}
    for position, each in enumerate(repeats, 1):
        if each.number not in first:
            continue
        arm = arms.setdefault(each.number, _Arm(each.number, first[each.number]))
        arm.seeds.add(each.seed)
        arm.begun = position
        if each.running:
            arm.pending += 1
        elif each.value is None or not isfinite(each.value):
            arm.failed = True
        else:
            arm.repeats.append(-sign * each.value / scale)
    return arms


def _comparison(baseline: _Arm, repeated: Iterable[_Arm], searched: npt.NDArray[np.float64], pruned: int) -> Comparison:
    own = [baseline.first, *baseline.repeats]
    repeats = within([own, *(arm.repeats for arm in repeated)])
    bound = spread(searched, pruned)
    pooled = bound.with_more(repeats) if bound is not None else repeats
    typical = float(np.median(np.concatenate([searched, np.full(pruned, searched.min())])))
    return Comparison(Mean.of(own), typical, pooled, repeats)
