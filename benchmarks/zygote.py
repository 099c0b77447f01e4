"""What a trial gains by being forked from a Python that has imported torch, and how long a slot stands idle between trials.

    python benchmarks/zygote.py            pairs of real trials, forked and started; then the gap between trials of a study
    python benchmarks/zygote.py --smoke    the same at small scale, under a minute: that it works, not how fast

A pair is the same job twice in the same slot, one right after the other, the order alternating, so that neighbours on the machine
disturb both alike. Demanded: val_bpb equal to the last digit in every pair, and a median gain above 0.5 s, judged by the time
in which the trial had a core: on an idle machine that is the wall clock, which is shown as well.

The gap is from the last line of a script to the first of the next, in a study of a script that does nothing: it holds ask,
render, tell, artifacts, folder and the start. Demanded: less than 0.2 s plus what starting that script by hand takes. ask and
render are also shown as a share of a 13-second and a 1-second trial: where that is about one percent or less, nothing is gained
by preparing the next trial before the last result is known. These need a machine that is not overloaded.

The last line holds the figures as name=value pairs. Exit 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from optimize.config.environment import script_environment
from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.executors.local import LocalExecutor
from optimize.executors.slots import find_slots
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Ending, Job, Outcome, Suggestion, TrialStatus
from storage import StudyPaths, open_database

SCRIPT = """\
import time
began = time.time()
{constants}
print(f"---\\nval_bpb:  {{1 + P0 / 10 + P1 / 20}}\\nbegan:  {{began:.6f}}\\nended:  {{time.time():.6f}}", flush=True)
"""
PARAMETERS, CHOICES = 14, [0, 1, 2, 3, 4]
LEAST_GAIN_S, MOST_GAP_S = 0.5, 0.2


class Took(NamedTuple):
    wall_s: float  # from submitting the trial to knowing how it ended
    core_s: float
    outcome: Outcome


def run(executor: LocalExecutor, job: Job) -> Took:
    started, before = time.perf_counter(), core_s()
    executor.submit(job)
    while True:
        for event in executor.wait(600.0):
            if isinstance(event, Ending):
                if event.outcome.status is not TrialStatus.COMPLETE:
                    raise SystemExit(f"zygote.py: a trial ended {event.outcome.status}: {event.outcome.reason}")
                return Took(time.perf_counter() - started, core_s() - before, event.outcome)


def core_s() -> float:
    """Of all trials that have ended: each was its guardian's child, forked or started, and the zygote is still alive."""
    total = 0
    for guardian in Path("/proc/thread-self/children").read_text().split():
        fields = Path(f"/proc/{guardian}/stat").read_bytes().rpartition(b")")[2].split()
        total += int(fields[13]) + int(fields[14])
    return total / os.sysconf("SC_CLK_TCK")


def pairs(count: int, constants: dict[str, object], work: Path) -> tuple[dict[str, object], list[str]]:
    """The cpu profile's baseline, forked and started in turn. The first fork waits for the imports and is not counted."""
    settings = load_settings("cpu", "the benchmark", {})
    plan = make_plan(replace(settings, constants=settings.constants | constants))  # type: ignore[arg-type]
    env = script_environment(settings.env_pass)
    plan.workload.prepare_data(plan.settings.constants, (), env, lambda line: print(line, file=sys.stderr))
    forked = plan.workload.prepare(Suggestion(0, {}), plan.settings.constants, env, settings.limits)
    found: list[tuple[Took, Took]] = []
    with LocalExecutor(find_slots("cpu", 1), work) as executor:
        run(executor, forked)
        for number in range(count):
            order = (forked, replace(forked, preload=()))
            took = {bool(job.preload): run(executor, job) for job in (order if number % 2 else order[::-1])}
            found.append((took[False], took[True]))
            for what, each in (("started", took[False]), ("forked ", took[True])):
                value, training = each.outcome.summary["val_bpb"], each.outcome.summary["training_seconds"]
                shown = f"wall {each.wall_s:6.2f} s (training {training} s), on a core {each.core_s:6.2f} s, val_bpb {value}"
                print(f"pair {number}: {what} {shown}", flush=True)
    same = all(before.outcome.summary["val_bpb"] == after.outcome.summary["val_bpb"] for before, after in found)
    gain = statistics.median(before.core_s - after.core_s for before, after in found)
    figures = {
        "pairs": count,
        "identical": same,
        "started_s": round(statistics.median(before.core_s for before, _ in found), 2),
        "gain_s": round(gain, 2),
        "gain_wall_s": round(statistics.median(before.wall_s - after.wall_s for before, after in found), 2),
    }
    missed = [] if same else ["val_bpb differs within a pair"]
    return figures, missed + ([f"gain {gain:.2f} s <= {LEAST_GAIN_S} s"] if gain <= LEAST_GAIN_S else [])


def fake_study(folder: Path) -> None:
    names = [f"P{i}" for i in range(PARAMETERS)]
    workload = folder / "workload"
    workload.mkdir()
    (workload / "train.py").write_text(SCRIPT.format(constants="\n".join(f"{name} = 2" for name in names)))
    (folder / "space.toml").write_text("[parameters]\n" + "".join(f"{name} = {CHOICES}\n" for name in names))
    (folder / "profile.toml").write_text("[slots]\ndevice = 'cpu'\ncount = 1\n")


def gap(trials: int, folder: Path) -> tuple[dict[str, object], list[str]]:
    """Of a whole study with the default sampler on its own database, one slot."""
    fake_study(folder)
    flags = {"workload": f"{folder}/workload", "search_space": f"{folder}/space.toml", "runs": folder / "runs"}
    settings = load_settings(f"{folder}/profile.toml", "the benchmark", {**flags, "study": "gap"}, {})
    plan, paths, env, took = (
        make_plan(settings),
        StudyPaths(settings.runs, "gap"),
        script_environment(settings.env_pass),
        [],
    )
    paths.create()
    with (
        closing(open_database(paths.database)) as database,
        open_study(database, plan, "", lambda line: None) as study,
        StopSignals() as stop_signals,
    ):
        ask = study.ask

        def timed_ask() -> Suggestion:
            took.append(-time.perf_counter())
            return ask()

        def prepare(suggestion: Suggestion) -> Job:
            job = plan.workload.prepare(suggestion, settings.constants, env, settings.limits)
            took[-1] += time.perf_counter()
            return job

        study.ask = timed_ask  # type: ignore[method-assign]
        executor = LocalExecutor(find_slots("cpu", 1), paths.work)
        Loop(study, executor, prepare, Budget(trials), (), stop_signals).run()
        records = study.records()
    times = [(float(r.summary["began"]), float(r.summary["ended"])) for r in records]
    gaps = [after[0] - before[1] for before, after in pairwise(times)]
    start_s, asking_s = by_hand(folder, 10), statistics.median(took)
    found = statistics.median(gaps)
    missed = [f"gap {found:.3f} s > {MOST_GAP_S} s + {start_s:.3f} s"] if found > MOST_GAP_S + start_s else []
    shares = {f"ask_and_render_of_{seconds}_s_percent": round(100 * asking_s / seconds, 2) for seconds in (13, 1)}
    figures = {"gap_s": round(found, 3), "own_start_s": round(start_s, 3), "ask_and_render_s": round(asking_s, 4)}
    return {**figures, **shares}, missed


def by_hand(folder: Path, count: int) -> float:
    """Seconds from `python train.py` to its first line, by the script's own clock."""
    found = []
    for _ in range(count):
        before = time.time()
        command = [sys.executable, "train.py"]
        said = subprocess.run(command, cwd=folder / "workload", capture_output=True, text=True, check=True).stdout
        found.append(float(said.partition("began:")[2].split()[0]) - before)
    return statistics.median(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    small: dict[str, object] = {"FLOP_BUDGET": 200_000_000_000, "EVAL_TOKENS": 4096}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures, missed = pairs(
            2 if arguments.smoke else arguments.pairs, small if arguments.smoke else {}, folder / "work"
        )
        more, too_bad = gap(10 if arguments.smoke else 60, folder)
    figures |= more
    missed = [line for line in missed if "differs" in line] if arguments.smoke else missed + too_bad
    if missed:
        print("missed: " + "; ".join(missed))
    print(" ".join(f"{name}={value}" for name, value in figures.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
