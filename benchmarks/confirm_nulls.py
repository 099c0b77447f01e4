"""Null studies: no trial is better than the baseline. How often does a confirmation say that one is? Part of confirm.py.

A study has 60 trials with the baseline's median and a noise of their own. The best by one lucky value are the finalists: the noisy
ones are preferred. Then finalists and baseline are trained with other seeds, and judged as the product judges them. A verdict is
false if any finalist is confirmed. One cell of the table is all studies with the same:

- noise: how a training's value is distributed about its median. `normal`; `lognormal`, with a long tail of bad values; `stray`,
  where one training in 10 is 10 times noisier; `worse`, where it is 10 times noisier and always bad;
- noisier: what standard deviations the trials have, in that of the baseline. `none`: all have 1; `drawn`: lognormal, one typically
  differs by a factor of 2.5; `few`: one trial in 20 has 5; `fifth`: exactly one finalist in five has 5, whatever the first values;
- finalists and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from optimize.confirm.significance import judge

TRIALS, FINALISTS, SEEDS = 60, (1, 3, 10), (2, 3, 5)
CALLS, AT_ONCE = 3, 10
FALSE = 0.05
Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def _stray(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return rng.normal(size=size) * np.where(rng.random(size) < 0.1, 10.0, 1.0)


def _worse(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    drawn = rng.normal(size=size)
    return np.where(rng.random(size) < 0.1, 10 * np.abs(drawn), drawn) - 0.1397  # its median


NOISES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "lognormal": lambda rng, size: np.exp(rng.normal(size=size)) - 1,
    "stray": _stray,
    "worse": _worse,
}
NOISIER: dict[str, Draw] = {
    "none": lambda rng, size: np.ones(size),
    "drawn": lambda rng, size: np.exp(np.log(2.5) * rng.normal(size=size)),
    "few": lambda rng, size: np.where(rng.random(size) < 0.05, 5.0, 1.0),
    "fifth": lambda rng, size: np.where(np.arange(size[-1]) % 5 == 0, 5.0, np.ones(size)),
}


def finalists_of_nulls(
    rng: np.random.Generator, noise: str, noisier: str, finalists: int, seeds: int, studies: int
) -> Floats:
    """Return the values of the finalists with other seeds: of each study, finalist and seed."""
    count = finalists if noisier == "fifth" else TRIALS
    scales = NOISIER[noisier](rng, (studies, count))
    lucky = np.argsort(scales * NOISES[noise](rng, (studies, count)), axis=1)[:, :finalists]
    scales = np.take_along_axis(scales, lucky, axis=1)
    return scales[:, :, None] * NOISES[noise](rng, (studies, finalists, seeds))


def is_false(gains: Floats, compared: int = 0) -> bool:
    """Tell whether a finalist is confirmed. Gains are those of each finalist and seed."""
    seeds = gains.shape[1]
    if (gains.mean(axis=1) < gains.std(axis=1, ddof=1) / np.sqrt(seeds)).all():
        return False  # without asking: no interval is narrower than one standard error to each side
    findings = judge(dict(enumerate(gains.tolist())), seeds, compared)
    return findings is not None and any(each.real and not each.left_out for each in findings.intervals.values())


def falsely(rng: np.random.Generator, noise: str, noisier: str, finalists: int, seeds: int, studies: int) -> float:
    """Return the share of null studies with a false verdict."""
    baselines = NOISES[noise](rng, (studies, 1, seeds))
    gains = baselines - finalists_of_nulls(rng, noise, noisier, finalists, seeds, studies)
    return sum(map(is_false, gains)) / studies


def later_calls(rng: np.random.Generator, noisier: str, seeds: int, studies: int) -> tuple[float, float]:
    """Return the share of false verdicts after the last of several calls with other finalists each, and after any of them."""
    last = ever = 0
    baselines = rng.normal(size=(studies, 1, seeds))
    calls = [baselines - finalists_of_nulls(rng, "normal", noisier, AT_ONCE, seeds, studies) for _ in range(CALLS)]
    for gains in zip(*calls, strict=True):
        verdicts = [is_false(each, AT_ONCE * number) for number, each in enumerate(gains, 1)]
        last, ever = last + verdicts[-1], ever + any(verdicts)
    return last / studies, ever / studies


def bound(studies: int, share: float = FALSE) -> float:
    """Return the largest share that so many studies may show if this is the true one: two standard errors above it."""
    return share + 2 * float(np.sqrt(share * (1 - share) / studies))


def show_nulls(rng: np.random.Generator, studies: int) -> Iterator[str]:
    """Print the table; yield the bounds that were missed."""
    print(f"{studies:,} null studies of {TRIALS} trials a cell: how many confirm a finalist, by finalists and seeds")
    columns = list(product(FINALISTS, SEEDS))
    print(f"{'noise':>10}{'noisier':>9}" + "".join(f"{f'{k} x {seeds}':>8}" for k, seeds in columns))
    for noise, noisier in product(NOISES, NOISIER):
        print(f"{noise:>10}{noisier:>9}", end="")
        for k, seeds in columns:
            share = falsely(rng, noise, noisier, k, seeds, studies)
            print(f"{share:>8.1%}", end="", flush=True)
            if share > bound(studies):
                yield f"null studies, noise {noise}, noisier {noisier}, {k} finalists, {seeds} seeds: {share:.1%} false"
        print()


def show_later_calls(rng: np.random.Generator, studies: int) -> Iterator[str]:
    """Print what comes of several calls; yield the bounds that were missed, which are about each call's verdict."""
    print(
        f"{CALLS} calls with {AT_ONCE} other finalists each: how often the last verdict is false, and how often any is"
    )
    for noisier, seeds in product(("none", "few"), SEEDS):
        last, ever = later_calls(rng, noisier, seeds, studies)
        print(f"{noisier:>19}{seeds:>3} seeds{last:>8.1%}{ever:>8.1%}", flush=True)
        if last > bound(studies):
            yield f"{CALLS} calls, noisier {noisier}, {seeds} seeds: {last:.1%} false"
