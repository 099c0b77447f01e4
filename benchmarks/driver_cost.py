"""What a trial costs besides the script, and how busy slots are. python benchmarks/driver_cost.py [--smoke]

A fake script of 14 parameters (`quick_workload/`), which naps as long as it is told to. Each figure is the driver's real path:
settings, plan, study on SQLite, guardians, views. The parts:

    trial       one slot, random sampler, 300 trials; in turns, ten at a time, with plain Optuna (`study.optimize`, default
                SQLite, the same sampler, `subprocess.run` of the same script) and with the script alone.
                overhead = wall of a trial - wall of the script alone; ours must be under half of plain Optuna's
    growth      the same for trials 4,701 to 5,000 of a study whose others took no time; the overhead, in units of the script
                alone at that moment (the machine may have another speed by then), must be under 1.5 x that of trials 1 to 300
    asks        one proposal of each sampler at 300 and at 5,000 trials, without study and database; for information
    busy        2 slots x 1 s trials >= 90 %, 32 slots x 10 s trials >= 95 %: what the scripts sleep, as a share of
                slots x wall from the first start to the last end; a script's own start counts as lost

The last line holds the figures as name=value pairs. Exit 1 when a bound is missed. About seven minutes; `--smoke` does all of it
at small scale and judges no time.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from driving import driver, paths_of, plan_of
from optuna import Trial, create_study
from optuna.logging import WARNING, set_verbosity
from optuna.samplers import RandomSampler

from optimize.config.environment import script_environment
from optimize.config.plan import Plan
from optimize.executors import Executor
from optimize.executors.local import LocalExecutor
from optimize.executors.simulated import SimulatedExecutor
from optimize.search import SAMPLERS, Past, open_sampler
from optimize.study.callback import Callback
from optimize.trial import Job, Outcome, Slot, TrialStatus
from storage import TrialRecord

WORKLOAD = Path(__file__).resolve().parent / "quick_workload"
MAX_SHARE, MAX_GROWTH = 0.5, 1.5
TURN, ALONE = 10, 5  # trials of a turn, and runs of the script alone
ASKS_S = 3.0  # for the asks of one sampler, three of them at least
ENOUGH = {"tpe": 5_000, "gp": 300}  # trials: what is beyond takes minutes


class Plain:
    """The peer: plain Optuna, its defaults, one process after the other."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        set_verbosity(WARNING)
        self._folder, self._plan, self._env = folder, plan, script_environment(plan.settings.env_pass)
        self._script = plan.workload.files["train.py"]
        self._study = create_study(storage=f"sqlite:///{folder}/plain.db", sampler=RandomSampler(seed=0))
        self.seconds: list[float] = []

    def run(self, trials: int) -> None:
        for _ in range(trials):
            started = time.perf_counter()
            self._study.optimize(self._objective, n_trials=1)
            self.seconds.append(time.perf_counter() - started)

    def _objective(self, trial: Trial) -> float:
        text = self._script
        for parameter in self._plan.space.parameters:
            value = trial.suggest_categorical(parameter.name, list(parameter.choices))
            text = re.sub(rf"(?m)^{parameter.name} = .*$", f"{parameter.name} = {value!r}", text)
        folder = self._folder / f"plain-{trial.number}"
        folder.mkdir()
        (folder / "train.py").write_text(text)
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, env=self._env, capture_output=True, text=True)
        return float(re.findall(r"val_bpb: +(\S+)", done.stdout)[0])


class Alone:
    """The script by itself: what neither side can save."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._env = folder / "alone", script_environment(plan.settings.env_pass)
        self._folder.mkdir()
        (self._folder / "train.py").write_text(plan.workload.files["train.py"])
        self.seconds: list[float] = []

    def run(self, times: int) -> None:
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "train.py"], cwd=self._folder, env=self._env, capture_output=True, check=True
            )
            self.seconds.append(time.perf_counter() - started)


class Turns(Callback):
    """Times our trials from one ending to the next, and lets the others have their turn in between, off the clock."""

    def __init__(self, others: Callable[[], None]) -> None:
        self._others, self._since = others, 0.0
        self.seconds: list[float] = []

    def on_start(self, job: Job, slot: Slot) -> None:
        self._since = self._since or time.perf_counter()

    def on_trial_end(self, record: TrialRecord) -> None:
        assert record.state == "COMPLETE", record.reason
        self.seconds.append(time.perf_counter() - self._since)
        if len(self.seconds) % TURN == 0:  # now, since nothing of ours runs: a tick comes when the next trial does
            self._others()
        self._since = time.perf_counter()


class Clock(Callback):
    """When the first trial started and the last one ended."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def on_start(self, job: Job, slot: Slot) -> None:
        self.first = self.first or time.perf_counter()

    def on_trial_end(self, record: TrialRecord) -> None:
        assert record.state == "COMPLETE", record.reason
        self.last = time.perf_counter()


def run(plan: Plan, executor: Executor, *callbacks: Callback) -> None:
    with driver(plan, executor, callbacks) as opened:
        opened.loop.run()


def local(plan: Plan, slots: int = 1) -> LocalExecutor:
    return LocalExecutor([Slot(f"cpu:{i}") for i in range(slots)], paths_of(plan).work)


def quick_plan(folder: Path, trials: int, study: str = "s", sleep_s: float = 0.0) -> Plan:
    profile, workload = str(WORKLOAD / "profile.toml"), str(WORKLOAD)
    plan = plan_of(profile, folder / "runs", workload=workload, trials=trials, study=study)
    return replace(plan, settings=replace(plan.settings, constants={"SLEEP_S": sleep_s}))


def fake(job: Job) -> Outcome:
    """What the script would have printed, and its curve."""
    summary: dict[str, float | str] = {"val_bpb": 1 + float(str(job.params["MATRIX_LR"])), "peak_vram_mb": 45060.2}
    curve = tuple((quarter / 4, 4 - quarter / 4) for quarter in range(1, 5))
    return Outcome(TrialStatus.COMPLETE, 300.0, summary=summary | {"num_steps": 4.0}, log="step\n---\n", curve=curve)


# --- the parts --------------------------------------------------------------------------------------------------------


def overhead_and_growth(folder: Path, trials: int, until: int) -> dict[str, float]:
    plan = quick_plan(folder, trials)
    plain, alone = Plain(folder, plan), Alone(folder, plan)

    def others() -> None:
        plain.run(TURN)
        alone.run(ALONE)

    early = Turns(others)
    run(plan, local(plan), early)
    run(quick_plan(folder, until - trials), SimulatedExecutor(fake))
    late_alone = Alone(folder / "runs", plan)
    late, plan = Turns(lambda: late_alone.run(ALONE)), quick_plan(folder, until)
    run(plan, local(plan), late)
    bare, late_bare = statistics.mean(alone.seconds), statistics.mean(late_alone.seconds)
    ours, late_ours = statistics.mean(early.seconds) - bare, statistics.mean(late.seconds) - late_bare
    plains = statistics.mean(plain.seconds) - bare
    tenth = max(trials // 6, 1)
    return {
        "script_ms": 1000 * bare,
        "ours_ms": 1000 * ours,
        "plain_ms": 1000 * plains,
        "share": ours / plains,
        "plain_growth": _growth(plain.seconds, bare, tenth),
        "late_script_ms": 1000 * late_bare,
        "late_ours_ms": 1000 * late_ours,
        "growth": late_ours / late_bare / (ours / bare),
    }


def _growth(seconds: list[float], bare: float, some: int) -> float:
    return (statistics.mean(seconds[-some:]) - bare) / (statistics.mean(seconds[:some]) - bare)


def ask_ms(plan: Plan, name: str, trials: int, retry_s: float) -> float:
    """One proposal, the median of many, in a study of so many trials."""
    sampler = open_sampler(name, plan.space, plan.constants, seed=0)
    sampler.replay(past(plan, trials))
    taken, number, give_up = [], trials, time.perf_counter() + retry_s
    while len(taken) < 3 or time.perf_counter() < give_up:
        started = time.perf_counter()
        params = sampler.propose()
        taken.append(time.perf_counter() - started)
        sampler.started(number, params)
        sampler.finished(number, "COMPLETE", 1 + float(str(params["MATRIX_LR"])))
        number += 1
    return 1000 * statistics.median(taken)


def past(plan: Plan, trials: int) -> Iterator[Past]:
    """Trials at random, one in eight of them bad."""
    chance, number = random.Random(0), 0
    while number < trials:
        params = {p.name: chance.choice(p.choices) for p in plan.space.parameters}
        if plan.space.feasible(params, plan.constants):
            good = chance.random() < 7 / 8
            value = 1 + chance.random() + float(str(params["MATRIX_LR"]))
            yield Past(number, params, "COMPLETE" if good else "PRUNED", value if good else None)
            number += 1


def busy(folder: Path, slots: int, sleep_s: float, trials: int) -> float:
    clock, plan = Clock(), quick_plan(folder, trials, f"busy-{slots}", sleep_s)
    run(plan, local(plan, slots), clock)
    return trials * sleep_s / (slots * (clock.last - clock.first))


def main() -> int:
    parser = argparse.ArgumentParser(description="See the docstring.")
    parser.add_argument("--smoke", action="store_true", help="everything at small scale; judges no time")
    smoke = parser.parse_args().smoke
    trials, until = (10, 40) if smoke else (300, 5_000)
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        figures = overhead_and_growth(folder, trials, until)
        figures["busy_2"] = busy(folder, 2, *((0.1, 4) if smoke else (1.0, 40)))
        figures["busy_32"] = busy(folder, *((4, 0.1, 8) if smoke else (32, 10.0, 160)))
        plan = quick_plan(folder, 1)
        show(figures)
        for sampler in SAMPLERS:
            for each in (trials, until):
                if each <= ENOUGH.get(sampler, until) and not (smoke and sampler == "gp"):
                    figures[f"ask_{sampler}_{each}_ms"] = ask_ms(plan, sampler, each, 0.1 if smoke else ASKS_S)
    show_asks(figures, (trials, until))
    print(" ".join(f"{key}={value:.3g}" for key, value in figures.items()))
    missed = [] if smoke else judge(figures)
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def show(figures: dict[str, float]) -> None:
    f = figures
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; the script alone takes {f['script_ms']:.0f} ms")
    print(f"{'overhead of a trial':<34}{'ms':>8}")
    print(
        f"{'  plain Optuna + subprocess.run':<34}{f['plain_ms']:>8.1f}   x {f['plain_growth']:.2f} from first to last sixth"
    )
    print(f"{'  ours':<34}{f['ours_ms']:>8.1f}   {f['share']:.2f} of plain Optuna's")
    print(
        f"{'  ours, last of the long study':<34}{f['late_ours_ms']:>8.1f}   x {f['growth']:.2f} in units of the script alone"
    )
    print(
        f"slots that work: {f['busy_2']:.1%} of 2 with short trials, {f['busy_32']:.1%} of 32 with long ones",
        flush=True,
    )


def show_asks(figures: dict[str, float], sizes: tuple[int, int]) -> None:
    print(f"{'one ask, ms':<14}" + "".join(f"{f'at {size:,}':>10}" for size in sizes) + " trials")
    for name in SAMPLERS:
        cells = (figures.get(f"ask_{name}_{size}_ms") for size in sizes)
        print(f"  {name:<12}" + "".join(f"{'-' if cell is None else f'{cell:.2f}':>10}" for cell in cells))


def judge(figures: dict[str, float]) -> list[str]:
    bounds = {"share": MAX_SHARE, "growth": MAX_GROWTH}
    least = {"busy_2": 0.90, "busy_32": 0.95}
    missed = [f"{key} {figures[key]:.2f} >= {most}" for key, most in bounds.items() if figures[key] >= most]
    return missed + [f"{key} {figures[key]:.3f} < {low}" for key, low in least.items() if figures[key] < low]


if __name__ == "__main__":
    raise SystemExit(main())
