"""What every training of a campaign of `verdict.py` would give: configurations that are equal, better, worse, or noisier.

Not a benchmark itself. Gains and distances are in standard deviations of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimize.confirm.campaign import share

SEEDS = 21  # of a configuration: its first, and the others
KINDS = ("normal", "lognormal", "stray")
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator


def noise(rng: Rng, kind: str, size: tuple[int, ...]) -> Floats:
    drawn = rng.normal(size=size)
    if kind == "stray":
        return drawn * np.where(rng.random(size) < 0.1, 10.0, 1.0)
    return np.exp(drawn) - 1 if kind == "lognormal" else drawn


@dataclass(frozen=True)
class World:
    """What every training would give: a row a configuration, the baseline first; a column a seed. Smaller is better; NaN fails."""

    values: Floats
    better: int | None = None  # the configuration to be found

    def value(self, number: int, seed: int) -> float | None:
        found = float(self.values[number, seed])
        return None if np.isnan(found) else found


Make = Callable[[Rng, int], World]  # of so many trainings


def equal(kind: str = "normal", gain: float = 0.0, among: int = 0) -> Make:
    """All configurations are equal; but for one of the first ones, the search's part, if there is a gain."""

    def make(rng: Rng, trainings: int) -> World:
        values = noise(rng, kind, (trainings, SEEDS))
        if not gain:
            return World(values)
        better = int(rng.integers(1, among or trainings - share(trainings)))
        values[better] -= gain
        return World(values, better)

    return make


def worse(most: float, gain: float = 0.0, failing: float = 0.0) -> Make:
    """The others are worse by 0 to `most`, and some always fail."""

    def make(rng: Rng, trainings: int) -> World:
        world = equal(gain=gain)(rng, trainings)
        lost = rng.uniform(0, most, trainings)
        lost[rng.random(trainings) < failing] = np.nan
        lost[[0, world.better or 0]] = 0.0
        return World(world.values + lost[:, None], world.better)

    return make


def twins(count: int, distance: float) -> Make:
    """So many are equal to the baseline, all others worse by a distance."""

    def make(rng: Rng, trainings: int) -> World:
        lost = np.full(trainings, distance)
        lost[[0, *rng.choice(np.arange(1, trainings), count, replace=False)]] = 0.0
        return World(noise(rng, "normal", (trainings, SEEDS)) + lost[:, None])

    return make


def uneven(scales: Callable[[Rng, int], Floats]) -> Make:
    """Configurations are equal, and differ in their noise."""
    return lambda rng, trainings: World(noise(rng, "normal", (trainings, SEEDS)) * scales(rng, trainings)[:, None])


def common(correlation: float) -> Make:
    """A seed does the same to all configurations, in part. The search's trials all have the first."""

    def make(rng: Rng, trainings: int) -> World:
        own, shared = noise(rng, "normal", (trainings, SEEDS)), noise(rng, "normal", (1, SEEDS))
        return World(np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared)

    return make


def drawn(rng: Rng, trainings: int) -> Floats:
    return np.exp(np.log(2.5) * rng.normal(size=trainings))


def few(rng: Rng, trainings: int) -> Floats:
    return np.where(rng.random(trainings) < 0.05, 5.0, 1.0)


def noisy_baseline(rng: Rng, trainings: int) -> Floats:
    return np.where(np.arange(trainings) == 0, 5.0, 1.0)


OTHER: Mapping[str, Make] = {
    "others worse by 0 to 2": worse(2),
    "others worse by 0 to 10, 10 % fail": worse(10, failing=0.1),
    "1 equal, others worse by 3": twins(1, 3),
    "1 equal, others worse by 10": twins(1, 10),
    "5 equal, others worse by 4": twins(5, 4),
    "a third of the noise is a seed's": common(0.3),
    "most of the noise is a seed's": common(0.8),
    "baseline 5 times as noisy": uneven(noisy_baseline),
    "1 in 20 is 5 times as noisy": uneven(few),
    "noises differ by 2.5": uneven(drawn),
}
