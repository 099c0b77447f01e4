"""The first piece of `gpu.py`: can this machine train at all? Driver, torch, kernels, compiler, other users; then the text.

Each check is by itself, so that a machine on which much is missing says all of it at once.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpu_pieces import Work, first_line
from gpu_sizes import DEFAULT
from gpu_trial import environment, write

from optimize.errors import ExecutorError
from optimize.executors.slots import detect_device, usable_cores
from optimize.runner.gpus import nvidia_memory, nvidia_processes

PACKAGES = ("torch", "triton", "numpy", "optuna", "kernels", "flash-attn-3", "flash-attn-4")
QUERY = ("driver_version", "compute_mode", "mig.mode.current", "ecc.errors.uncorrected.volatile.total", "power.limit")


def measure(work: Work) -> None:
    """Check the device; a check that raises counts as failed, with its last line."""
    cuda = work.sizes.kind == "cuda"
    sheet = work.sheet
    for name, text in facts().items():
        sheet.fact(name, text)
    if cuda:
        _check(work, "is_default_mode", lambda: _ask_driver(work))
        _check(work, "has_kernels", lambda: _has_kernels(work))
        sheet.add("other_memory_mb", *_others())
    else:
        for kind in ("is_default_mode", "has_kernels", "other_memory_mb"):
            sheet.miss(kind, "of a GPU only")
    _check(work, "works", lambda: _computes(work.sizes.kind))
    _check(work, "has_compiler", _has_compiler)
    _check(work, "compiles", lambda: _compiles(work.sizes.kind))
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home())
    sheet.add("free_disk_gb", min(shutil.disk_usage(each).free for each in (place, work.folder)) / 1e9)


def facts() -> dict[str, str]:
    """Return what a reader of the report wants to know of the machine."""
    device = detect_device()
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "device": f"{device.name}, {device.memory_mb / 1000:.0f} GB" + (f"; {device.note}" if device.note else ""),
        "machine": f"{platform.system()} {platform.release()}, {usable_cores()} cores",
        "python": f"{platform.python_version()}; {', '.join(versions)}",
    }


def _check(work: Work, kind: str, check: Callable[[], str]) -> None:
    """Write 1 if the check returns, with what it says; 0 if it raises, with the first line of why."""
    try:
        work.sheet.add(kind, 1, note=check())
    except Exception as error:
        work.sheet.add(kind, 0, note=first_line(error))


def _ask_driver(work: Work) -> str:
    """Raises RuntimeError if the GPU is shared, sliced or has errors; what a driver does not know it answers in brackets."""
    index = environment("cuda").get("CUDA_VISIBLE_DEVICES", "0")
    words = ["nvidia-smi", f"--id={index}", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    answer = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if answer.returncode:
        raise RuntimeError(f"nvidia-smi: exit code {answer.returncode}: {answer.stdout} {answer.stderr}")
    values = dict(zip(QUERY, (each.strip() for each in answer.stdout.splitlines()[0].split(",")), strict=True))
    for name, value in values.items():
        work.sheet.fact(f"nvidia-smi {name}", value)
    if bad := what_is_unusual(values):
        raise RuntimeError("; ".join(bad))
    return f"driver {values['driver_version']}"


def what_is_unusual(values: Mapping[str, str]) -> list[str]:
    """Return what nvidia-smi says of a GPU on which a study may not work as described."""
    bad = []
    if values["compute_mode"] not in ("Default", "[N/A]", "[Not Supported]"):
        bad.append(f"compute mode {values['compute_mode']}: a second process on it is refused, so `shared` cannot run")
    if values["mig.mode.current"] == "Enabled":
        bad.append("MIG is on: what is measured here is one slice")
    errors = values["ecc.errors.uncorrected.volatile.total"]
    if errors.isdigit() and int(errors):
        bad.append(f"{errors} uncorrected ECC errors since the driver was loaded")
    return bad


def _has_kernels(work: Work) -> str:
    import torch

    torch.cuda.init()
    capability = torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    work.sheet.fact("compute capability", ".".join(map(str, capability)))
    work.sheet.fact("torch is built for", f"CUDA {torch.version.cuda}: {' '.join(built)}")
    if not (same := kernels_for(capability, built)):
        raise RuntimeError(f"compute capability {capability[0]}.{capability[1]}, but kernels for {' '.join(built)}")
    return f"compute capability {capability[0]}.{capability[1]}, kernels {' '.join(same)}"


def kernels_for(capability: tuple[int, int], built: Sequence[str]) -> list[str]:
    """Return which of these kernels (sm_86) a GPU runs: those of its own major version, no later than itself."""
    found = []
    for arch in built:
        number = arch.removeprefix("sm_").rstrip("af")
        if arch.startswith("sm_") and number.isdigit():
            major, minor = divmod(int(number), 10)
            found += [arch] if major == capability[0] and minor <= capability[1] else []
    return found


def _others() -> tuple[float, str, str]:
    """Return the memory that is used now, for the sheet: nothing of ours has touched the GPU."""
    try:
        index = environment("cuda").get("CUDA_VISIBLE_DEVICES", "")
        uses = [use for name, use in nvidia_memory(60).items() if index in (name, use.uuid)]
        who = nvidia_processes({use.uuid for use in uses}, 60)
        return sum(use.used_mb for use in uses), "", ", ".join(who) or "no process is named"
    except ExecutorError as error:
        return float("nan"), "", str(error)


def _computes(kind: str) -> str:
    import torch

    ones = torch.ones(256, 256, device=kind)
    total = (ones @ ones).sum().item()
    if total != 256.0**3:
        raise RuntimeError(f"a product of ones is {total}, not {256.0**3}")
    return torch.cuda.get_device_name() if kind == "cuda" else "CPU"


def _has_compiler() -> str:
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not compiler or not header.exists():
        raise RuntimeError(f"compiler {compiler}, {header}: {'there' if header.exists() else 'missing'}")
    return str(compiler)


def _compiles(kind: str) -> str:
    """A kernel of inductor's on a GPU; on a CPU inductor would need a C++ compiler and minutes: only the graph is captured."""
    import torch

    function = torch.compile(lambda x: (x * 2 + 1).relu(), backend="inductor" if kind == "cuda" else "eager")
    x = torch.linspace(-3, 3, 1024, device=kind)
    began = time.monotonic()
    torch.testing.assert_close(function(x), (x * 2 + 1).relu())
    return f"in {time.monotonic() - began:.1f} s"


def prepare(work: Work) -> None:
    """Prepare the text that everything else trains on, or find that it is there."""
    began = time.monotonic()
    folder = write(work.folder / "prepare", work.sizes.of(DEFAULT))
    env = environment(work.sizes.kind)
    done = subprocess.run([sys.executable, "prepare.py"], cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"prepare.py: {done.stdout[-500:]}{done.stderr[-500:]}")
    said = dict(re.findall(r"(?m)^(\w+): +(.*?)$", done.stdout))
    work.sheet.fact("data", f"docs, {said['data_fingerprint']}")
    work.sheet.add("train_tokens", 1e6 * float(said["train_tokens_M"]))
    work.sheet.add("data_s", time.monotonic() - began)
