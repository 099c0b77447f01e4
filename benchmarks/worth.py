"""Is what a study expects of ten more trials what comes? Counted over recorded searches, real trainings all of them.

    python benchmarks/worth.py                every family of searches; minutes
    python benchmarks/worth.py --bench DIR    DIR has the published trials of arXiv 2603.24647 and autoresearch's own 126
    python benchmarks/worth.py --smoke        the two recorded studies, and one search

Every few trials of each search, the estimate of `optimize/study/worth.py` is compared with what the next ten brought. Searches of
`auto` are those of `real_search.py`; its peers at 4e11 FLOPs are played again from data/cpu_evaluations.csv. A ratio is what came
divided by what was said, summed over a family. Exit 1 if the geometric mean over families, or over the numbers of trials, is not
between 0.5 and 2. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from strategies import STRATEGIES, Evaluated, Params, after  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
from curves import CURVES, read
from prior import recorded
from real_campaigns import campaign
from real_figures import MARKS
from real_tasks import BUDGETS, UNITS
from search import BENCH
from search_cpu import make_cpu_plan
from trainings import NotInTheFile, Trainings, open_trainings

from optimize.study.worth import AHEAD, LEAST, expected_gain

LOWEST, HIGHEST = 0.5, 2.0
TRIALS, SEEDS = 60, range(8)
PEERS = ("plain TPE", "tutorial's loop")
NOTHING_NEW = Path("no-such-file")
LATEST = 320  # trials; the published campaigns of cheap failures go on far beyond
SIZES = (12, 24, 48, 96, LATEST)
Values = Sequence[float | None]
Pairs = list[tuple[int, float, float]]
"""Number of trials, what was said, what came."""


def families(bench: Path, smoke: bool) -> dict[str, list[Values]]:
    """Return the values of each search in their order, by what proposed them; None for a failure."""
    found: dict[str, list[Values]] = {
        f"{name}, 3e12 FLOPs": [[trial.value for trial in read(CURVES) if trial.study == name]]
        for name in ("auto", "random")
    }
    found |= _of_auto(smoke)
    for name in () if smoke else PEERS:
        found[f"{name}, 4e11 FLOPs"] = [_played(name, seed) for seed in SEEDS]
    return found if smoke or not bench.is_dir() else found | _published(bench)


def _of_auto(smoke: bool) -> dict[str, list[Values]]:
    """Play the campaigns of today's `auto` back, as far as they were recorded."""
    found: dict[str, list[Values]] = {}
    for script, budget in ((script, budget) for script, budgets in BUDGETS.items() for budget in budgets):
        for trainings in open_trainings(script, (budget,), NOTHING_NEW, None, may_train=False):
            mine = trainings[budget]
            searches = [_campaign(trainings, budget, seed) for seed in (mine.seeds[:1] if smoke else mine.seeds)]
            if searches:
                found.setdefault(f"auto, {script}, {budget:.0e} {UNITS[script]}", []).extend(filter(None, searches))
        if smoke and found:
            break
    return found


def _campaign(trainings: Mapping[int, Trainings], budget: int, seed: int) -> Values:
    try:
        return [each.value for each in campaign(trainings, budget, "auto", seed, MARKS[-1])]
    except NotInTheFile as error:
        print(f"{budget:.0e}, seed {seed}: {error}", file=sys.stderr)
        return []


def _played(name: str, seed: int) -> Values:
    """Play a search again as far as its trials were recorded."""
    plan = make_cpu_plan()
    known = {_key(params): value for params, value in recorded(plan)}
    found: list[float | None] = []

    def evaluate(params: Params) -> Evaluated:
        if _key(params) not in known and plan.space.feasible(params, plan.constants):
            raise KeyError("not recorded")
        found.append(known.get(_key(params)))
        return Evaluated(params, found[-1], 1.0)

    try:
        STRATEGIES[name](plan, evaluate, seed, after(TRIALS))
    except KeyError:
        print(f"{name}, seed {seed}: recorded up to trial {len(found)}", file=sys.stderr)
    return found


def _key(params: Params) -> str:
    return repr(sorted(params.items()))


def _published(bench: Path) -> dict[str, list[Values]]:
    import pandas as pd

    trials = pd.read_parquet(bench / "trials.parquet").sort_values("tid")
    found: dict[str, list[Values]] = {}
    for (method, _), rows in trials.groupby(["method", "seed"]):
        pairs = zip(rows.val_bpb, rows.success, strict=True)
        values = [float(value) if good and np.isfinite(value) else None for value, good in pairs]
        found.setdefault(f"{method}, H200", []).append(values)
    with (bench / "upstream_h100_mar8.tsv").open() as file:
        told = [float(row["val_bpb"]) for row in csv.DictReader(file, delimiter="\t")]
    return found | {"upstream's agent, H100": [[value or None for value in told]]}


def pairs_of(searches: Sequence[Values]) -> Pairs:
    """Return what was said and what came, every fourth trial."""
    found: Pairs = []
    for values in searches:
        for count in range(LEAST, min(len(values) - AHEAD, LATEST), 4):
            said = expected_gain(values[:count], "minimize")
            before = min((value for value in values[:count] if value is not None), default=None)
            if said is not None and before is not None:
                after_them = min(value for value in (*values[count : count + AHEAD], before) if value is not None)
                found.append((count, said, before - after_them))
    return found


def ratio(pairs: Pairs) -> float:
    said, came = sum(pair[1] for pair in pairs), sum(pair[2] for pair in pairs)
    return came / said if said else float("nan")


def by_size(families: Mapping[str, Pairs]) -> dict[str, float]:
    """Return the ratio by the number of trials, each family in units of its own mean gain."""
    units = {name: float(np.mean([came for *_, came in pairs])) or 1.0 for name, pairs in families.items()}
    scaled = [
        (n, said / units[name], came / units[name]) for name, pairs in families.items() for n, said, came in pairs
    ]
    bounds = pairwise(SIZES)
    parts = {f"{low} to {high - 1} trials": [pair for pair in scaled if low <= pair[0] < high] for low, high in bounds}
    return {name: ratio(part) for name, part in parts.items() if part}


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--smoke", action="store_true")
    wanted = parser.parse_args()
    found = {name: pairs_of(searches) for name, searches in families(wanted.bench, wanted.smoke).items()}
    ratios = {name: ratio(pairs) for name, pairs in found.items()}
    print(f"{'searches':34}{'times':>7}{'said':>9}{'came':>9}{'ratio':>8}")
    for name, pairs in found.items():
        said, came = (float(np.mean([pair[i] for pair in pairs])) for i in (1, 2))
        print(f"{name:34}{len(pairs):7}{said:9.5f}{came:9.5f}{ratios[name]:8.2f}")
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    inside = sum(LOWEST <= each <= HIGHEST for each in ratios.values())
    print(f"geometric mean over families {mean:.2f}; {inside} of {len(ratios)} between {LOWEST} and {HIGHEST}")
    sizes = by_size(found)
    print(*(f"{name}: {each:.2f}" for name, each in sizes.items()), sep="; ")
    missed = [each for each in (mean, *([] if wanted.smoke else sizes.values())) if not LOWEST <= each <= HIGHEST]
    sys.exit(bool(missed) and not wanted.smoke)


if __name__ == "__main__":
    main()
