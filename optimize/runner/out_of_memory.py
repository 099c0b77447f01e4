"""Reads whose memory a script ran out of, from the words that it ended with: a GPU's or the machine's, and who else held it.

What follows from that is said in `study/baseline_fit.py`.
"""

from __future__ import annotations

import re

from optimize.runner.gpu_watch import DESKTOP, DESKTOP_MB

TAIL_CHARS = 1 << 16
# Pinned memory is the machine's own, although CUDA hands it out, and so is that of a compiler which the kernel killed.
_OF_THE_MACHINE = re.compile(
    r"\bpinned?\b|host.?(?:alloc|memory)|CPUAllocator|device:CPU|SIGKILL|\bKilled\b|\bsignal 9\b|error code -9\b",
    re.IGNORECASE,
)
_OF_A_GPU = re.compile(
    r"cuda|cudnn|cublas|cufft|cusolver|cumemalloc|\bnvml|\bhip|rocblas|miopen|hsa_status|\bxpu\b|\bmps\b|\bgpu|triton|metal::"
    r"|\bhbm\b|out.?of.?device.?memory|error_out_of_resources|buffer size|torch\.\S*OutOfMemoryError|resource_exhausted"
    r"|\bOOM when allocating",
    re.IGNORECASE,
)
# What torch says since 2.1, with the pids that NVML lists. Where a container hides its own pid, no line says "this process", and
# its own is listed like another one's.
_SAID = re.compile(
    r"total capaci?ty of ([\d.]+ \w+) of which [\d.]+ \w+ is free\.(.{0,4000}?)(?:Of the allocated|$)", re.DOTALL
)
_OTHER = re.compile(r"Process (\d+) has ([\d.]+ \w+) memory in use")
_UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def ran_out_on_gpu(reason: str) -> bool:
    """Tell whether the reason of a trial that ran out of memory is that of a GPU, not that of the machine."""
    return bool(_OF_A_GPU.search(reason)) and not _OF_THE_MACHINE.search(reason)


def others_on_gpu(log: str) -> str:
    """Return which other process held a large part of the GPU's memory, as the last words of a log tell it; "" if none is told.

    A desktop's share does not count, nor do the contexts of the trial's own processes, which take some hundreds of MB.
    """
    said = list(_SAID.finditer(log[-TAIL_CHARS:]))
    if not said or "this process has" not in said[-1][2]:
        return ""
    total = _mb(said[-1][1])
    held = [(_mb(size), pid) for pid, size in _OTHER.findall(said[-1][2])]
    large = [(size, pid) for size, pid in held if min(DESKTOP_MB, DESKTOP * total) <= size <= total]
    return ", ".join(f"process {pid} held {size / 1000:.1f} of its {total / 1000:.1f} GB" for size, pid in large)


def _mb(size: str) -> float:
    """Return a size as torch writes it, in MB of 10**6 bytes; 0 where it is in another unit."""
    number, unit = size.split()
    try:
        return float(number) * _UNITS.get(unit, 0.0) / 1e6
    except ValueError:
        return 0.0
