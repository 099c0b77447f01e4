"""Finds what this machine offers: its processor and memory, its device, and the slots in which trials run.

It reads the environment, as `config/settings.py` does. It starts no process but `sysctl` on a Mac: `runner/gpus.py` reads the
GPUs' tools. It does not know how long a slot is busy or whether its memory is free.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimize.errors import ExecutorError
from optimize.executors.gpu_checks import check_gpus
from optimize.runner.gpus import Gpu, ToolMissing, amd_gpus, begins_uuid, nvidia_gpus
from optimize.trial import NO_GPU, ONE_THREAD, Slot

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Return how many cores this process may use: its affinity, at most the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(root) if quota is not None]
    return max(1, min([cores, *(int(quota) for quota in quotas)]))


def _quotas(root: Path) -> list[float | None]:
    """Return the quotas of this process's control group and all above it, in cores. A container sees its own as the root."""
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
    """Return the model of the processor, else the architecture."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    if found:
        return found[1].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def memory_mb(root: Path = ROOT) -> float:
    """Return what memory this process may use, in MB of 10**6 bytes: the machine's, at most its control group's limit."""
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


MOST_PER_CORE = 32  # slots: scripts that mostly wait may share a core, but each costs a guardian

# glibc gives every freed tensor back to the system and faults it in again: 6 % of a small model's training.
# 32 MiB is the largest threshold that every glibc accepts; a larger one is refused and leaves it fixed at 128 KiB.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}

SET_BY_SLOTS = frozenset({*ONE_THREAD, *NO_GPU, *_KEEP_MEMORY})  # whatever this process has


@dataclass(frozen=True, slots=True)
class Device:
    """What a profile is chosen by: the kind of device, its model, and the memory of one, in MB of 10**6 bytes."""

    kind: str  # cuda, rocm, mps, cpu
    name: str
    memory_mb: float
    note: str = ""  # what a tool says of GPUs that cannot be used


def detect_device() -> Device:
    """Return the best device of this machine; of several models of GPU, the one with most memory in all."""
    notes: list[str] = []
    for kind, find in _FINDERS.items():
        try:
            gpus = find(notes.append)
        except ToolMissing:
            continue
        except ExecutorError as error:
            notes.append(str(error))
            continue
        if gpus:
            gpus = _by_model(gpus)
            return Device(kind, gpus[0].name, gpus[0].memory_mb, "; ".join(notes))
    return Device("cpu", cpu_name(), memory_mb(), "; ".join(notes))


def find_slots(
    device: str,
    count: int | None = None,
    gpus: Sequence[str] | None = None,
    *,
    gpus_per_trial: int = 1,
    trials_per_gpu: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Slot, ...]:
    """Return `count` slots of that kind of device, on the GPUs that `gpus` names by index or UUID, or on all.

    A slot is `gpus_per_trial` GPUs of one model, or one of `trials_per_gpu` shares of a GPU. `say` is told which GPUs stay
    idle or are dead. Raises ExecutorError if there are not so many.
    """
    if count is not None and count < 1:
        raise ExecutorError(f"slots: {count} is too few. Use 1 or more")
    if gpus_per_trial > 1 and trials_per_gpu > 1:
        raise ExecutorError("[slots]: gpus_per_trial and trials_per_gpu exclude each other. Use one of them")
    if device == "cpu":
        if gpus_per_trial > 1 or trials_per_gpu > 1:
            raise ExecutorError("[slots]: the profile uses CPU cores. Leave gpus_per_trial and trials_per_gpu out")
        return _cpu_slots(count, gpus)
    if device not in _FINDERS:
        raise ExecutorError(f"slots: there is no device {device!r}. Use cpu, {', '.join(_FINDERS)}")
    found = _FINDERS[device](say)
    if not found:
        raise ExecutorError(
            f"slots: no {device} device is visible here. Check CUDA_VISIBLE_DEVICES, or use another profile"
        )
    chosen = _by_model(found) if gpus is None else [_choose(wanted.strip(), found) for wanted in gpus]
    if len({gpu.uuid for gpu in chosen}) < len(chosen):
        raise ExecutorError(f"--gpus {','.join(gpus or ())}: names a GPU twice. Name each once")
    check_gpus(chosen, gpus_per_trial, trials_per_gpu, say)
    slots = [
        slot for group in _groups(chosen, gpus_per_trial, say) for slot in _gpu_slots(device, group, trials_per_gpu)
    ]
    if count is not None and count > len(slots):
        raise ExecutorError(
            f"slots: {count} wanted, but there are {len(slots)} on {_gpus(len(chosen))}. Lower it, or leave it out"
        )
    return tuple(slots[:count])


def _by_model(gpus: Sequence[Gpu]) -> list[Gpu]:
    """Return them in their order, but the model with most memory in all first: a study stays with its first model."""
    memory: dict[str, float] = {}
    for gpu in gpus:
        memory[gpu.name] = memory.get(gpu.name, 0.0) + gpu.memory_mb
    models = sorted(memory, key=lambda name: -memory[name])
    return sorted(gpus, key=lambda gpu: models.index(gpu.name))


def _groups(gpus: Sequence[Gpu], size: int, say: Callable[[str], None]) -> list[list[Gpu]]:
    """Return groups of GPUs of one model, as many in each as a trial uses."""
    groups = []
    for model in dict.fromkeys(gpu.name for gpu in gpus):
        same = [gpu for gpu in gpus if gpu.name == model]
        whole = len(same) - len(same) % size
        groups += [same[i : i + size] for i in range(0, whole, size)]
        if idle := ", ".join(f"gpu:{gpu.number}" for gpu in same[whole:]):
            say(f"{idle} ({model}): idle, because a trial uses {size} GPUs ([slots] gpus_per_trial)")
    if not groups:
        raise ExecutorError(
            f"[slots] gpus_per_trial: {size} of one model wanted, but there are {_gpus(len(gpus))}. Lower it"
        )
    return groups


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _gpu_slots(kind: str, group: Sequence[Gpu], shares: int) -> list[Slot]:
    uuids, indices = ",".join(gpu.uuid for gpu in group), ",".join(str(gpu.index) for gpu in group)
    pins = {"cuda": {"CUDA_VISIBLE_DEVICES": uuids}, "rocm": {"HIP_VISIBLE_DEVICES": indices}, "mps": {}}[kind]
    name, env = f"gpu:{'+'.join(gpu.number for gpu in group)}", pins | _compile_caches()
    memory_mb = min(gpu.memory_mb for gpu in group)  # scripts print the peak of one GPU
    if shares == 1:
        return [Slot(name, env, group[0].name, memory_mb)]
    return [Slot(f"{name}.{share}", env, group[0].name, memory_mb, shared=True) for share in range(shares)]


def _compile_caches() -> dict[str, str]:
    """Return the variables for one cache of what torch.compile and Triton compile, unless the user has set them.

    Trials in parallel can share it: both tools write beside and rename.
    """
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(own) / "optimize-compiled" / re.sub(r"[^\w.-]", "_", platform.node() or "here")
    found = {"TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"), "TRITON_CACHE_DIR": str(place / "triton")}
    return {name: path for name, path in found.items() if name not in os.environ}


def _choose(wanted: str, found: Sequence[Gpu]) -> Gpu:
    """Return the GPU with this place among the visible ones, the slice `0:1`, or what has a UUID that begins so.

    Raises ExecutorError.
    """
    match = [gpu for place, gpu in enumerate(found) if wanted == str(place) or (":" in wanted and wanted == gpu.number)]
    match = match or _begun(wanted, found, "--gpus")
    if match:
        return match[0]
    have = "0" if len(found) == 1 else f"0 to {len(found) - 1}"
    raise ExecutorError(f"--gpus {wanted}: this machine has no such GPU. It has {have}: {found[0].name}")


def _begun(wanted: str, found: Sequence[Gpu], where: str) -> list[Gpu]:
    """Return the GPU whose UUID begins so, [] if there is none. Raises ExecutorError if several do."""
    match = [gpu for gpu in found if wanted == gpu.uuid] or [gpu for gpu in found if begins_uuid(wanted, gpu.uuid)]
    if len(match) > 1:
        which = " and ".join(f"gpu:{gpu.number}" for gpu in match[:3]) + (" and others" if len(match) > 3 else "")
        raise ExecutorError(f"{where} {wanted}: the UUIDs of {which} begin so. Give more of the UUID, or the index")
    return match


# --- on a cluster's node ----------------------------------------------------------------------------------------------


def own_environment(names: Iterable[str]) -> dict[str, str]:
    """Return those of these variables that are set on this machine."""
    return {name: os.environ[name] for name in names if name in os.environ}


def assigned_environment() -> dict[str, str]:
    """Return what pins a trial to a slot that the cluster has chosen: the devices visible to this process, and one thread."""
    visible = own_environment(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"))
    return visible | ONE_THREAD | _KEEP_MEMORY | _compile_caches()


def device_model(device: str) -> str:
    """Return the model of this machine's devices of that kind, visible to this process or not; "" if unknown."""
    try:
        gpus = {"cuda": nvidia_gpus, "rocm": amd_gpus}[device]() if device != "cpu" else []
    except ExecutorError:
        return ""
    return cpu_name() if device == "cpu" else gpus[0].name if gpus else ""


# --- CPU --------------------------------------------------------------------------------------------------------------


def _cpu_slots(count: int | None, gpus: Sequence[str] | None) -> tuple[Slot, ...]:
    if gpus is not None:
        raise ExecutorError("--gpus: the profile uses CPU cores. Use --slots, or a profile with a GPU")
    cores = usable_cores()
    most = MOST_PER_CORE * cores
    if count is not None and count > most:
        raise ExecutorError(f"slots: {count} wanted, but there are {cores} cores. Use {most} or less")
    env, name = ONE_THREAD | _KEEP_MEMORY | NO_GPU | _compile_caches(), cpu_name()
    return tuple(Slot(f"cpu:{i}", env, name) for i in range(count or cores))


def keep_to_one_thread() -> None:
    """Have numpy use one thread in this process too; call it before numpy is imported.

    The cores are busy with trials. A matrix product of two threads that wait for each other takes a hundred times as long
    there as that of one.
    """
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


# --- GPUs -------------------------------------------------------------------------------------------------------------


def _visible_nvidia(say: Callable[[str], None]) -> list[Gpu]:
    return _visible(nvidia_gpus(say), "CUDA_VISIBLE_DEVICES")


def _visible(found: Sequence[Gpu], variable: str) -> list[Gpu]:
    """Return the GPUs that the variable names, in its order. Its numbers are nvidia-smi's: CUDA may count the fastest first.

    Raises ExecutorError where it names one twice, or may mean several: CUDA would show none.
    """
    if (named := os.environ.get(variable)) is None:
        return list(found)
    chosen: list[Gpu] = []
    for wanted in filter(None, (part.strip() for part in named.split(","))):
        match = [gpu for gpu in found if wanted == str(gpu.index)] or _begun(wanted, found, variable)
        if not match and wanted.startswith("MIG-"):  # a slice of a GPU, with a UUID of its own
            match = [Gpu(len(chosen), wanted, f"{found[0].name.partition(' MIG')[0]} MIG", 0.0)]
        if not match:
            break  # CUDA ignores what follows one that does not exist
        if match[0].uuid in (gpu.uuid for gpu in chosen):
            raise ExecutorError(f"{variable}={named}: names a GPU twice, and then none can be used. Name each once")
        chosen.append(match[0])
    return chosen


def _visible_amd(say: object) -> list[Gpu]:
    return _visible(amd_gpus(), "HIP_VISIBLE_DEVICES")


def _apple(say: object) -> list[Gpu]:
    """Return Apple's GPU, which shares the machine's memory. Never tried on a real one."""
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return []
    return [Gpu(0, "mps", cpu_name(), memory_mb())]


_FINDERS = {"cuda": _visible_nvidia, "rocm": _visible_amd, "mps": _apple}  # the best kind of device first
