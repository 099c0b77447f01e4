"""Records what another seed does to val_bpb: the baseline and others of the `cpu` space, trained with many seeds.

    python benchmarks/confirm_noise.py          write data/cpu_seed_noise.csv anew: 200 trainings of a second or two

`confirm.py` resamples the table. The configurations are the baseline and, of the distinct ones that
data/cpu_evaluations.csv knows, the best, and those at a tenth, a quarter and half of the ranks.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from search_cpu import Evaluations, Params, _read, _train, make_cpu_plan  # isort: skip  (sets threads before numpy)
from optimize.config.plan import Plan
from optimize.executors.slots import find_slots
from optimize.session.session import prepare_data

TABLE = Path(__file__).parent / "data" / "cpu_seed_noise.csv"
SEEDS = range(43, 83)  # the script's own is 42
RANKS = {"best": 0.0, "a tenth": 0.1, "a quarter": 0.25, "half": 0.5}


def configurations(plan: Plan, evaluations: Evaluations) -> dict[str, Params]:
    """What is trained, by name."""
    complete = sorted((float(value), key) for key, value in _read() if value[0].isdigit())
    ranked = {name: complete[int(share * (len(complete) - 1))][1] for name, share in RANKS.items()}
    return {"baseline": dict(plan.baseline), **{name: evaluations._params(key) for name, key in ranked.items()}}


def main() -> None:
    plan = make_cpu_plan()
    found = configurations(plan, Evaluations(plan, prepare_data(plan, print)))
    lines = [("configuration", "seed", "val_bpb")]
    for seed in SEEDS:
        for name, params in found.items():
            value = _train(plan, {**params, "SEED": seed})
            lines.append((name, str(seed), value))
            print(*lines[-1], flush=True)
    with TABLE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


if __name__ == "__main__":
    os.environ.update(find_slots("cpu", 1, None)[0].env)  # before torch is imported
    main()
