"""What pruning gains in campaigns of real training, in which the sampler learns from what is cut.

    python benchmarks/pruning_live.py                  8 seeds of `auto` under a budget of 4e11 FLOPs, each pruner and none
    python benchmarks/pruning_live.py --flops 1e12     a larger budget
    python benchmarks/pruning_live.py --smoke          one seed, eight small trainings

Everything is the product's own but the executor, which plays the curve of a training back, so that a trial that is cut costs
what it had used. Under a budget of work a configuration has one value and one curve: each is trained once, to its end, and
kept in --kept. A campaign ends when it has spent --trainings whole trainings. Two tables: the best value so far against what was
spent, without and with 8 % of a training for each start; and after how many trainings each pruner has what `none` has at
the marks, as a ratio (above 1: pruning pays), with its standard error over the seeds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from search_cpu import fingerprint_of, make_cpu_plan, train_forked  # isort: skip  (sets threads before numpy)

from optimize.config.plan import Plan
from optimize.executors.simulated import SimulatedExecutor
from optimize.executors.slots import find_slots
from optimize.runner.diagnosis import parse_summary
from optimize.session.session import prepare_data
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopLevel, StopSignals
from optimize.trial import Job, Outcome, Suggestion, TrialStatus, Value
from storage import StudyPaths, TrialRecord, open_database

ARMS = ("none", "regression", "halving")
OVERHEAD = 0.08  # of a training, for each trial that is started
STEP = re.compile(r"\(([\d.]+)%\).*?loss: ([\d.]+)")


@dataclass(frozen=True)
class Trained:
    """A training to its end; `value` is None if it failed."""

    value: float | None
    curve: tuple[tuple[float, float], ...]


class Trainings:
    """What has been trained, by the parameters; kept in a file of JSON lines."""

    def __init__(self, plan: Plan, data: str, kept: Path) -> None:
        self._plan, self._kept, self._fingerprint = plan, kept, fingerprint_of(plan, data)
        rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        mine = [row for row in rows if row["fingerprint"] == self._fingerprint]
        self._known = {row["params"]: Trained(row["value"], tuple(map(tuple, row["curve"]))) for row in mine}
        self.new = 0

    def __call__(self, params: Mapping[str, Value]) -> Trained:
        key = json.dumps(dict(params), sort_keys=True)
        if key not in self._known:
            self._known[key] = found = self._train(params)
            self.new += 1
            row = {"fingerprint": self._fingerprint, "params": key, "value": found.value, "curve": found.curve}
            with self._kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return self._known[key]

    def _train(self, params: Mapping[str, Value]) -> Trained:
        ended_well, log = train_forked(self._plan, dict(params))
        value = parse_summary(log).get(self._plan.workload.metric.name)
        curve = [(float(percent) / 100, float(loss)) for percent, loss in STEP.findall(log)]
        return Trained(value if ended_well and isinstance(value, float) else None, tuple(curve))


class StopsAt(StopSignals):
    """Asks the study to end once the simulated clock shows so much."""

    def __init__(self, executor: SimulatedExecutor, end_s: float) -> None:
        super().__init__()
        self._executor, self._end_s = executor, end_s

    def level(self) -> StopLevel:
        return StopLevel.FINISH if self._executor.now_s >= self._end_s else super().level()


def campaign(plan: Plan, trainings: Trainings, arm: str, seed: int, spent: float) -> list[TrialRecord]:
    """Return the trials of a study that ends when it has spent so many trainings."""

    def run(job: Job) -> Outcome:
        found = trainings(job.params)
        if found.value is None:
            return Outcome(TrialStatus.DIVERGED, 1.0, curve=found.curve)
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={plan.workload.metric.name: found.value}, curve=found.curve)

    def prepare(suggestion: Suggestion) -> Job:
        return mine.workload.prepare(suggestion, mine.settings.constants, {}, mine.settings.limits)

    with tempfile.TemporaryDirectory() as folder:
        pruning = {"pruning": False} if arm == "none" else {"pruner": arm}
        settings = replace(plan.settings, study="s", seed=seed, runs=Path(folder), starts=False, **pruning)  # type: ignore[arg-type]
        mine, paths, executor = replace(plan, settings=settings), StudyPaths(Path(folder), "s"), SimulatedExecutor(run)
        paths.create()
        with (
            closing(open_database(paths.database)) as database,
            open_study(database, mine, "live", lambda line: None) as study,
            StopsAt(executor, spent) as stop,
        ):
            Loop(study, executor, prepare, Budget(), (), stop, tick_s=0.0).run()
            return list(study.records())


def best_after(records: Sequence[TrialRecord], overhead: float) -> list[tuple[float, float]]:
    """Return what was spent and the best value so far, after each trial."""
    found, spent, best = [], 0.0, float("inf")
    for record in records:
        spent += (record.seconds or 0.0) + overhead
        best = min(best, record.value if record.value is not None else best)
        found.append((spent, best))
    return found


def value_at(curve: Sequence[tuple[float, float]], mark: float) -> float:
    return min((best for spent, best in curve if spent <= mark + 1e-9), default=float("inf"))


def spent_until(curve: Sequence[tuple[float, float]], value: float, most: float) -> float:
    return next((spent for spent, best in curve if best <= value), most)


def mean_curve(curves: Sequence[Sequence[tuple[float, float]]], most: int) -> list[tuple[float, float]]:
    """Return the mean of the best values after each tenth of a training."""
    marks = [i / 10 for i in range(15, 10 * most + 1)]
    return [(mark, statistics.mean(value_at(curve, mark) for curve in curves)) for mark in marks]


def show(found: Mapping[str, Sequence[Sequence[TrialRecord]]], most: int) -> None:
    marks = [mark for mark in (6, 10, 15, 20, 25, 30, 40) if mark <= most] or [most]
    for overhead in (0.0, OVERHEAD):
        curves = {arm: [best_after(records, overhead) for records in each] for arm, each in found.items()}
        print(
            f"\nbest value after so many trainings, {overhead:.0%} for each start; difference to none +- standard error"
        )
        print(f"{'':12}" + "".join(f"{mark:>26}" for mark in marks))
        for arm, each in curves.items():
            cells = []
            for mark in marks:
                gaps = [value_at(a, mark) - value_at(b, mark) for a, b in zip(each, curves["none"], strict=True)]
                error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
                mean = statistics.mean(value_at(curve, mark) for curve in each)
                cells.append(f"{mean:.4f} {statistics.mean(gaps):+.4f} +- {error:.4f}")
            print(f"{arm:12}" + "".join(f"{cell:>26}" for cell in cells))
        print(
            "trainings that none needs for its mean value at a mark, divided by those of the arm; errors by jackknife"
        )
        for arm in list(found)[1:]:
            cells = [f"{ratio:.2f} +- {error:.2f}" for ratio, error in (jackknife(curves, arm, m, most) for m in marks)]
            print(f"{arm:12}" + "".join(f"{cell:>26}" for cell in cells))


def jackknife(
    curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], arm: str, mark: int, most: int
) -> tuple[float, float]:
    """Return the ratio of all seeds, and its standard error by leaving out each in turn."""

    def ratio(seeds: Sequence[int]) -> float:
        none, other = ([curves[name][i] for i in seeds] for name in ("none", arm))
        wanted = value_at(mean_curve(none, most), mark)
        return spent_until(mean_curve(none, most), wanted, mark) / spent_until(mean_curve(other, most), wanted, most)

    seeds = range(len(curves[arm]))
    if len(seeds) < 2:
        return ratio(seeds), float("nan")
    without = [ratio([other for other in seeds if other != seed]) for seed in seeds]
    middle = statistics.mean(without)
    return ratio(seeds), ((len(seeds) - 1) / len(seeds) * sum((each - middle) ** 2 for each in without)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flops", type=float, default=4e11)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trainings", type=int, default=30, help="whole trainings that a campaign may spend")
    parser.add_argument("--kept", type=Path, default=Path("runs/pruning-live.jsonl"), help="where trainings are kept")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    seeds, most = (1, 8) if given.smoke else (given.seeds, given.trainings)
    plan = make_cpu_plan()
    flops = 80_000_000_000 if given.smoke else int(given.flops)
    plan = replace(plan, settings=replace(plan.settings, constants={**plan.settings.constants, "FLOP_BUDGET": flops}))
    given.kept.parent.mkdir(parents=True, exist_ok=True)
    trainings = Trainings(plan, prepare_data(plan, lambda line: None), given.kept)
    found: dict[str, list[list[TrialRecord]]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm in ARMS:
            found[arm].append(campaign(plan, trainings, arm, seed, most))
        cut = {arm: sum(each.status == TrialStatus.HOPELESS for each in found[arm][-1]) for arm in ARMS}
        trials = {arm: len(found[arm][-1]) for arm in ARMS}
        print(f"seed {seed}: trials {trials}, cut {cut}; {trainings.new} trained so far", flush=True)
    show(found, most)


if __name__ == "__main__":
    import os

    os.environ.update(find_slots("cpu", 1, None)[0].env)  # before torch is imported
    main()
