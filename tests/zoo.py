"""The misbehaving scripts of `tests/scripts/` as jobs, how each must end, and a look at what is left alive of them.

It starts nothing; the tests of processes and executors do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from optimize.executors import Executor
from optimize.runner.process_tree import MARK
from optimize.trial import Ending, Job, Limits, Metric, Progress, ProgressFormat, TrialStatus

SCRIPTS = Path(__file__).parent / "scripts"
PATIENT = Limits(total_s=120.0)  # a limit that only a broken test reaches
CUT_TOTAL = Limits(total_s=1.0, grace_s=0.5)
CUT_STARTUP = Limits(startup_s=1.0, grace_s=0.5)
CUT_DISK = Limits(disk_mb=20.0, total_s=120.0)

# script -> how it ends, and what the reason says
ENDINGS = {
    "ok": (TrialStatus.COMPLETE, ""),
    "closes_stdout": (TrialStatus.COMPLETE, ""),
    "grandchild_keeps_stdout": (TrialStatus.COMPLETE, ""),
    "no_newline": (TrialStatus.COMPLETE, ""),
    "binary": (TrialStatus.COMPLETE, ""),
    "fake_summary_then_real": (TrialStatus.COMPLETE, ""),
    "says_out_of_memory": (TrialStatus.COMPLETE, ""),
    "removes_its_folder": (TrialStatus.COMPLETE, ""),
    "locks_its_folder": (TrialStatus.COMPLETE, ""),
    "reads_stdin": (TrialStatus.COMPLETE, ""),
    "crash": (TrialStatus.CRASHED, "ValueError: shapes do not fit: (3, 4) and (5, 6)"),
    "segfault": (TrialStatus.CRASHED, "SIGSEGV"),
    "fake_summary_early": (TrialStatus.CRASHED, "the training did not work"),
    "fake_summary_only": (TrialStatus.CRASHED, "before its training"),
    "no_summary": (TrialStatus.CRASHED, "without a summary"),
    "no_metric": (TrialStatus.CRASHED, "without `val_bpb`"),
    "oom": (TrialStatus.OUT_OF_MEMORY, "CUDA out of memory"),
    "exits_by_sigkill": (TrialStatus.OUT_OF_MEMORY, "SIGKILL"),
    "nan": (TrialStatus.DIVERGED, "val_bpb is nan"),
    "fail": (TrialStatus.DIVERGED, "FAIL"),
    "assertion": (TrialStatus.INFEASIBLE, "TOTAL_BATCH_SIZE % DEVICE_BATCH_SIZE"),
    "missing_module": (TrialStatus.ENVIRONMENT, "a_module_that_nobody_has"),
    "no_kernel_image": (TrialStatus.ENVIRONMENT, "install a PyTorch"),
    "no_space_left": (TrialStatus.ENVIRONMENT, "No space left on device"),
    "missing_data": (TrialStatus.ENVIRONMENT, "no tokenizer in /data/gpt"),
}
CUT = {
    "hang": (CUT_TOTAL, TrialStatus.TIMED_OUT, "limits.total_s = 1"),
    "ignores_sigterm": (CUT_TOTAL, TrialStatus.TIMED_OUT, "limits.total_s = 1"),
    "spawns_child": (CUT_TOTAL, TrialStatus.TIMED_OUT, "limits.total_s = 1"),
    "double_fork": (CUT_TOTAL, TrialStatus.TIMED_OUT, "limits.total_s = 1"),
    "exits_on_sigterm": (CUT_TOTAL, TrialStatus.TIMED_OUT, "limits.total_s = 1"),
    "hang_silent": (CUT_STARTUP, TrialStatus.SILENT, "limits.startup_s = 1"),
    "fills_disk": (CUT_DISK, TrialStatus.CRASHED, "limits.disk_mb = 20"),
    "hang_after_summary": (CUT_TOTAL, TrialStatus.COMPLETE, "ended by us after its summary"),
}


def zoo_job(script: str, *arguments: str, number: int = 0, limits: Limits = PATIENT) -> Job:
    text = (SCRIPTS / f"{script}.py").read_text()
    command = ("{python}", "-S", "train.py", *arguments)  # without site-packages a Python starts in half the time
    return Job(number, {}, {"train.py": text}, command, {"PATH": os.defpath}, limits=limits)


def foreign_job(data: Path) -> Job:
    """A job that says its metric and its progress in other words, and reads a folder of data, which is made here."""
    data.mkdir()
    (data / "size").write_text("4")
    text = (
        "size = float(open('data/texts/size').read())\n"
        "for i in range(5):\n    print(f'iter {i}: loss {size - i}, val loss {abs(i - 3)}.5')\n"
    )
    return replace(
        zoo_job("ok"),
        files={"train.py": text},
        metric=Metric("val_loss", "minimize", r"val loss (\S+)", "min"),
        progress=ProgressFormat(r"iter (?P<step>\d+): loss (?P<loss>[0-9.]+)", 4.0),
        links={"data/texts": str(data)},
    )


def as_preloaded(job: Job, *modules: str) -> Job:
    """To be forked, if it is a script that can be: the zoo's option -S is left out."""
    command = tuple(word for word in job.command if word != "-S")
    return replace(job, command=command, preload=modules or ("decimal",))


def events_until_endings(executor: Executor, count: int = 1) -> list[Progress | Ending]:
    events: list[Progress | Ending] = []
    while sum(isinstance(event, Ending) for event in events) < count:
        new = executor.wait(600.0)  # one that has to be silent for so long is stuck, on whatever machine
        assert new, f"nothing happened any more after {events}"
        events += new
    return events


def endings(executor: Executor, count: int = 1) -> list[Ending]:
    return [event for event in events_until_endings(executor, count) if isinstance(event, Ending)]


def living(folder: Path) -> list[str]:
    """Command lines of all processes whose environment names a work folder under `folder`, and of its hidden daemons."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            command, environment = _read(process / "cmdline"), _read(process / "environ")
            marked = f"{MARK}={folder}".encode() in environment and not is_zygote(process)
            if marked or f"hidden_daemon_of_a_trial in {folder}".encode() in command:
                found.append(f"{process.name} {command!r}")
    return found


def is_zygote(process: Path) -> bool:
    """Whether it is a zygote, and not a trial that was forked from one: the socket to its guardian is open."""
    _, is_one, arguments = _read(process / "cmdline").partition(b"zygote.py\0")
    descriptor = process / "fd" / arguments.split(b"\0")[0].decode()
    try:
        return bool(is_one) and str(descriptor.readlink()).startswith("socket:")
    except OSError:
        return False


def guardians_of(driver: int) -> list[int]:
    return [pid for pid in children_of(driver) if b"optimize.executors.guardian" in _read(Path(f"/proc/{pid}/cmdline"))]


def children_of(parent: int) -> list[int]:
    stats = {int(path.name): _read(path / "stat") for path in Path("/proc").iterdir() if path.name.isdigit()}
    return [pid for pid, stat in stats.items() if stat and int(stat.rpartition(b")")[2].split()[1]) == parent]


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def sleeps(pid: int) -> bool:
    """Whether none of its threads does anything."""
    stats = [path.read_bytes() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(b")")[2].split()[0] == b"S" for stat in stats)


def times_woken(pid: int) -> int:
    lines = [path.read_text().splitlines() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(line.split()[1]) for each in lines for line in each if line.startswith("voluntary"))


def eventually(condition: Callable[[], object], within_s: float = 60.0) -> bool:
    """Whether it comes true; the time is a bound for a broken test, not a measurement."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def command_of(process: Path) -> bytes:
    return _read(process / "cmdline")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
