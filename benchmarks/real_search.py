"""How much training does the search save? Campaigns of real training: today's `auto`, an earlier one, pruners, priors and peers.

    python benchmarks/real_search.py                          what docs/search.md has, from the file of trainings; minutes
    python benchmarks/real_search.py --budget 4e11 --arms 'auto of 612ce2a,auto,prior,TPE'    priors and a peer, from the file too
    python benchmarks/real_search.py --budget 1e12 --seeds 20-27 --arms auto,halving    train what is missing, on this machine
    python benchmarks/real_search.py --script nanogpt --budget 500 --seeds 6-9 --nanogpt ~/nanoGPT      the same of another script
    python benchmarks/real_search.py --smoke                  one seed, few trainings

The scripts are the workload `gpt` with the profile cpu, under budgets of work, and nanoGPT's character model under budgets of steps
(`real_tasks.py`). Each configuration is trained once, to its end, and kept with its curve (`trainings.py`); a campaign plays them
back. Everything but the executor is the product's own, so a trial that is cut costs what it had used, and the sampler learns from
what was cut. A campaign ends when it has spent --trainings whole trainings. Without --seeds nothing is trained.

The prior of a campaign is the study of the smallest other budget, of the same seed and processor, 40 trials, as `--prior` reads it.
Peers are Optuna as it comes, and CatCMAwM of the package `cmaes`, which has to be installed.

For each budget two tables: the best value after so many trainings; and after how many trainings each arm has what the reference
has at the marks, as a ratio (above 1: fewer), with the interval of 90 % over resampled seeds. Then the ratios over all budgets.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from real_campaigns import ARMS, Spent, campaign  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
import released_auto
from real_tasks import BUDGETS, GPT, NANOGPT, UNITS
from trainings import NotInTheFile, Trainings, open_trainings

REFERENCE = released_auto.NAME
COMPARED = (REFERENCE, "auto")
MARKS = (5, 10, 15, 20, 25, 30, 40)
OVERHEAD = 0.08  # of a training, for each trial that is started: imports and evaluation
RESAMPLES = 2_000


@dataclass
class Compared:
    """The campaigns under one budget: arm -> one for each seed."""

    budget: str
    found: dict[str, list[list[Spent]]] = field(default_factory=dict)

    def curves(self, overhead: float) -> dict[str, np.ndarray]:
        """Return the best value after each tenth of a training, of shape (seeds, tenths)."""
        return {arm: np.array([_curve(each, overhead) for each in spent]) for arm, spent in self.found.items()}


def _curve(spent: Sequence[Spent], overhead: float) -> list[float]:
    found, used, best, ends = [], 0.0, float("inf"), []
    for each in spent:
        used += each.share + overhead
        best = min(best, float("inf") if each.value is None else each.value)
        ends.append((used, best))
    for tenth in range(1, 10 * MARKS[-1] + 1):
        found.append(min((value for end, value in ends if end <= tenth / 10 + 1e-9), default=float("inf")))
    return found


def needed(curve: np.ndarray, value: float) -> float:
    """Return the trainings until the mean of the seeds has this value; a tenth more than there are where it never has."""
    reached = np.flatnonzero(curve.mean(axis=0) <= value)
    return (reached[0] + 1 if len(reached) else curve.shape[1] + 1) / 10


def ratios(reference: np.ndarray, arm: np.ndarray, mark: int, rng: np.random.Generator) -> np.ndarray:
    """Return how many times fewer trainings the arm needs for what the reference has: with all seeds, then with resampled ones."""
    picks = [np.arange(len(arm)), *(rng.integers(len(arm), size=len(arm)) for _ in range(RESAMPLES))]
    found = []
    for pick in picks:
        value = reference[pick, 10 * mark - 1].mean()
        found.append(needed(reference[pick], value) / needed(arm[pick], value))
    return np.array(found)


def show(compared: Compared, marks: Sequence[int]) -> dict[tuple[str, int, float], np.ndarray]:
    """Print the tables of one budget; return the ratios by arm, mark and overhead."""
    found = {}
    for arm, campaigns in compared.found.items():
        cut = [sum(each.share < 1 for each in campaign) for campaign in campaigns]
        good = [top_tenth_cut(campaign) for campaign in campaigns]
        if any(cut):
            print(
                f"{compared.budget}, {arm}: {sum(cut)} trials cut, {sum(good)} of the best tenth of their campaigns: {good}"
            )
    for overhead in (0.0, OVERHEAD):
        curves = compared.curves(overhead)
        first = next(iter(curves))
        seeds = len(curves[first])
        print(f"\n{compared.budget}, {seeds} seeds, {overhead:.0%} of a training for each start")
        print(f"{'best after so many':24}" + "".join(f"{mark:>20}" for mark in marks))
        for arm, curve in curves.items():
            with np.errstate(invalid="ignore"):  # before the first trial has ended both are infinite
                gaps = curve - curves[first]
            cells = [
                f"{curve[:, 10 * m - 1].mean():.4f} {gaps[:, 10 * m - 1].mean():+.4f}+-{_error(gaps[:, 10 * m - 1]):.4f}"
                for m in marks
            ]
            print(f"{arm:24}" + "".join(f"{cell:>23}" for cell in cells))
        for arm in list(curves)[1:]:
            rng, cells = np.random.default_rng(0), []
            for mark in (mark for mark in marks if mark >= 15):
                each = ratios(curves[first], curves[arm], mark, rng)
                found[arm, mark, overhead] = each
                low, high = np.quantile(each[1:], [0.05, 0.95])
                cells.append(f"{mark}: {mark / each[0]:.1f} ({each[0]:.2f}, {low:.2f} to {high:.2f})")
            print(f"{arm}: trainings for what {first} has after ... (ratio, 90 %)  " + "  ".join(cells))
    return found


def top_tenth_cut(campaign: Sequence[Spent]) -> int:
    """Return how many trials were cut that would have been among the best tenth of the campaign's."""
    values = sorted(each.at_its_end for each in campaign if each.at_its_end is not None)
    limit = values[math.ceil(len(values) / 10) - 1]
    return sum(each.share < 1 and each.at_its_end is not None and each.at_its_end <= limit for each in campaign)


def _error(gaps: np.ndarray) -> float:
    return float(gaps.std(ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")


def pooled(by_budget: Sequence[Mapping[tuple[str, int, float], np.ndarray]]) -> None:
    """Print the geometric mean of the ratios over the budgets."""
    for key in dict.fromkeys(key for each in by_budget for key in each):
        each = [found[key] for found in by_budget if key in found]
        if len(each) > 1:
            mean = np.exp(np.mean(np.log(np.array(each)), axis=0))
            low, high = np.quantile(mean[1:], [0.05, 0.95])
            arm, mark, overhead = key
            print(f"{arm}, {len(each)} budgets, after {mark}, {overhead:.0%}: {mean[0]:.2f} ({low:.2f} to {high:.2f})")


def compare(task: str, budget: int, arms: Sequence[str], most: int, given: argparse.Namespace) -> Compared:
    """Run the campaigns; a seed with a campaign that leaves the file, where nothing may be trained, is left out."""
    compared = Compared(f"{task}, {budget:.3g} {UNITS[task]}", {arm: [] for arm in arms})
    budgets = tuple(dict.fromkeys((budget, *BUDGETS[task])))
    for trainings in open_trainings(task, budgets, given.new, given.nanogpt):
        if budget in trainings:
            mine = trainings[budget]
            seeds = mine.seeds if given.seeds is None else [seed for seed in given.seeds if mine.may_train]
            for seed in seeds:
                _compare_one(compared, trainings, budget, seed, most)
    return compared


def _compare_one(compared: Compared, trainings: Mapping[int, Trainings], budget: int, seed: int, most: int) -> None:
    mine, arms = trainings[budget], list(compared.found)
    with released_auto.registered(mine.plan.space.path, mine.plan.constants, mine.task.name):
        try:
            spent = {arm: campaign(trainings, budget, arm, seed, most) for arm in arms}
        except NotInTheFile:
            print(f"{compared.budget}, seed {seed}: a campaign leaves what was recorded on another machine; left out")
            return
    for arm, each in spent.items():
        compared.found[arm].append(each)
    if most == MARKS[-1] and set(COMPARED) <= set(arms):
        mine.keep_seed(seed)
    counts = {arm: len(each) for arm, each in spent.items()}
    print(f"{compared.budget}, seed {seed}: trials {counts}; {mine.new} trained so far", file=sys.stderr, flush=True)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", choices=list(BUDGETS), help="default: all that the file has")
    parser.add_argument("--budget", type=float, help="FLOPs, of nanogpt steps; default: all that the file has")
    parser.add_argument(
        "--seeds", type=_seeds, help="as 3-5: train what is missing of them; default: those of the file"
    )
    parser.add_argument("--arms", default=",".join(COMPARED), help=f"the first is the reference; of {', '.join(ARMS)}")
    parser.add_argument("--trainings", type=int, default=MARKS[-1], help="whole trainings that a campaign may spend")
    parser.add_argument("--new", type=Path, default=Path("runs/trainings.jsonl"), help="where new trainings are kept")
    parser.add_argument("--nanogpt", type=Path, help="a clone of nanoGPT with prepared data, to train it")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    arms = [arm for arm in given.arms.split(",") if arm != REFERENCE or released_auto.is_here()]
    scripts = [given.script] if given.script else [GPT] if given.budget else [GPT, NANOGPT]
    tasks = [(script, int(given.budget)) for script in scripts] if given.budget else _recorded(scripts)
    if given.smoke:
        given.seeds, tasks, arms = (
            range(1),
            [(GPT, 80_000_000_000)],
            [*(arm for arm in arms if arm != "prior"), "halving"],
        )
    most = 6 if given.smoke else given.trainings
    marks = [mark for mark in MARKS if mark <= most]
    found = []
    for script, budget in tasks:
        compared = compare(script, budget, arms, most, given)
        if compared.found[arms[0]]:
            found.append(show(compared, marks))
    pooled(found)


def _recorded(scripts: Sequence[str]) -> list[tuple[str, int]]:
    return [(script, budget) for script in scripts for budget in BUDGETS[script]]


if __name__ == "__main__":
    import os

    from optimize.executors.slots import find_slots

    os.environ.update(find_slots("cpu", 1, None)[0].env)  # before torch is imported
    main()
