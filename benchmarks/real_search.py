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

The prior of a campaign is the study of the smallest other budget, of the same seed and processor, 40 trials, as `--prior` reads it;
`priors` are those of all other budgets.
A wrong one is the worst tenth of a random study, as if it were the best. Peers are Optuna as it comes, and CatCMAwM of the package
`cmaes`, which has to be installed.

For each budget what was cut, and two tables: the best value after so many trainings; and after how many trainings each arm has what
the reference has at the marks, as a ratio (above 1: fewer), with the interval of 90 % over resampled seeds, and how often swapping
the two in random seeds gives as large a ratio. Then all budgets together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from real_campaigns import ARMS, campaign  # isort: skip  (sets threads before numpy)
import optuna
import released_auto
from real_figures import MARKS, Compared, show, show_pooled
from real_tasks import BUDGETS, GPT, UNITS
from strategies import seeds_of
from trainings import NotInTheFile, Trainings, open_trainings

REFERENCE = released_auto.NAME
COMPARED = (REFERENCE, "auto")
SMOKE_BUDGET, SMOKE_MOST = 80_000_000_000, 6


def compare(script: str, budget: int, arms: Sequence[str], most: int, given: argparse.Namespace) -> Compared:
    """Run the campaigns. Without given seeds nothing is trained, and a seed whose campaigns leave the file is left out."""
    compared = Compared(f"{script}, {budget:.3g} {UNITS[script]}", {arm: [] for arm in arms})
    budgets = tuple(dict.fromkeys((budget, *BUDGETS[script])))
    done: set[int] = set()
    for trainings in open_trainings(script, budgets, given.new, given.nanogpt, may_train=given.seeds is not None):
        mine = trainings.get(budget)
        if mine is None:
            continue
        seeds = mine.seeds if given.seeds is None else [seed for seed in given.seeds if mine.may_train]
        with released_auto.registered(mine.plan.space.path, mine.plan.constants, script):
            for seed in (seed for seed in seeds if seed not in done):
                if _compare_one(compared, trainings, budget, seed, most):
                    done.add(seed)
    if given.seeds is not None and not done:
        print(f"{compared.budget}: nothing can be trained here. nanoGPT needs --nanogpt with a clone of it.")
    return compared


def _compare_one(compared: Compared, trainings: Mapping[int, Trainings], budget: int, seed: int, most: int) -> bool:
    mine, arms = trainings[budget], list(compared.found)
    spent = {}
    for arm in arms:
        try:
            spent[arm] = campaign(trainings, budget, arm, seed, most)
        except NotInTheFile as error:
            print(f"{compared.budget}, seed {seed}, left out: {arm}: {error}")
            return False
    for arm, each in spent.items():
        compared.found[arm].append(each)
    if most == MARKS[-1] and set(COMPARED) <= set(arms):
        mine.keep_seed(seed)
    counts = {arm: len(each) for arm, each in spent.items()}
    print(f"{compared.budget}, seed {seed}: trials {counts}; {mine.new} trained so far", file=sys.stderr, flush=True)
    return True


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", choices=list(BUDGETS), help="default: both, with --budget gpt")
    parser.add_argument("--budget", type=float, help="in FLOPs, of nanogpt in steps; default: each of them")
    parser.add_argument(
        "--seeds", type=seeds_of, help="such as 3-5: train here what they lack; default: play back the file's"
    )
    parser.add_argument("--arms", default=",".join(COMPARED), help=f"the first is the reference; of {', '.join(ARMS)}")
    parser.add_argument("--trainings", type=int, default=MARKS[-1], help="whole trainings that a campaign may spend")
    parser.add_argument("--new", type=Path, default=Path("runs/trainings.jsonl"), help="where new trainings are kept")
    parser.add_argument("--nanogpt", type=Path, help="a clone of nanoGPT with prepared data, to train it")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    arms = [arm for arm in given.arms.split(",") if arm != REFERENCE or released_auto.is_here()]
    if not arms:
        parser.error(f"this clone lacks the commit of {REFERENCE}. Fetch it with `git fetch --unshallow`.")
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            given.seeds, given.new = range(1), Path(folder) / "trainings.jsonl"
            show(compare(GPT, SMOKE_BUDGET, [*arms, "halving"], SMOKE_MOST, given), MARKS[:1])
        return
    scripts = [given.script] if given.script else [GPT] if given.budget else list(BUDGETS)
    found = []
    for script in scripts:
        for budget in [int(given.budget)] if given.budget else BUDGETS[script]:
            compared = compare(script, budget, arms, given.trainings, given)
            if compared.found[arms[0]]:
                found.append(show(compared, [mark for mark in MARKS if mark <= given.trainings]))
    show_pooled(found)


if __name__ == "__main__":
    import os

    from optimize.executors.slots import find_slots

    os.environ.update(find_slots("cpu", 1, None)[0].env)  # before torch is imported
    main()
