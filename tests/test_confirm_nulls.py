"""Studies in which no trial is better than the baseline: luck is confirmed in at most one of twenty, whoever is noisy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from optimize.confirm.significance import judge

STUDIES, TRIALS, FINALISTS, SEEDS = 400, 60, 10, 3
NOISY = 4  # trials of a study, which vary 5 times as much as the others: most of them become finalists by luck


def noise(kind: str, rng: np.random.Generator, *size: int) -> npt.NDArray[np.float64]:
    """Of trainings about their median."""
    drawn = rng.normal(size=size)
    if kind == "stray":
        return drawn * np.where(rng.random(size) < 0.1, 10.0, 1.0)
    return np.exp(drawn) - 1 if kind == "lognormal" else drawn


@pytest.mark.parametrize("kind", ["normal", "lognormal", "stray"])
def test_the_luckiest_of_many_noisy_trials_are_hardly_ever_confirmed(kind: str) -> None:
    rng = np.random.default_rng(1)
    spread = np.where(np.arange(TRIALS) < NOISY, 5.0, 1.0)
    best = np.argsort(spread * noise(kind, rng, STUDIES, TRIALS), axis=1)[:, :FINALISTS]
    baseline, own = noise(kind, rng, STUDIES, 1, SEEDS), noise(kind, rng, STUDIES, FINALISTS, SEEDS)
    gains = baseline - spread[best][:, :, None] * own
    found = [judge(dict(enumerate(each)), SEEDS) for each in gains.tolist()]
    wrong = sum(any(i.real and not i.left_out for i in each.intervals.values()) for each in found if each is not None)
    assert wrong <= STUDIES / 20
