"""How long does a report take, and how large is it? A study of 1,000 trials in the real storage, reported by the command.

    python benchmarks/report.py            1,000 trials; exit 1 above 10 s or 5 MB
    python benchmarks/report.py --smoke    60 trials; judges nothing

The study is driven by the product's loop with an executor that invents endings (`scale.py`): 14 parameters, summaries of 13 keys,
curves, one trial of eight out of memory. Seconds are the best of three calls in fresh processes: a busy machine is not
the report's fault. The processor's seconds stand beside them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from driver_scale import simulate

from optimize.executors.slots import keep_to_one_thread

BOUNDS = {"seconds": 10.0, "html_mb": 5.0}
CALLS, SLOTS = 3, 8


def main() -> int:
    parser = argparse.ArgumentParser(description="See the docstring.")
    parser.add_argument("--smoke", action="store_true", help="60 trials; judges nothing")
    parser.add_argument("--trials", type=int, default=1_000)
    given = parser.parse_args()
    keep_to_one_thread()
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        simulate(folder, SLOTS, 60 if given.smoke else given.trials)
        figures = measure(folder, 1 if given.smoke else CALLS)
    print(" ".join(f"{key}={value:.3g}" for key, value in figures.items()))
    missed = (
        []
        if given.smoke
        else [f"{key} {figures[key]:.3g} > {most:g}" for key, most in BOUNDS.items() if figures[key] > most]
    )
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def measure(folder: Path, calls: int) -> dict[str, float]:
    """The command's seconds, by the clock and of the processor, and what it leaves."""
    seconds, used = zip(*(call(folder) for _ in range(calls)), strict=True)
    study = folder / "runs" / "s"
    plots = sum(path.stat().st_size for path in (study / "plots").iterdir())
    html = (study / "report.html").stat().st_size
    return {"seconds": min(seconds), "cpu_seconds": min(used), "html_mb": html / 1e6, "plots_mb": plots / 1e6}


def call(folder: Path) -> tuple[float, float]:
    argv = [sys.executable, "-m", "optimize", "report", "--study", "s"]
    started, before = time.perf_counter(), _cpu_s()
    subprocess.run(argv, cwd=folder, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}, check=True)
    return time.perf_counter() - started, _cpu_s() - before


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
