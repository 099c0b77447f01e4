"""Would other starts be better for `h100`? Portfolios of published trials, judged by campaigns that they were not chosen from.

    python benchmarks/portfolio.py --bench DIR    each campaign left out, then each third of them, then searches; two minutes
    python benchmarks/portfolio.py --smoke        searches on two of the thirds, one each; skipped where there is no DIR

The 27 campaigns of arXiv 2603.24647 tune one script on one kind of GPU: they differ in what they tried, not in the task. A rule
chooses configurations from the best of some campaigns, moved to the choices of the space. Judges are fitted to others only:

- each campaign left out, by its own forest, which predicts normal scores of its own ranks. It knows nothing beyond its best trial;
- each third left out (one campaign of each method), by its trees, which predict val_bpb;
- searches of `auto` on the same trees: with the starts of a rule, with a prior of the other two thirds, with both or neither.

Greedy portfolios over ranks: D. Salinas et al., arXiv:1909.13595; M. Feurer et al., arXiv:2007.04074. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strategies import Params  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
from prior import best_so_far
from search import BENCH
from surrogates import Trees, module_of, open_campaigns, read_trials

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.search import Candidate, Starts, Target, fitted
from optimize.search.rank_model import rank_scores
from search_spaces import RankedRow, SpacePrior, load_space

MOST = 8  # configurations of a portfolio
SHIPPED = 6  # of the starts of h100 are of these campaigns
TRIED = 30  # of a campaign: its best trials are candidates
ROUNDED = 1e-5  # the starts' values are
THIRDS = ("0", "1", "2")  # seeds; each method has a campaign of each
TRIALS, MARKS = 24, (7, 12, 24)  # five minutes each
SEEDS = 11  # searches on each third
ROWS, BEST = 80, 20  # of a prior: as in priors/cpu_4e11.csv
OURS = "the starts of h100, without those of the judge"


@dataclass(frozen=True)
class Published:
    """Campaigns, their best trials as configurations of the space, and what a forest of each campaign expects of those."""

    plan: Plan
    trials: Any  # a DataFrame; `campaign` is the method and the seed
    campaigns: tuple[str, ...]
    candidates: tuple[tuple[str, float, Params], ...]  # campaign, val_bpb as measured, moved parameters; the best first
    expected: np.ndarray  # (campaigns, candidates): normal scores
    of_ours: tuple[int, ...]  # candidates that are starts of h100

    def rows(self, names: Sequence[str]) -> np.ndarray:
        return self.expected[[self.campaigns.index(name) for name in names]]

    def among(self, names: Sequence[str]) -> list[int]:
        """Return the candidates of these campaigns, each configuration once, the best first."""
        found: dict[str, int] = {}
        for i, (campaign, _, params) in enumerate(self.candidates):
            if campaign in names:
                found.setdefault(repr(params), i)
        return list(found.values())


def read_published(bench: Path) -> Published:
    from sklearn.ensemble import ExtraTreesRegressor

    plan = make_plan(replace(load_settings("h100", "", {"workload": "gpt"}), search_space=str(bench / "space.toml")))
    target = Target(plan.space, plan.constants, plan.baseline)
    module, trials = module_of(bench), read_trials(bench).sort_values("val_bpb")
    trials["campaign"] = trials.method + " " + trials.seed
    found = []
    for row in trials[trials.groupby("campaign").cumcount() < TRIED].to_dict("records"):
        params, _ = fitted(Candidate("", "", {name: row[name] for name in plan.space.names}), target)
        found += [(row["campaign"], row["val_bpb"], params)] if params else []
    moved = np.array([module.features(params) for *_, params in found])
    campaigns, expected = tuple(sorted(set(trials.campaign))), []
    for name in campaigns:
        own = trials[trials.campaign == name]
        forest = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
        known = [module.features(row) for row in own.to_dict("records")]
        expected.append(forest.fit(known, rank_scores(tuple(own.val_bpb))).predict(moved))
    values = [value for _, value, _ in found]
    shipped = sorted(start.val_bpb for start in load_space("h100").starts if start.val_bpb is not None)
    nearest = [int(np.abs(np.array(values) - value).argmin()) for value in shipped]
    ours = tuple(i for i, value in zip(nearest, shipped, strict=True) if abs(values[i] - value) < ROUNDED)
    return Published(plan, trials, campaigns, tuple(found), np.array(expected), ours)


# --- rules: what is chosen from some campaigns, in its order -----------------------------------------------------------------


def best_by_value(known: Published, names: Sequence[str]) -> list[int]:
    return known.among(names)[:MOST]


def best_by_mean_rank(known: Published, names: Sequence[str]) -> list[int]:
    rows = known.rows(names).mean(axis=0)
    return sorted(known.among(names), key=lambda i: rows[i])[:MOST]


def best_of_each_campaign(known: Published, names: Sequence[str]) -> list[int]:
    """As the starts of h100 were chosen: the campaigns with the best trials give one each."""
    firsts = {known.candidates[i][0]: i for i in reversed(known.among(names))}
    return sorted(firsts.values())[:MOST]


def greedy(known: Published, names: Sequence[str]) -> list[int]:
    """Add what lowers the mean over campaigns of the best expected rank the most."""
    rows, left = known.rows(names), known.among(names)
    reached, picks = np.full(len(rows), np.inf), []
    for _ in range(MOST):
        pick = min(left, key=lambda i: np.minimum(reached, rows[:, i]).mean())
        left.remove(pick)
        picks.append(pick)
        reached = np.minimum(reached, rows[:, pick])
    return picks


def ours(known: Published, names: Sequence[str]) -> list[int]:
    return [i for i in known.of_ours if known.candidates[i][0] in names]


Rule = Callable[[Published, Sequence[str]], list[int]]
RULES: Mapping[str, Rule] = {
    "the best by value": best_by_value,
    "the best by mean rank": best_by_mean_rank,
    "greedy portfolio": greedy,
    "the best of each campaign": best_of_each_campaign,
    OURS: ours,
}


# --- judges ------------------------------------------------------------------------------------------------------------------


def reached(values: Sequence[float]) -> np.ndarray:
    """Return the best of the first K, for K up to MOST; a shorter portfolio stays at its end."""
    best = np.minimum.accumulate(values)
    return np.concatenate([best, np.full(MOST - len(best), best[-1])])


def by_campaign(known: Published) -> dict[str, np.ndarray]:
    """Return for each rule the scores, of shape (campaigns, MOST), by the forest of each campaign that was left out."""
    others = [[name for name in known.campaigns if name != out] for out in known.campaigns]
    return {
        rule: np.array([reached(known.expected[at][choose(known, names)]) for at, names in enumerate(others)])
        for rule, choose in RULES.items()
    }


def by_third(known: Published, judges: Mapping[str, Trees]) -> dict[str, np.ndarray]:
    """Return for each rule what it reaches in val_bpb, of shape (thirds, MOST), by the trees of the third that was left out."""
    found: dict[str, list[np.ndarray]] = {}
    for third, judge in judges.items():
        for rule, choose in RULES.items():
            picks = choose(known, _without(known, third))
            found.setdefault(rule, []).append(reached([judge.mean_val_bpb(known.candidates[i][2]) for i in picks]))
    return {rule: np.array(each) for rule, each in found.items()}


def _without(known: Published, third: str) -> list[str]:
    return [name for name in known.campaigns if not name.endswith(f" {third}")]


def show(title: str, found: Mapping[str, np.ndarray], places: int) -> None:
    print(f"\n{title}\n{'':48}" + "".join(f"{k:>8}" for k in range(1, MOST + 1)) + f"  at {SHIPPED}, to our rule")
    for rule, rows in found.items():
        gap = (rows - found["the best of each campaign"])[:, SHIPPED - 1]
        told = f"  {gap.mean():+.{places}f} +- {gap.std(ddof=1) / len(gap) ** 0.5:.{places}f}"
        print(f"{rule:48}" + "".join(f"{each:8.{places}f}" for each in rows.mean(axis=0)) + told)


# --- searches ----------------------------------------------------------------------------------------------------------------


def prior_of_trials(known: Published, names: Sequence[str]) -> SpacePrior:
    """Rank the best trials of these campaigns and others at equal distances, the worst included."""
    trials = known.trials[known.trials.campaign.isin(names)]
    others = np.linspace(BEST, len(trials) - 1, ROWS - BEST).round().astype(int)
    rows = trials.iloc[[*range(BEST), *others]]
    rows = rows[rows.WINDOW_PATTERN.isin(known.plan.space["WINDOW_PATTERN"].choices)].to_dict("records")
    ranked = (RankedRow(n, {name: row[name] for name in known.plan.space.names}) for n, row in enumerate(rows, 1))
    return SpacePrior("published trials", tuple(ranked))


def arms(known: Published, third: str) -> dict[str, Plan]:
    names = _without(known, third)
    prior = replace(known.plan.space, priors=(prior_of_trials(known, names),))

    def started(choose: Rule) -> Starts:
        return Starts(tuple(Candidate("", "", known.candidates[i][2]) for i in choose(known, names)[:SHIPPED]))

    alike = replace(known.plan, starts=started(best_of_each_campaign))
    return {
        "the best of each campaign": alike,
        "the same, and a prior": replace(alike, space=prior),
        "greedy portfolio": replace(known.plan, starts=started(greedy)),
        "a prior, no starts": replace(known.plan, space=prior),
        "neither": known.plan,
    }


def show_searches(found: Mapping[str, np.ndarray]) -> None:
    first = next(iter(found.values()))
    print(
        f"\nsearches of auto, mean of {len(first)}; the difference to the first line\n{'best val_bpb after trial':32}",
        end="",
    )
    print("".join(f"{mark:>10}{'':18}" for mark in MARKS))
    for arm, curves in found.items():
        gaps = curves - first
        means, errors = gaps.mean(axis=0), gaps.std(axis=0, ddof=1) / len(gaps) ** 0.5
        cells = (f"{curves[:, m - 1].mean():10.4f} {means[m - 1]:+.4f} +- {errors[m - 1]:.4f}" for m in MARKS)
        print(f"{arm:32}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--smoke", action="store_true")
    wanted = parser.parse_args()
    if wanted.smoke and not wanted.bench.is_dir():
        print(f"{wanted.bench}: not here; nothing to do")
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = read_published(wanted.bench)
    show("best normal score of the first K, by a forest of each campaign left out", by_campaign(known), 2)
    judges = {third: Trees(wanted.bench, third) for third in THIRDS[: 2 if wanted.smoke else 3]}
    show("best val_bpb of the first K, by trees of each third left out", by_third(known, judges), 4)
    curves: dict[str, list[np.ndarray]] = {}
    for third, judge in judges.items():
        first = 100 + SEEDS * int(third)
        for arm, plan in arms(known, third).items():
            evaluate, seeds = (
                open_campaigns(wanted.bench, judge)(first),
                range(first, first + (1 if wanted.smoke else SEEDS)),
            )
            curves.setdefault(arm, []).append(best_so_far(plan, evaluate, seeds, TRIALS)[0])
    show_searches({arm: np.concatenate(each) for arm, each in curves.items()})


if __name__ == "__main__":
    main()
