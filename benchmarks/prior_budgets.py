"""Do published rules of scale mend a prior of another budget? `auto` on models of real trainings of the cpu profile.

    python benchmarks/prior_budgets.py            16 seeds, 20 trials each; four minutes
    python benchmarks/prior_budgets.py --smoke    two seeds, eight trials, one task

A task is the model of a budget, fitted to what was trained under it, and a prior of another budget: the one that the space `cpu`
brings (4e11 FLOPs), or one of what was recorded at 3e12. A rule multiplies a value of each row by the ratio of the budgets to the
power of an exponent; then it moves to the nearest choice, as all rows do. Shown are Spearman's coefficient of what a prior expects
of the task's trials with what came, and the best after some trials. Needs the extra `bench`.

Exponents are of the training FLOPs C, with as many tokens for a weight as before: weights and tokens both grow as C^1/2.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from strategies import Params  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
from curves import CURVES, read
from prior import Model, Row, best_so_far, recorded
from real_tasks import GPT
from search_cpu import make_cpu_plan
from trainings import recordings

from optimize.config.plan import Plan
from optimize.search.candidates import Lattice
from optimize.search.source_model import SourceModel, features
from optimize.study.prior import prior_of, read_prior
from optimize.trial import Value
from search_spaces import RankedRow, SpacePrior, load_space

TRIALS, MARKS = 20, (3, 5, 10, 20)
RATES = ("EMBEDDING_LR", "UNEMBEDDING_LR", "MATRIX_LR", "SCALAR_LR")
Exponents = Mapping[str, float]


def _rule(batch: float, rates: float, decay: float = 0.0, depth: float = 0.0) -> Exponents:
    return {"TOTAL_BATCH_SIZE": batch, **dict.fromkeys(RATES, rates), "WEIGHT_DECAY": decay, "DEPTH": depth}


# karpathy/nanochat, scripts/base_train.py at 00255c1: batch ~ tokens^0.383 (arXiv 2505.13738), rates ~ batch^1/2, decay ~
# batch^1/2 / tokens (arXiv 2405.13698), and the width with the depth, so that weights ~ depth^3.
NANOCHAT = _rule(0.383 / 2, 0.383 / 4, 0.383 / 4 - 1 / 2, 1 / 6)
RULES: Mapping[str, Exponents] = {
    "unmoved": {},
    "nanochat": NANOCHAT,
    "nanochat, the wrong way": {name: -exponent for name, exponent in NANOCHAT.items()},
    "DeepSeek, arXiv 2401.02954": _rule(0.3271, -0.125),
    "Step Law, arXiv 2503.04715": _rule(0.571 / 2, (0.307 - 0.713) / 2),
}


def trained(plan: Plan, budget: float) -> list[Row]:
    """Return what was trained under a budget: the recorded studies at 3e12 FLOPs, all evaluations at 4e11, trainings at 1e12."""
    if budget == 3e12:
        return [(trial.params, trial.value) for trial in read(CURVES)]
    return recorded(plan) if budget == 4e11 else of_real_search(budget)


def of_real_search(budget: float) -> list[Row]:
    """Return what was trained under a budget on the processor that was the first to have one."""
    first = next(each for key, each in recordings().items() if (key.task, key.budget) == (GPT, budget))
    rows = [(json.loads(text), trained.value) for text, trained in first.trained.items()]
    return [(_tuples(params), value) for params, value in rows if value is not None]


def _tuples(params: Params) -> dict[str, Value]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}


def priors() -> dict[str, tuple[float, SpacePrior]]:
    """Return priors with the budgets of which they are."""
    studies = {
        name: [(trial.params, trial.value) for trial in read(CURVES) if trial.study == name]
        for name in ("auto", "random")
    }
    studies |= {"the first 40 of auto": studies["auto"][:40], "of real_search.py": of_real_search(3e12)}
    found = {"of the space cpu": (4e11, load_space("cpu").priors[0])}
    for name, rows in studies.items():
        best_first = enumerate(sorted(rows, key=lambda row: row[1]), 1)
        found[name] = (3e12, SpacePrior(name, tuple(RankedRow(rank, params) for rank, (params, _) in best_first)))
    return found


def moved(prior: SpacePrior, exponents: Exponents, ratio: float) -> SpacePrior:
    rows = []
    for row in prior.rows:
        scaled = {name: float(str(row.params[name])) * ratio**power for name, power in exponents.items() if power}
        rows.append(replace(row, params={**row.params, **scaled}))
    return replace(prior, rows=tuple(rows))


def with_prior(plan: Plan, prior: SpacePrior) -> Plan:
    return replace(plan, space=replace(plan.space, priors=(prior,)), settings=replace(plan.settings, own_prior=True))


def agreement(plan: Plan, rows: Sequence[Row]) -> float:
    """Return the rank correlation of what a plan's prior expects of the trials with what came."""
    from scipy.stats import spearmanr

    lattice = Lattice(plan.space, plan.constants)
    (source,) = prior_of(read_prior(None, plan).attrs, plan.space)
    points = [(point, value) for params, value in rows if (point := lattice.point(params)) is not None]
    said = SourceModel(source, lattice).scores(features(lattice, [point for point, _ in points]))
    return float(spearmanr(said, [value for _, value in points])[0])


def show(name: str, ranked: float | None, curves: np.ndarray, unmoved: np.ndarray) -> None:
    gaps = curves - unmoved
    means, errors = gaps.mean(axis=0), gaps.std(axis=0, ddof=1) / len(gaps) ** 0.5
    marks = [mark for mark in MARKS if mark <= curves.shape[1]]
    cells = (f"{curves[:, m - 1].mean():10.4f} {means[m - 1]:+.4f} +- {errors[m - 1]:.4f}" for m in marks)
    print(f"{name:28}{'' if ranked is None else f'{ranked:.2f}':>6}" + "".join(cells), flush=True)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    seeds, trials = (range(2), 8) if smoke else (range(100, 116), TRIALS)
    known, plan = priors(), make_cpu_plan()
    tasks = [("of the space cpu", 3e12), ("of the space cpu", 1e12), *((name, 4e11) for name in list(known)[1:])]
    for name, budget in tasks[:1] if smoke else tasks:
        of, prior = known[name]
        rows = trained(plan, budget)
        model = Model(plan, rows)
        print(f"\nprior {name}, {of:.0e} FLOPs, for {budget:.0e}; best after {MARKS}, and the difference to unmoved")
        unmoved = None
        for rule, exponents in list(RULES.items())[: 2 if smoke else None]:
            mine = with_prior(plan, moved(prior, exponents, budget / of))
            curves, _ = best_so_far(mine, model, seeds, trials)
            unmoved = curves if unmoved is None else unmoved
            show(rule, agreement(mine, rows), curves, unmoved)
        if not smoke and unmoved is not None:
            show("no prior", None, best_so_far(plan, model, seeds, trials)[0], unmoved)


if __name__ == "__main__":
    main()
