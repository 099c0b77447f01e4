"""Does one driver bear 1,000 slots and 10,000 trials? python benchmarks/driver_scale.py [--smoke] [--slots N --trials N] [--keep F]

    simulation  10,000 trials of five minutes on 1,000 slots, in virtual time: the real study, database, artifacts, views and
                display, the shipped 700-line scripts and the space `h100` (14 parameters), logs and curves as long as real
                ones; only the training is invented. What the driver spends on a trial, by what it does, must not grow: the
                last tenth of the trials under 1.5 x the second, and 1,000 slots under 1.5 x a tenth of them
    resume      `optimize run` on that study, from the call to its first script's first line, in turns with a Python that
                does `optuna.load_study(...).get_trials(deepcopy=False)` on the same file: at most 1.3 x; memory under 400 MB
    status      `optimize status` of that study, as a process: under 2 s
    dashboard   the calls that its page of that study makes, in this process: JSON and seconds, cold, warm, and when a trial
                was added; for information
    logs        one slot, and a script that prints what a five-minute trial prints, a line each 300 ms, almost without waiting: the
                driver's own milliseconds for a trial, for its log, and for a progress message

The last line holds the figures as name=value pairs. Exit 1 when a bound is missed. About twenty minutes and 3 GB of temporary disk;
`--smoke` does all of it at small scale and judges no time. `--keep` leaves the study in FOLDER, and uses one that is there.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from driving import driver, paths_of, plan_of

from optimize.config.plan import Plan
from optimize.executors.local import LocalExecutor
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.dashboard import dashboard_app
from optimize.study.callback import Callback
from optimize.study.stopping import COUNTED
from optimize.trial import Job, Outcome, Progress, Slot, TrialStatus
from storage import TrialRecord, open_database

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "optimize" / "workloads" / "gpt"
BOUNDS = {"growth": 1.5, "slots_growth": 1.5, "resume": 1.3, "resume_mb": 400, "status_s": 2.0}
TRIAL_S, LINES = 300.0, 1_000  # of training, and the progress lines that it prints
# The shipped scripts travel and are rendered; what is started in their place says when it started.
PROXY = """\
import time
print(f"---\\nval_bpb: 2.0\\nbegun: {time.time():.6f}")
"""
TOML = 'command = ["{python}", "proxy.py"]\nprepare = []\n'
PROFILE = """\
[slots]
device = "cpu"
[constants]
MAX_SEQ_LEN = 2048
TIME_BUDGET = 300
EVAL_TOKENS = 20_971_520
[limits]
total_s = 900
"""
LINE = ("\rstep {:05d} ({:.1f}%) | loss: 3.456789 | lrm: 1.00 | dt: 300ms | tok/sec: 1,234,567 | mfu: 39.8% | epoch: 1 | "
        "remaining: {:.0f}s")  # fmt: skip
LOG = "".join(LINE.format(step, step / 10, 300 - 0.3 * step) for step in range(LINES)) + "\n"
NOISY = f"""\
import time
for line in {LOG!r}.split("\\r"):
    print(line, end="\\r", flush=True)
    time.sleep(0.0005)  # so that each percent is a message of its own
print("\\n---\\nval_bpb: 2.0")
"""
MEASURE = """\
import os, subprocess, sys, time
started = time.time()
process = subprocess.Popen(sys.argv[1:])
_, state, used = os.wait4(process.pid, 0)
print(f"\\n{started} {used.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(state) != 0)
"""
REFERENCE = """\
import sys, time, optuna
optuna.load_study(study_name="s", storage=f"sqlite:///{sys.argv[1]}").get_trials(deepcopy=False)
print(time.time())
"""


class Stopwatch:
    """What the driver's parts take of the wall clock; what one part spends in another is that one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [0.0]

    def watch(self, owner: Any, **parts: str) -> None:
        """`watch(study, ask="asking")`: all calls of `study.ask` are the part `asking`."""
        for method, part in parts.items():
            setattr(owner, method, self._timed(getattr(owner, method), part))

    def _timed(self, work: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(part):
                return work(*args, **kwargs)

        return timed

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self.seconds[name] += took - self._inner.pop()
            self.calls[name] += 1
            self._inner[-1] += took


class Tenths(Callback):
    """The driver's CPU seconds at each tenth of the trials."""

    def __init__(self, trials: int) -> None:
        self._every, self._ended = max(trials // 10, 1), 0
        self.at = [time.process_time()]

    def on_trial_end(self, record: TrialRecord) -> None:
        self._ended += 1
        if self._ended % self._every == 0:
            self.at.append(time.process_time())

    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.at, self.at[1:], strict=False)]


class Training:
    """Invented endings: seven of eight complete, after five minutes; values, curves and logs look like real ones."""

    def __init__(self) -> None:
        self._chance = random.Random(0)

    def __call__(self, job: Job) -> Outcome:
        luck, chance = self._chance.random(), self._chance
        value = (
            1
            + float(str(job.params["MATRIX_LR"]))
            + float(str(job.params["WEIGHT_DECAY"])) / 50
            + chance.gauss(0, 0.01)
        )
        curve = tuple((percent / 100, value + 2 - percent / 50) for percent in range(5, 101, 5))
        seconds = TRIAL_S + chance.uniform(20, 40)
        if luck > 7 / 8:
            why = "CUDA out of memory. Tried to allocate 2.00 GiB"
            return Outcome(TrialStatus.OUT_OF_MEMORY, 40.0, why, log=LOG[:2000] + why)
        summary: dict[str, float | str] = {
            "val_bpb": round(value, 6), "training_seconds": 300.1, "total_seconds": round(seconds, 1), "peak_vram_mb": 45060.2,
            "mfu_percent": 39.8, "total_tokens_M": 499.6, "num_steps": 953.0, "num_params_M": 50.3, "depth": 8.0,
            "tokens_per_second": 1_665_333.0, "device": "NVIDIA H100 80GB HBM3", "torch": "2.13.0", "dtype": "bfloat16",
        }  # fmt: skip
        return Outcome(TrialStatus.COMPLETE, seconds, summary=summary, log=LOG, curve=curve)


# --- the parts --------------------------------------------------------------------------------------------------------


def plan_for(folder: Path, trials: int, sampler: str = "auto", script: str = PROXY) -> Plan:
    workload, profile = folder / "workload", folder / "profile.toml"
    workload.mkdir(parents=True, exist_ok=True)
    for name in ("train.py", "prepare.py"):
        shutil.copyfile(SCRIPTS / name, workload / name)
    for path, text in ((workload / "proxy.py", script), (workload / "workload.toml", TOML), (profile, PROFILE)):
        path.write_text(text)
    flags = {"workload": str(workload), "search_space": "h100", "trials": trials, "sampler": sampler}
    return plan_of(str(profile), folder / "runs", **flags)


def simulate(folder: Path, slots: int, trials: int) -> dict[str, float]:
    """Milliseconds of the driver for a trial, by part; the invented training and its clock are not among them."""
    plan, watch, tenths = plan_for(folder, trials), Stopwatch(), Tenths(trials)
    executor = SimulatedExecutor(Training(), slots)
    with driver(plan, executor, [tenths]) as opened:
        watch.watch(executor, submit="training", wait="training", cancel="training")
        watch.watch(opened.study, ask="ask", tell="tell", report="report")
        watch.watch(opened.study._artifacts, write="artifacts")
        watch.watch(opened.database, write="database")
        search = opened.loop._search
        opened.loop._search = replace(search, prepare=watch._timed(search.prepare, "render"))
        watch.watch(opened.views, write="views")
        cpu = time.process_time()
        with watch.part("loop"):
            opened.loop.run()
        cpu = time.process_time() - cpu
    took, training = tenths.seconds(), watch.seconds.pop("training")
    figures = {f"{part}_ms": 1000 * seconds / trials for part, seconds in sorted(watch.seconds.items())}
    figures["driver_ms"] = 1000 * sum(watch.seconds.values()) / trials
    figures["driver_cpu_ms"] = 1000 * (cpu - training) / trials
    figures["transactions"] = watch.calls["database"] / trials
    figures["growth"] = took[-2] / took[1]
    return figures


def resume(folder: Path, trials: int, pairs: int) -> dict[str, float]:
    ours, theirs, megabytes = [], [], []
    database, profile = folder / "runs" / "optuna.db", folder / "profile.toml"
    for pair in range(pairs):
        started, _, said = measured("-c", REFERENCE, str(database))
        theirs.append(float(said) - started)
        flags = {"study": "s", "profile": profile, "workload": folder / "workload", "space": "h100", "sampler": "auto",
                 "slots": 1, "trials": trials + pair + 1, "confirm": 0, "runs": folder / "runs"}  # fmt: skip
        words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
        started, used, _ = measured("-m", "optimize", "run", "--trust", *words)
        megabytes.append(used)
        ours.append(begun(database) - started)
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return {
        "resume_s": statistics.median(ours), "get_trials_s": statistics.median(theirs),
        "resume": statistics.median(ratios), "resume_mb": max(megabytes),
    }  # fmt: skip


def begun(path: Path) -> float:
    """When the study's newest trial started, by its own clock."""
    with closing(open_database(path)) as database:
        (trial,) = database.latest_trials(1, 1)
    return float(trial.user_attrs["summary"]["begun"])


def measured(*words: str) -> tuple[float, float, str]:
    """Runs a Python: when it was started, the most memory that it had, in MB, and what it said."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": tempfile.gettempdir()}
    # By a small process: Linux charges a child with what its parent had when it was spawned.
    argv = [sys.executable, "-c", MEASURE, sys.executable, *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"scale.py: {' '.join(words[:4])} failed\n{done.stderr[-2000:]}")
    said, _, figures = done.stdout.rstrip().rpartition("\n")
    started, kilobytes = map(float, figures.split())
    return started, kilobytes * (1e-6 if sys.platform == "darwin" else 1.024e-3), said


def status(folder: Path) -> dict[str, float]:
    seconds, megabytes = [], []
    for _ in range(3):
        started, used, _ = measured("-m", "optimize", "status", "--study", "s", "--runs", str(folder / "runs"))
        seconds.append(time.time() - started)
        megabytes.append(used)
    return {"status_s": statistics.median(seconds), "status_mb": max(megabytes)}


def dashboard(folder: Path, trials: int) -> dict[str, float]:
    """What the study's page asks for: everything, once; then, again and again, what is new."""
    with closing(open_database(folder / "runs" / "optuna.db")) as database:
        app = dashboard_app(database, folder / "runs" / "artifacts")
        figures = {}
        for name, after in (("cold", 0), ("warm", 0), ("poll", trials)):
            started = time.perf_counter()
            size = len(answer(app, "/api/studies/1", f"after={after}"))
            figures |= {f"page_{name}_s": time.perf_counter() - started, f"page_{name}_mb": size / 1e6}
    return figures


def answer(app: Callable[..., Any], path: str, query: str) -> bytes:
    said: list[str] = []
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    body = b"".join(app(environ, lambda state, *_: said.append(state)))
    assert said[0].startswith("200"), said
    return body


def logs(folder: Path, trials: int) -> dict[str, float]:
    """What a five-minute trial's log, and each progress message, costs the driver: its own CPU time, from three scripts."""
    cpu: dict[str, float] = {}
    heard = Heard()
    for name, script in (("quiet", PROXY), ("log", NOISY.replace("step ", "note ")), ("progress", NOISY)):
        plan, heard = plan_for(folder / name, trials, "random", script), Heard()
        executor = LocalExecutor([Slot("cpu:0")], paths_of(plan).work)
        with driver(plan, executor, [heard]) as opened:
            started = time.process_time()
            opened.loop.run()
            cpu[name] = 1000 * (time.process_time() - started)
    message = (cpu["progress"] - cpu["log"]) / heard.messages
    return {"local_ms": cpu["quiet"] / trials, "log_ms": (cpu["log"] - cpu["quiet"]) / trials, "message_ms": message}


class Heard(Callback):
    def __init__(self) -> None:
        self.messages = 0

    def on_progress(self, progress: Progress) -> None:
        self.messages += 1


def main() -> int:
    parser = argparse.ArgumentParser(description="See the docstring.")
    parser.add_argument("--smoke", action="store_true", help="everything at small scale; judges no time")
    parser.add_argument("--slots", type=int, default=1_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="where the large study stays, or lies already")
    given = parser.parse_args()
    slots, trials, few = (20, 60, 20) if given.smoke else (given.slots, given.trials, given.trials // 5)
    figures: dict[str, float] = {"slots": slots, "trials": trials}
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = given.keep or Path(name) / "large"
        if not (folder / "runs").exists():
            figures |= show("simulation", simulate(folder, slots, trials))
            small, large = (
                simulate(Path(name) / f"{n}", n, few)["driver_cpu_ms"] for n in (max(slots // 10, 2), slots)
            )
            figures |= show("slots", {"slots_growth": large / small})
        figures |= show("status", status(folder))
        figures |= show("resume", resume(folder, finished(folder), 1 if given.smoke else 5))
        figures |= show("dashboard", dashboard(folder, trials))
        figures |= show("logs", logs(Path(name), 3 if given.smoke else 50))
        if "driver_cpu_ms" in figures:
            busy_ms = figures["driver_cpu_ms"] + max(figures["log_ms"], 0) + TRIAL_S * figures["message_ms"]
            figures |= show("one driver", {"trial_ms": busy_ms, "slots_of_half_a_core": 500 * TRIAL_S / busy_ms})
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))
    missed = (
        []
        if given.smoke
        else [f"{key} {figures[key]:.2f} > {most}" for key, most in BOUNDS.items() if figures.get(key, 0) > most]
    )
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def finished(folder: Path) -> int:
    """How many trials count against a limit of trials."""
    with closing(open_database(folder / "runs" / "optuna.db")) as database:
        return sum(count for state, count in database.counts(1).items() if state in COUNTED)


def show(part: str, figures: dict[str, float]) -> dict[str, float]:
    print(f"{part}  (load {os.getloadavg()[0]:.1f})")
    for name, value in figures.items():
        print(f"  {name:<16}{value:>12.3f}{f'   at most {BOUNDS[name]:g}' if name in BOUNDS else ''}", flush=True)
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
