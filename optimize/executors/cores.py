"""What a machine's processor offers: its model, the cores and the memory that this process may use.

It looks at the system's own files and starts nothing but `sysctl` on a Mac.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may use: its affinity, cut by the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(root) if quota is not None]
    return max(1, min([cores, *(int(quota) for quota in quotas)]))


def _quotas(root: Path) -> list[float | None]:
    """In cores, of this process's control group and all above it; a container sees its own as the root."""
    found = []
    for folder in _group_folders(root):
        found.append(_ratio(_read(folder / "cpu.max")))
        found.append(_ratio(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"))
    return found


def _group_folders(root: Path) -> list[Path]:
    mounts = [root / "sys/fs/cgroup" / controller for controller in ("", "cpu", "memory")]
    folders = list(mounts)
    for line in _read(root / "proc/self/cgroup").splitlines():
        group = Path(line.rpartition(":")[2].lstrip("/"))
        folders += [mount / above for mount in mounts for above in (group, *group.parents)]
    return folders


def _ratio(text: str) -> float | None:
    """`200000 100000` is two cores; `max 100000` and `-1 100000` are no limit."""
    match text.split():
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return int(quota) / int(period)
    return None


def cpu_name(root: Path = ROOT) -> str:
    """The model of the processor, as far as the system tells it."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    if found:
        return found[1].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def memory_mb(root: Path = ROOT) -> float:
    """What this process may use: the machine's memory, cut by the limit of its control group."""
    limits = [
        _read(folder / name) for folder in _group_folders(root) for name in ("memory.max", "memory.limit_in_bytes")
    ]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *(int(limit) for limit in limits if limit.strip().isdigit())]) / 1e6


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    if sys.platform != "darwin":
        return ""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
