"""How often does a verdict inside the search confirm luck, and how often does it find what is real? Simulated campaigns.

    python benchmarks/verdict.py                1,000 campaigns of a kind, 200 of 200 trainings; ends with 1 if a bound is missed
    python benchmarks/verdict.py --smoke        10 of each, no bounds
    python benchmarks/verdict.py --only power   one of the tables: real, nulls, power, other, curves or beside

A campaign is a search whose trials and repeats are decided by `optimize/confirm/policy.py`, as in a study. All values of all
configurations with all seeds are drawn before it begins: a value depends on nothing but its configuration and its seed, however a
driver walks. Gains and distances are in standard deviations of a training.

- real: nulls and power with the product's own loop, studies and databases (`verdict_driving.py`). All other tables walk the policy
  alone, which is fifty times faster. Each campaign must end as that walk does.
- nulls: no configuration is better than another. `lognormal` has a long tail of bad values; of `stray`, one training in 10 is 10
  times noisier. A campaign is false if it ends with a confirmed trial. `ever` counts those that showed one at any time.
- power: one configuration of the search, at a random place, is better, and the others are equal to the baseline.
- other: nothing is better, but configurations differ: in what they are worth, in their noise, in what a seed does to all of them.
- curves: power where nothing is asked for: other noise, other configurations that are worse or fail, several slots.
- beside: no end is known. Repeats are a tenth of the trainings so far.

Beside the power stands what a seer reaches, who knows the noise, the gain and the true value of the baseline and of all equal
configurations, repeats the most likely configuration each time, counts the first values as well, and is wrong in 2 of 100 nulls. No
other way of giving so many repeats does much better. So of 100 trainings nobody finds a gain of 2.5 in 85 of 100.

Bounds: at most 2 of 100 nulls are false, power as ASKED. In the table `other` at most 5 of 100 are false, and two standard errors
above that are no miss. Where noises differ by a typical factor of 2.5 there is no bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from verdict_worlds import KINDS, OTHER, Floats, Make, Rng, World, equal, worse

from optimize.confirm.campaign import Campaign, Decision, Repeat, Searched, VerdictState, share
from optimize.confirm.policy import decide

REPETITIONS, OF_200, SMOKE = 1_000, 200, 10
STUDIES = 50  # of one database
FALSE, FALSE_OTHER = 0.02, 0.05
ASKED = {(20, 4.0): 0.90, (20, 2.5): 0.55, (100, 2.5): 0.60}


@dataclass
class Walk:
    """One campaign, as a driver with so many slots walks it; repeats that begin together end together."""

    world: World
    trainings: int
    planned: bool = True
    slots: int = 1
    pruned: float = 0.0  # the share of the search's trials that is pruned where they are worst
    searched: list[Searched] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)  # by the last decision
    ever: set[int] = field(default_factory=set)  # trials that were the confirmed best at some time

    @property
    def begun(self) -> int:
        return len(self.searched) + len(self.repeats)

    def decide(self, over: bool = False) -> Decision:
        planned = self.trainings if self.planned else None
        campaign = Campaign(
            0, self.searched, self.repeats, self.begun, planned, self.slots, over=over, confirmed=self.confirmed
        )
        found = decide(campaign)
        self.confirmed = {each.number for each in found.evidence if each.state is VerdictState.CONFIRMED}
        self.ever |= set() if found.best is None else {found.best}
        return found

    def run(self) -> Decision:
        while self.begun < self.trainings:
            found = self.decide()
            for number, seed in found.wanted:
                self.repeats.append(Repeat(number, seed, self.world.value(number, seed)))
            if not found.wanted:
                self._search(max(self.trainings - self.begun - found.reserved, 1) if self._is_early() else 1)
        return self.decide()

    def _is_early(self) -> bool:
        """Whether nothing can be decided yet, which saves asking."""
        return self.planned and 2 * self.begun < self.trainings

    def _search(self, trials: int) -> None:
        for _ in range(min(trials, self.trainings // 2 - self.begun) if self._is_early() else 1):
            number = len(self.searched)
            value = self.world.value(number, 0)
            others = [each.value for each in self.searched if each.value is not None]
            if number and value is not None and self.pruned and value > np.quantile(others, 1 - self.pruned):
                self.searched.append(Searched(number, None, pruned=True))
            else:
                self.searched.append(Searched(number, value))


@dataclass
class Shares:
    """Of campaigns: those that end with the right trial, with a wrong one, and that ever showed a wrong one."""

    right: float
    false: float
    ever: float
    repeats: float  # mean number


def worlds(trainings: int, campaigns: int, seed: int) -> Iterator[Rng]:
    """Yield what draws the world of each campaign."""
    return map(np.random.default_rng, np.random.SeedSequence((seed, trainings)).spawn(campaigns))


def walk(make: Make, trainings: int, campaigns: int, seed: int = 0, **how: object) -> Shares:
    right = false = ever = repeats = 0
    for rng in worlds(trainings, campaigns, seed):
        one = Walk(make(rng, trainings), trainings, **how)  # type: ignore[arg-type]
        best = one.run().best
        right += best is not None and best == one.world.better
        false += best is not None and best != one.world.better
        ever += bool(one.ever - {one.world.better})
        repeats += len(one.repeats)
    return Shares(right / campaigns, false / campaigns, ever / campaigns, repeats / campaigns)


def driven(make: Make, trainings: int, campaigns: int, seed: int = 0) -> tuple[Shares, int]:
    """Return what real studies come to, and how many of them ended otherwise than the walk through the same world."""
    from verdict_driving import drive, plan_in  # here, so that the walks need no plan

    right = false = ever = repeats = differing = 0
    with tempfile.TemporaryDirectory() as place:
        plan = plan_in(Path(place))
        for number, rng in enumerate(worlds(trainings, campaigns, seed)):
            if number % STUDIES == 0:
                plan = replace(plan, settings=replace(plan.settings, runs=Path(place) / f"runs-{number}"))
            world = make(rng, trainings)
            found = drive(plan, f"s{number}", world.value, trainings)
            right += found.best is not None and found.best == world.better
            false += found.best is not None and found.best != world.better
            ever += bool(found.ever - {world.better})
            repeats += found.repeats
            differing += Walk(world, trainings).run().best != found.best
    return Shares(right / campaigns, false / campaigns, ever / campaigns, repeats / campaigns), differing


def seer(trainings: int, gain: float, campaigns: int) -> float:
    """Return how often one who knows everything but which configuration it is finds it, see above."""
    rng, repeats = np.random.default_rng(0), share(trainings)
    arms = np.arange(campaigns), trainings - repeats - 1

    def odds(better: float) -> tuple[Floats, npt.NDArray[np.intp]]:
        gains = np.zeros((campaigns, arms[1]))
        gains[:, 0] = better
        found = gain * (gains + rng.normal(size=gains.shape)) - gain**2 / 2
        for _ in range(repeats):
            likely = found.argmax(axis=1)
            value = gains[arms[0], likely] + rng.normal(size=campaigns)
            found[arms[0], likely] += gain * value - gain**2 / 2
        return np.logaddexp.reduce(found, axis=1), found.argmax(axis=1)

    (by_luck, _), (real, which) = odds(0.0), odds(gain)
    return float(np.mean((real > np.quantile(by_luck, 1 - FALSE)) & (which == 0)))


def show_real(campaigns: int, some: int) -> Iterator[str]:
    print(f"{'real studies':<40}{'campaigns':>10}{'right':>8}{'false':>8}{'ever':>8}{'repeats':>9}{'differ':>8}")
    if campaigns <= SMOKE:
        campaigns, some = 2, 1
    rows = [(f"{trainings} trainings, {kind}", equal(kind), trainings, 0, FALSE)
            for trainings in (20, 60, 200) for kind in KINDS]  # fmt: skip
    rows += [(f"{trainings} trainings, gain {gain}", equal(gain=gain), trainings, 1, 1.0) for trainings, gain in ASKED]
    for name, make, trainings, seed, most in rows:
        count = some if trainings == 200 else campaigns
        found, differing = driven(make, trainings, count, seed)
        print(f"{name:<40}{count:>10}{found.right:>8.1%}{found.false:>8.1%}{found.ever:>8.1%}", end="")
        print(f"{found.repeats:>9.1f}{differing:>8}", flush=True)
        if found.ever > most:
            yield f"real nulls, {name}: {found.ever:.1%} false"
        if differing:
            yield f"real, {name}: {differing} studies end otherwise than the policy alone"


def show_nulls(campaigns: int, some: int) -> Iterator[str]:
    print(f"{'nulls':<40}{'campaigns':>10}{'false':>8}{'ever':>8}{'repeats':>9}")
    for trainings, count in ((20, campaigns), (60, campaigns), (200, some)):
        for kind in KINDS:
            found = walk(equal(kind), trainings, count)
            name = f"{trainings} trainings, {kind}"
            print(f"{name:<40}{count:>10}{found.false:>8.1%}{found.ever:>8.1%}{found.repeats:>9.1f}", flush=True)
            if found.ever > FALSE:
                yield f"nulls, {name}: {found.ever:.1%} false"


def show_power(campaigns: int, some: int) -> Iterator[str]:
    print(f"{'power':<40}{'gain':>10}{'right':>8}{'wrong':>8}{'asked':>9}{'seer':>8}")
    for trainings in (20, 60, 100, 200):
        for gain in (2.5, 4.0):
            found = walk(equal(gain=gain), trainings, some if trainings == 200 else campaigns, seed=1)
            asked = ASKED.get((trainings, gain), 0.0)
            print(f"{f'{trainings} trainings':<40}{gain:>10}{found.right:>8.1%}{found.false:>8.1%}", end="")
            print(f"{asked or '':>9}{seer(trainings, gain, 4 * campaigns):>8.1%}", flush=True)
            if found.right < asked:
                yield f"power, {trainings} trainings, gain {gain}: {found.right:.1%}"


def show_other(campaigns: int, some: int) -> Iterator[str]:
    print(f"{'nothing is better':<40}{'':>10}{'20':>8}{'60':>8}{'100':>9}   trainings, false")
    for name, make in {**OTHER, "the worst 60 % are pruned": equal()}.items():
        print(f"{name:<50}", end="")
        pruned = 0.6 if "pruned" in name else 0.0
        for trainings, count in ((20, campaigns), (60, campaigns // 2), (100, campaigns // 4)):
            found = walk(make, trainings, count, seed=2, pruned=pruned)
            print(f"{found.false:>8.1%}", end=" " * (trainings == 60), flush=True)
            if found.false > FALSE_OTHER + 2 * np.sqrt(FALSE_OTHER / count) and name != "noises differ by 2.5":
                yield f"nothing is better, {name}, {trainings} trainings: {found.false:.1%} false"
        print()


def show_curves(campaigns: int, some: int) -> Iterator[str]:
    gains = (2.5, 4.0, 6.0, 10.0)
    print(
        f"{'how often the winner is right':<40}{'trainings':>10}" + "".join(f"{gain:>8}" for gain in gains) + "   gain"
    )
    rows: dict[str, tuple[Callable[[float], Make], dict[str, object]]] = {
        "lognormal": (lambda gain: equal("lognormal", gain), {}),
        "stray": (lambda gain: equal("stray", gain), {}),
        "others worse by 0 to 10, 10 % fail": (lambda gain: worse(10, gain, failing=0.1), {}),
        "8 slots": (lambda gain: equal(gain=gain), {"slots": 8}),
    }
    for name, (make, how) in rows.items():
        for trainings in (20, 100):
            shares = [walk(make(gain), trainings, some, seed=3, **how).right for gain in gains]
            print(f"{name:<40}{trainings:>10}" + "".join(f"{share:>8.1%}" for share in shares), flush=True)
    yield from ()


def show_beside(campaigns: int, some: int) -> Iterator[str]:
    print(f"{'no end is known':<40}{'trainings':>10}{'right':>8}{'false':>8}{'ever':>8}{'repeats':>9}")
    for trainings in (60, 100, 200):
        worlds = {kind: equal(kind) for kind in KINDS} if trainings == 200 else {}
        worlds |= {f"gain {gain}": equal(gain=gain, among=trainings // 2) for gain in (2.5, 4.0)}
        for name, make in worlds.items():
            found = walk(make, trainings, some // (1 + trainings // 100), seed=4, planned=False)
            print(f"{name:<40}{trainings:>10}{found.right:>8.1%}{found.false:>8.1%}", end="")
            print(f"{found.ever:>8.1%}{found.repeats:>9.1f}", flush=True)
    yield from ()


TABLES = {
    "real": show_real,
    "nulls": show_nulls,
    "power": show_power,
    "other": show_other,
    "curves": show_curves,
    "beside": show_beside,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", choices=tuple(TABLES))
    wanted = parser.parse_args()
    campaigns, some = (SMOKE, SMOKE // 5) if wanted.smoke else (REPETITIONS, OF_200)
    missed = [
        line
        for name, show in TABLES.items()
        if name in (wanted.only or name)
        for line in show(max(campaigns, 8), max(some, 4))
    ]
    told = "\n".join(f"MISSED: {line}" for line in missed) or "every bound is kept"
    print("too few campaigns for the bounds" if wanted.smoke else told)
    sys.exit(bool(missed) and not wanted.smoke)


if __name__ == "__main__":
    main()
