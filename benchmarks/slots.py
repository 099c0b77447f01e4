"""What do several slots cost? Trials of `auto` with 2, 4 and 8 at a time, on the model of real trainings that `prior.py` has.

    python benchmarks/slots.py              48 seeds, 56 trials; two minutes
    python benchmarks/slots.py --smoke      two seeds, 12 trials, no bound

Trials end in the order in which they began. Compared are the trials that are needed for what one at a time has after 20, 30 and 40;
in brackets, the standard error over resampled seeds. Exit 1 if 8 at a time need more than a fifth more, by more than that error.
Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Sequence

from strategies import Evaluated, Params  # isort: skip  (sets threads before numpy)
import numpy as np
from prior import Model, recorded
from search_cpu import make_cpu_plan

from optimize.config.plan import Plan
from optimize.script.derived import measure_of, same_run
from optimize.search import open_sampler

SLOTS, MARKS, FIRST_SEED = (2, 4, 8), (20, 30, 40), 100
TRIALS, MORE = 56, 0.2
RESAMPLES = 500


def best_so_far(
    plan: Plan, evaluate: Callable[[Params], Evaluated], seeds: Sequence[int], trials: int, slots: int
) -> np.ndarray:
    """Return the best value after each ended trial, of shape (seeds, trials)."""
    return np.minimum.accumulate([_search(plan, evaluate, seed, trials, slots) for seed in seeds], axis=1)


def _search(plan: Plan, evaluate: Callable[[Params], Evaluated], seed: int, trials: int, slots: int) -> list[float]:
    identity = same_run(plan.workload.derived, plan.constants, plan.workload.conditions)
    measure = measure_of(plan.workload.derived, plan.workload.memory, plan.constants)
    sampler = open_sampler("auto", plan.space, plan.constants, seed=seed, identity=identity, measure=measure)
    running: deque[tuple[int, Params]] = deque()
    values: list[float] = []

    def end_one() -> None:
        number, params = running.popleft()
        values.append(evaluate(params).value or float("inf"))
        sampler.finished(number, "COMPLETE", values[-1])

    for number in range(trials):
        if len(running) == slots:
            end_one()
        params = sampler.propose() if number else plan.baseline
        sampler.started(number, params)
        running.append((number, params))
    while running:
        end_one()
    return values


def needed(curve: np.ndarray, value: float) -> int:
    """Return the trials until the mean of the seeds has this value; one more than there are where it never has."""
    reached = np.flatnonzero(curve.mean(axis=0) <= value)
    return int(reached[0]) + 1 if len(reached) else curve.shape[1] + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    plan = make_cpu_plan()
    evaluate = Model(plan, recorded(plan))
    seeds, trials = range(FIRST_SEED, FIRST_SEED + (2 if smoke else 48)), 12 if smoke else TRIALS
    marks = (4, 8) if smoke else MARKS
    one = best_so_far(plan, evaluate, seeds, trials, 1)
    rng, missed = np.random.default_rng(0), []
    for slots in SLOTS:
        several = best_so_far(plan, evaluate, seeds, trials, slots)
        picks = [np.arange(len(seeds)), *(rng.integers(len(seeds), size=len(seeds)) for _ in range(RESAMPLES))]
        cells = []
        for mark in marks:
            found = [needed(several[pick], one[pick, mark - 1].mean()) for pick in picks]
            error = float(np.std(found[1:]))
            cells.append(f"{mark}: {found[0]} ({error:.1f})")
            missed += [f"{slots} slots, {mark}"] * (slots == 8 and found[0] - error > (1 + MORE) * mark)
        print(f"{slots} at a time, trials for what one has after ...  " + "  ".join(cells), flush=True)
    print("missed: " + ", ".join(missed) if missed else "the bound is kept")
    sys.exit(bool(missed) and not smoke)


if __name__ == "__main__":
    main()
