"""What is a prior worth? `auto` with and without one, on a model of real trainings of the cpu profile at a smaller budget.

    python benchmarks/prior.py                  32 seeds, 40 trials; five minutes
    python benchmarks/prior.py --smoke          two seeds, 12 trials, no bounds

The task is the budget of `search_cpu.py` (4e11 FLOPs); its model is fitted to the rows of data/cpu_evaluations.csv. The prior is
made of another budget only: the two recorded studies of data/cpu_curves.csv.gz, at 3e12 FLOPs. They are given as a user gives
them: as tables, by `--prior`. The wrong prior is the worst tenth of such a table, as if it were the best. The reference is the
`auto` of an earlier release without a prior (`released_auto.py`); `none` is today's. They are compared by the trials that they
need. Exit 1 if a bound is missed. Needs the extra `bench`. `real_search.py` has priors in real training.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from strategies import Evaluated, Params, seeds_of  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
from curves import CURVES, read, wrong_prior
from released_auto import NAME as RELEASED
from released_auto import is_here, registered
from search_cpu import TABLE, make_cpu_plan
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from optimize.config.plan import Plan
from optimize.script.derived import measure_of, same_run
from optimize.search import Prior, open_sampler
from optimize.search.guided import GuidedCmaEs
from optimize.study.prior import prior_of, read_prior

TRIALS, MARKS = 40, (5, 10, 20, 40)
RESAMPLES = 2_000  # of the seeds, for intervals
AT_20, AT_40 = 5, 25  # trials that reach what the reference has after 20 and 40
COST = 0.1  # the share of the trials that a wrong prior may have a say in
LEAST = 1.3  # lower bound of the ratio at 40
Row = tuple[Params, float]


class Model:
    """Val_bpb of any configuration: trees of two kinds, fitted to the logarithm of what was trained."""

    def __init__(self, plan: Plan, rows: Sequence[Row]) -> None:
        self._plan = plan
        values = np.array([value for _, value in rows])
        self._floor = float(values.min()) - 0.15
        wanted, known = np.log(values - self._floor), np.array([self._features(params) for params, _ in rows])
        forest = ExtraTreesRegressor(200, random_state=0)
        shape = {
            "max_iter": 300,
            "learning_rate": 0.06,
            "max_leaf_nodes": 16,
            "min_samples_leaf": 6,
            "max_features": 0.5,
        }
        boosted = [HistGradientBoostingRegressor(**shape, early_stopping=False, random_state=seed) for seed in (0, 1)]
        self._models = [model.fit(known, wanted) for model in (forest, *boosted)]
        self._known: dict[str, float] = {}

    def __call__(self, params: Params) -> Evaluated:
        key = repr(sorted(params.items()))
        if key not in self._known:
            row = np.array([self._features(params)])
            self._known[key] = self._floor + float(np.exp(np.mean([model.predict(row)[0] for model in self._models])))
        return Evaluated(params, self._known[key], 1.0)

    def _features(self, params: Params) -> list[float]:
        """Indices of ordered choices, a column for each other choice, and what a step costs."""
        columns: list[float] = []
        for p in self._plan.space.parameters:
            index = p.choices.index(params[p.name])
            columns += [float(index)] if p.ordered else [float(index == i) for i in range(len(p.choices))]
        depth, head = int(str(params["DEPTH"])), int(str(params["HEAD_DIM"]))
        width = -(-depth * int(str(params["ASPECT_RATIO"])) // head) * head
        weights = 12 * width * width * depth + 2 * int(str(self._plan.constants["VOCAB_SIZE"])) * width
        return [*columns, np.log2(width), np.log2(weights), np.log2(weights * float(str(params["TOTAL_BATCH_SIZE"])))]


def recorded(plan: Plan) -> list[Row]:
    """Every evaluation of the smaller budget, of whichever processor: they differ in the last digits."""
    choices = {p.name: {_text(choice): choice for choice in p.choices} for p in plan.space.parameters}
    with TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["val_bpb"] != "failed"]
    return [({n: choices[n][row[n]] for n in plan.space.names}, float(row["val_bpb"])) for row in rows]


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def write_sources(folder: Path) -> dict[str, tuple[str, ...]]:
    """Write the recorded studies of the larger budget as tables; return the sources of each arm of the comparison."""
    trials = read(CURVES)
    studies = {name: [(t.params, t.value) for t in trials if t.study == name] for name in ("auto", "random")}
    studies["first 40 of auto"] = studies["auto"][:40]
    studies["wrong"] = [(params, value) for value, params in wrong_prior()]
    for name, rows in studies.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["val_bpb", *rows[0][0]])
            table.writerows([value, *map(_cell, params.values())] for params, value in rows)
    file_of = {name: str(folder / f"{name}.csv") for name in studies}
    both = {"auto and random": ("auto", "random"), "auto and wrong": ("auto", "wrong")}
    return {name: (file_of[name],) for name in studies} | {
        name: tuple(file_of[each] for each in names) for name, names in both.items()
    }


def _cell(value: object) -> object:
    return str(tuple(value)) if isinstance(value, list | tuple) else value


def best_so_far(
    plan: Plan, evaluate: Callable[[Params], Evaluated], seeds: Sequence[int], trials: int, name: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best value after each trial, of shape (seeds, trials), and how many proposals a prior had a say in.

    A value is inf where a training failed.
    """
    prior = prior_of(read_prior(None, plan).attrs, plan.space)
    searches = [_search(plan, prior, evaluate, seed, trials, name) for seed in seeds]
    return np.minimum.accumulate([values for values, _ in searches], axis=1), np.array([n for _, n in searches])


def _search(
    plan: Plan, prior: Prior, evaluate: Callable[[Params], Evaluated], seed: int, trials: int, name: str
) -> tuple[list[float], int]:
    """Ask and tell a sampler as a study does, without its database: that takes most of the time where nothing is trained."""
    known = [plan.baseline, *(start.params for start in plan.starts.planned)]
    identity = same_run(plan.workload.derived, plan.constants, plan.workload.conditions)
    measure = measure_of(plan.workload.derived, plan.workload.memory, plan.constants)
    how = {"seed": seed, "identity": identity, "prior": prior, "measure": measure}
    sampler = open_sampler(name, plan.space, plan.constants, **how)
    found: list[float] = []
    guided = 0
    for number in range(trials):
        guided += number >= len(known) and isinstance(sampler._learner, GuidedCmaEs) and sampler._learner.is_guided()
        params = known[number] if number < len(known) else sampler.propose()
        sampler.started(number, params)
        value = evaluate(params).value
        sampler.finished(number, "PRUNED" if value is None else "COMPLETE", value)
        found.append(np.inf if value is None else value)
    return found, guided


def needed(cold: np.ndarray, warm: np.ndarray, mark: int) -> float:
    """Return after how many trials `warm` has on average what `cold` has after `mark`; beyond the last, by one."""
    reached = np.flatnonzero(warm.mean(axis=0) <= cold[:, mark - 1].mean())
    return float(reached[0] + 1) if len(reached) else warm.shape[1] + 1.0


def ratio(cold: np.ndarray, warm: np.ndarray, mark: int) -> tuple[float, float, float]:
    """Return `mark` divided by the trials that `warm` needs, and its interval of 90 % over resampled seeds."""
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        picks = rng.integers(len(cold), size=len(cold))
        found.append(mark / needed(cold[picks], warm[picks], mark))
    low, high = np.quantile(found, [0.05, 0.95])
    return mark / needed(cold, warm, mark), float(low), float(high)


def show(curves: Mapping[str, np.ndarray], guided: Mapping[str, np.ndarray]) -> None:
    cold, today = curves.get(RELEASED, curves["none"]), curves["none"]
    marks = [mark for mark in MARKS if mark <= cold.shape[1]]
    print(
        f"best val_bpb, mean of {len(cold)} seeds; difference to none at the end; trials that the reference / the arm needs"
    )
    print(f"{'prior':18}" + "".join(f"{f'after {mark}':>10}" for mark in marks))
    for name, curve in curves.items():
        cells = "".join(f"{curve[:, mark - 1].mean():10.4f}" for mark in marks)
        mean, error = _paired(curve, today)
        saved = ""
        for mark in (mark for mark in marks if mark >= 20 and name != RELEASED):
            _, low, high = ratio(cold, curve, mark)
            saved += f"  {mark} / {needed(cold, curve, mark):.0f} ({low:.2f} to {high:.2f})"
        print(f"{name:18}{cells}   {mean:+.4f} +- {error:.4f}{saved}")
    for name, counts in guided.items():
        print(
            f"{name}: the prior had a say in {counts.mean():.1f} proposals of {cold.shape[1] - 1}, at most {counts.max()}"
        )


def _paired(curve: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the mean difference at the end, and its standard error."""
    gap = curve[:, -1] - other[:, -1]
    return float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)


def missed(curves: Mapping[str, np.ndarray], wrong: np.ndarray) -> list[str]:
    """Return the promises of docs/search.md that these figures do not keep."""
    cold, lines = curves[RELEASED], []
    for name in ("first 40 of auto", "random", "auto and random"):
        at_20, at_40 = needed(cold, curves[name], 20), needed(cold, curves[name], 40)
        low = ratio(cold, curves[name], 40)[1]
        lines += [f"{name}: {at_20:.0f} trials for what the reference has after 20"] if at_20 > AT_20 else []
        lines += [f"{name}: {at_40:.0f} trials for what the reference has after 40"] if at_40 > AT_40 else []
        lines += [f"{name}: at 40 trials the ratio may be {low:.2f}"] if low < LEAST else []
        behind, error = _paired(curves[name], curves["none"])
        lines += [f"{name}: behind none by {behind:.4f} +- {error:.4f} at the end"] if behind > 2 * error else []
    cost = wrong.mean() / cold.shape[1]
    return lines + ([f"a wrong prior costs {cost:.0%} of the trials"] if cost > COST else [])


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--seeds", type=seeds_of, default="100-131")
    parser.add_argument("--arms", default="")
    wanted = parser.parse_args()
    seeds, trials = (range(2), 12) if wanted.smoke else (wanted.seeds, TRIALS)
    plan = make_cpu_plan()
    evaluate = Model(plan, recorded(plan))
    with tempfile.TemporaryDirectory() as folder, registered(plan.space.path, plan.constants):
        arms: dict[str, tuple[str, ...]] = {RELEASED: (), "none": (), **write_sources(Path(folder))}
        wanted.arms = "random,wrong" if wanted.smoke else wanted.arms
        names = [RELEASED, "none", *wanted.arms.split(",")] if wanted.arms else list(arms)
        names = names if is_here() else names[1:]
        curves, guided = {}, {}
        for name in names:
            began = time.perf_counter()
            mine = replace(plan, settings=replace(plan.settings, prior=arms[name]))
            sampler = name if name == RELEASED else "auto"
            curves[name], guided[name] = best_so_far(mine, evaluate, seeds, trials, sampler)
            print(f"  {name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    show(curves, guided)
    if wanted.smoke or wanted.arms or RELEASED not in curves:
        return
    lines = missed(curves, guided["wrong"])
    print(*(["", "missed:", *lines] if lines else ["", "every bound is kept"]), sep="\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
