"""How good is the search on real training? The cpu profile with a smaller budget, one or two seconds a trial.

    python benchmarks/search_cpu.py             compare, on the evaluations of data/cpu_evaluations.csv; train what is missing
    python benchmarks/search_cpu.py --smoke     one seed, 20 trials, and two rows trained again
    python benchmarks/search_cpu.py --seeds 0-3 --strategies auto,'plain TPE'

Each strategy gets the same space, seeds, baseline and 60 trials. A work budget makes values deterministic, so no parameters are
ever trained twice: evaluations are rows of a committed file, keyed by a fingerprint of scripts, constants, data, torch and
processor, and shared by all strategies. Twenty random rows are trained again in each run, as the product would train them, and
must agree to the last digit. On another processor, torch or data the file's rows do not count, and all are trained anew.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.metadata
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from strategies import STRATEGIES, Evaluated, Params, after, seeds_of  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna

from optimize.config.environment import script_environment
from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.executors.slots import cpu_name, find_slots
from optimize.runner.diagnosis import parse_summary
from optimize.runner.process import run_job
from optimize.runner.workdir import write_files
from optimize.session.session import prepare_data
from optimize.trial import Suggestion, TrialStatus

TABLE = Path(__file__).parent / "data" / "cpu_evaluations.csv"
BUDGET = {"FLOP_BUDGET": 400_000_000_000, "EVAL_TOKENS": 16_384}
TRIALS, MARKS = 60, (20, 60)
SEEDS = range(8)
COMPARED = ("auto", "plain TPE", "tutorial's loop")
AGAIN = 20


def make_cpu_plan() -> Plan:
    settings = load_settings("cpu", "benchmark", {"workload": "gpt", "search_space": "cpu"})
    settings = replace(
        settings, constants={**settings.constants, **BUDGET}, own_prior=False
    )  # it is made of this table
    return make_plan(settings)


class Evaluations:
    """The file of what has been trained, and the training of what is missing."""

    def __init__(self, plan: Plan, data: str) -> None:
        self._plan = plan
        self._fingerprint = fingerprint_of(plan, data)
        self._rows = {key: value for key, value in _read() if key[0] == self._fingerprint}
        self.trained = 0

    def __call__(self, params: Params) -> Evaluated:
        key = self._key(params)
        if key not in self._rows:
            self._rows[key] = _train(self._plan, params)
            self.trained += 1
            with TABLE.open("a") as file:
                file.write(",".join((*key, self._rows[key])) + "\n")
        value = self._rows[key]
        return Evaluated(params, float(value) if value[0].isdigit() else None, 1.0)

    def differing(self, rows: int, rng: random.Random) -> list[str]:
        """Trains some rows as the product would; returns those whose value is another one now."""
        keys = rng.sample(sorted(self._rows), min(rows, len(self._rows)))
        now = {key: _train_as_the_product(self._plan, self._params(key)) for key in keys}
        return [
            f"{' '.join(key)}: {self._rows[key]} in the file, {now[key]} now"
            for key in keys
            if now[key] != self._rows[key]
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def _key(self, params: Params) -> tuple[str, ...]:
        return self._fingerprint, *(_text(params[name]) for name in self._plan.space.names)

    def _params(self, key: tuple[str, ...]) -> Params:
        pairs = zip(self._plan.space.parameters, key[1:], strict=True)
        return {p.name: next(choice for choice in p.choices if _text(choice) == text) for p, text in pairs}


def _read() -> list[tuple[tuple[str, ...], str]]:
    with TABLE.open() as file:
        _, *rows = csv.reader(file)
    return [(tuple(row[:-1]), row[-1]) for row in rows]


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def fingerprint_of(plan: Plan, data: str) -> str:
    parts = plan.workload.fingerprint(), sorted(plan.settings.constants.items()), data
    machine = importlib.metadata.version("torch"), cpu_name()
    return hashlib.sha256(repr((parts, machine)).encode()).hexdigest()[:8]


# --- training ---------------------------------------------------------------------------------------------------------


def _train(plan: Plan, params: Params) -> str:
    ended_well, log = train_forked(plan, params)
    value = parse_summary(log).get(plan.workload.metric.name)
    return repr(value) if ended_well and isinstance(value, float) else "failed"


def train_forked(plan: Plan, params: Params) -> tuple[bool, str]:
    """Train with these parameters; return whether the script ended well, and its log."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), plan.workload.render({**plan.settings.constants, **params}))
        return run_forked(Path(folder), plan.workload.script, ())


def run_forked(folder: Path, script: str, arguments: Sequence[str]) -> tuple[bool, str]:
    """Run a script of a folder; return whether it ended well, and its log.

    It runs in a process forked from this one, which has imported torch: that saves half of the time of so short a trial.
    """
    import torch.nn.functional  # noqa: F401

    log = folder / "log.txt"
    sys.stdout.flush()  # else what is buffered is written twice, and once into the log
    pid = os.fork()
    if pid == 0:
        _become_script(folder, script, arguments, log)
    _, status = os.waitpid(pid, 0)
    return status == 0, log.read_text()


def _become_script(folder: Path, script: str, arguments: Sequence[str], log: Path) -> None:
    ended = 1
    try:
        os.chdir(folder)
        sys.argv = [script, *arguments]
        output = os.open(log, os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.path.insert(0, str(folder))
        exec(compile((folder / script).read_text(), script, "exec"), {"__name__": "__main__"})
        ended = 0
    finally:
        sys.stdout.flush()
        os._exit(ended)


def _train_as_the_product(plan: Plan, params: Params) -> str:
    job = plan.workload.prepare(
        Suggestion(0, params), plan.settings.constants, script_environment(plan.settings.env_pass), plan.settings.limits
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_job(job, Path(folder), find_slots("cpu", 1, None)[0])
    complete = outcome.status is TrialStatus.COMPLETE
    return repr(outcome.summary[job.metric.name]) if complete else "failed"


# --- the comparison ---------------------------------------------------------------------------------------------------


def best_so_far(trials: Sequence[Evaluated]) -> list[float]:
    found, best = [], float("inf")
    for trial in trials:
        best = min(best, float("inf") if trial.value is None else trial.value)
        found.append(best)
    return found


def compare(plan: Plan, evaluations: Evaluations, names: Sequence[str], seeds: Sequence[int], trials: int) -> bool:
    """Prints the table; returns whether auto is ahead of every peer at every mark."""
    curves: dict[str, np.ndarray] = {}
    for name in names:
        runs = [STRATEGIES[name](plan, evaluations, seed, after(trials)) for seed in seeds]
        curves[name] = np.array([best_so_far(run[:trials]) for run in runs])
        print(f"  {name}: {evaluations.trained} trained so far", file=sys.stderr, flush=True)
    marks = [mark for mark in MARKS if mark <= trials]
    print(f"best val_bpb of {len(seeds)} seeds; difference to auto +- its standard error, paired by seed")
    print(f"{'':18}" + "".join(f"{f'after {mark} trials':>32}" for mark in marks))
    ahead = True
    for name in names:
        cells = []
        for mark in marks:
            gap = curves[name][:, mark - 1] - curves["auto"][:, mark - 1]
            error = gap.std(ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else float("nan")
            ahead &= name == "auto" or "ours" in name or gap.mean() > 0
            cells.append(f"{curves[name][:, mark - 1].mean():.4f}  {gap.mean():+.4f} +- {error:.4f}")
        print(f"{name:18}" + "".join(f"{cell:>32}" for cell in cells))
    return ahead


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--seeds", type=seeds_of, default=SEEDS)
    parser.add_argument("--strategies", default=",".join(COMPARED))
    wanted = parser.parse_args()
    plan = make_cpu_plan()
    evaluations = Evaluations(plan, prepare_data(plan, lambda line: None))
    if wanted.smoke and not len(evaluations):
        print(f"{TABLE.name}: its rows are of another processor, torch or data; nothing can be compared here")
        return
    seeds, trials = (range(1), MARKS[0]) if wanted.smoke else (wanted.seeds, TRIALS)
    ahead = compare(plan, evaluations, wanted.strategies.split(","), seeds, trials)
    differing = evaluations.differing(2 if wanted.smoke else AGAIN, random.Random())
    print(f"rows trained again that differ: {len(differing)}")
    print(*differing, sep="\n")
    sys.exit(bool(differing) or not (ahead or wanted.smoke))


if __name__ == "__main__":
    os.environ.update(find_slots("cpu", 1, None)[0].env)  # before torch is imported
    main()
