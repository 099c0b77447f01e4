"""Reads nvidia-smi and rocm-smi: which GPUs this machine has, and how much of their memory is used. Nothing else reads them.

Standard library only. It starts nothing but these two tools; which GPU a trial gets is decided in `executors/slots.py`, and
whether its memory is free in `gpu_watch.py`. The reading of rocm-smi was never tried on a real machine.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optimize.errors import ExecutorError
from optimize.runner.causes import CAUSES
from optimize.trial import TrialStatus

QUERY_TIMEOUT_S = 60.0  # nvidia-smi takes seconds on a machine whose driver is not kept loaded
_MIB_TO_MB = 1.048576
_FIELDS = "index,uuid,name,memory.total"
_MORE_FIELDS = ",memory.used,compute_mode,mig.mode.current"
_DEAD = re.compile(
    r"\[[^]]*(?:error|lost|reset)", re.IGNORECASE
)  # [GPU requires reset], [Unknown Error], [GPU is lost]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or a slice of one (MIG), which CUDA takes for a GPU; memory in MB of 10**6 bytes, 0 where it is not told."""

    index: int
    uuid: str
    name: str
    memory_mb: float
    used_mb: float = 0.0
    is_exclusive: bool = False  # for one process at a time
    slice: int | None = None

    @property
    def number(self) -> str:
        """Return its index; with its slice as NVIDIA's tools for containers write it, `0:1`."""
        return str(self.index) if self.slice is None else f"{self.index}:{self.slice}"


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """How much of one GPU's memory is used, in MB of 10**6 bytes."""

    uuid: str
    used_mb: float
    total_mb: float


class ToolMissing(ExecutorError):
    """The tool is not installed, as on every machine without such GPUs."""


def begins_uuid(name: str, uuid: str) -> bool:
    """Return whether `name` is this UUID or its beginning, as CUDA takes it; so short a name is a GPU's index."""
    return len(name) > 4 and uuid.startswith(name)


def nvidia_gpus(say: Callable[[str], None] = lambda line: None) -> list[Gpu]:
    """Return the GPUs that nvidia-smi lists. `say` is told in one line what else it answers, and which cannot be used.

    One dead GPU makes it exit with 14 or 15 after it has listed the others. Raises ExecutorError where it lists none.
    """
    answer = _listing()
    found, rest = [], []
    for line in answer.stdout.splitlines():
        row = next(iter(_rows(line)), [])
        if len(row) >= 4 and row[0].isdigit() and not row[2].startswith("[") and not any(map(_DEAD.match, row)):
            found.append(row)
        elif line.strip():
            rest.append(line.strip())
    rest += [line.strip() for line in answer.stderr.splitlines() if answer.returncode and line.strip()]
    if not found and answer.returncode:
        raise _failed("nvidia-smi", answer)
    if not found:
        raise ExecutorError(f"nvidia-smi: it lists no GPU: {''.join(rest[-1:]) or 'no output'}. {advice_on(rest)}")
    gpus, unusable = _usable(found)
    if not gpus:
        raise ExecutorError("; ".join(unusable))
    if rest or answer.returncode:
        code = f"exit code {answer.returncode}" if answer.returncode else "not all can be used"
        listed = "1 GPU is" if len(gpus) == 1 else f"{len(gpus)} GPUs are"
        say(f"nvidia-smi: {code}: {'; '.join(rest)[:200] or 'no reason'}. {listed} used. Run it by hand to see why")
    for why in unusable:
        say(why)
    return gpus


def _listing() -> subprocess.CompletedProcess[str]:
    """Return a row for each GPU; from drivers that do not know all of the fields, such as a Jetson's, only the first four."""
    answer = _answer("nvidia-smi", f"--query-gpu={_FIELDS}{_MORE_FIELDS}", "--format=csv,noheader,nounits")
    if "not a valid field" not in answer.stdout + answer.stderr:
        return answer
    return _answer("nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")


def _usable(rows: Sequence[Sequence[str]]) -> tuple[list[Gpu], list[str]]:
    """Return what processes can use, slices in place of a GPU that is cut into some; and why they cannot use the others."""
    gpus, unusable = list[Gpu](), list[str]()
    slices = _slices() if any(row[6:7] == ["Enabled"] for row in rows) else {}
    for row in rows:
        gpu, where = _gpu(row), f"gpu:{row[0]}"
        if row[5:6] == ["Prohibited"]:
            unusable.append(
                f"{where}: no process may use it (compute mode Prohibited). `sudo nvidia-smi -i {row[0]} -c DEFAULT` lets them"
            )
        elif row[6:7] != ["Enabled"]:
            gpus.append(gpu)
        elif slices is None:  # CUDA takes the first one
            gpus.append(replace(gpu, name=f"{gpu.name} MIG", memory_mb=0.0, used_mb=0.0))
        elif gpu.index in slices:
            gpus += slices[gpu.index]
        else:
            unusable.append(
                f"{where}: MIG is on, but it has no slice, so nothing can run there. Create some (`nvidia-smi mig -lgip` lists "
                f"their kinds), or turn it off: `sudo nvidia-smi -i {row[0]} -mig 0`"
            )
    return gpus, unusable


def _gpu(row: Sequence[str]) -> Gpu:
    uuid = row[1] if row[1].startswith("GPU-") else row[0]  # some integrated GPUs have none
    used = _mb(row[4]) if len(row) > 4 else 0.0
    memory = _mb(row[3])  # [N/A] where the memory is the machine's
    return Gpu(int(row[0]), uuid, row[2], memory, used, row[5:6] == ["Exclusive_Process"])


def _slices() -> dict[int, list[Gpu]] | None:
    """Return the slices of each GPU that has some, by its index; None where nvidia-smi does not tell.

    A slice's memory is taken from its name, such as 3g.20gb: at least that many GB, and at most 6 percent more.
    """
    answer = _answer("nvidia-smi", "-L")
    if answer.returncode:
        return None
    found: dict[int, list[Gpu]] = {}
    index, name = -1, ""
    for line in answer.stdout.splitlines():
        if whole := re.match(r"GPU (\d+): (.*?) \(UUID", line):
            index, name = int(whole[1]), whole[2]
        elif part := re.match(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)", line):
            gb = re.search(r"(\d+)gb", part[1])
            gpu = Gpu(index, part[3], f"{name} MIG {part[1]}", 1000.0 * int(gb[1]) if gb else 0.0, slice=int(part[2]))
            found.setdefault(index, []).append(gpu)
    return found


def amd_gpus() -> list[Gpu]:
    """Return the GPUs that rocm-smi lists. Raises ExecutorError where it fails."""
    cards = _cards("--showuniqueid", "--showproductname", "--showmeminfo", "vram")
    return [
        Gpu(
            index=int(key.removeprefix("card")),
            uuid=str(card.get("Unique ID", key)),
            name=str(card.get("Card Series") or card.get("Card series") or "AMD GPU"),
            memory_mb=float(card.get("VRAM Total Memory (B)", 0)) / 1e6,
        )
        for key, card in sorted(cards.items())
    ]


def nvidia_memory(timeout_s: float) -> dict[str, GpuMemory]:
    """Return each GPU's memory, by index. Raises ExecutorError where nvidia-smi fails or takes longer."""
    wanted = "--query-gpu=index,uuid,memory.used,memory.total"
    answer = _answer("nvidia-smi", wanted, "--format=csv,noheader,nounits", timeout_s=timeout_s)
    rows = [row for row in _rows(answer.stdout) if len(row) == 4 and row[0].isdigit()]
    if answer.returncode and not rows:  # else one GPU of several is dead
        raise _failed("nvidia-smi", answer)
    return {
        row[0]: GpuMemory(row[1], _mb(row[2]), _mb(row[3]))
        for row in rows
        if row[2].isdigit()  # [N/A] where the memory is the machine's, or a slice's
    }


def amd_memory(timeout_s: float) -> dict[str, GpuMemory]:
    """Return each GPU's memory, by index. Raises ExecutorError where rocm-smi fails, takes longer or has no answer."""
    cards = _cards("--showmeminfo", "vram", timeout_s=timeout_s)
    try:
        return {
            key.removeprefix("card"): GpuMemory(
                key, float(card["VRAM Total Used Memory (B)"]) / 1e6, float(card["VRAM Total Memory (B)"]) / 1e6
            )
            for key, card in cards.items()
        }
    except (ValueError, KeyError, TypeError):
        raise ExecutorError(
            "rocm-smi: its answer has no memory in it. Run `rocm-smi --showmeminfo vram` to see why"
        ) from None


def nvidia_processes(uuids: Collection[str], timeout_s: float) -> list[str]:
    """Return the processes that compute on these GPUs, such as `4711 (python), 61 GB`; a container does not see all.

    Raises ExecutorError where nvidia-smi fails or takes longer.
    """
    wanted = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"
    answer = _answer("nvidia-smi", wanted, "--format=csv,noheader,nounits", timeout_s=timeout_s)
    rows = [row for row in _rows(answer.stdout) if len(row) == 4]
    if answer.returncode and not rows:
        raise _failed("nvidia-smi", answer)
    return [
        f"{pid} ({name.rpartition('/')[2]})" + (f", {_mb(mib) / 1000:.0f} GB" if mib.isdigit() else "")
        for uuid, pid, name, mib in rows
        if uuid in uuids
    ]


def _cards(*arguments: str, timeout_s: float = QUERY_TIMEOUT_S) -> dict[str, Any]:
    answer = _query("rocm-smi", *arguments, "--json", timeout_s=timeout_s)
    try:
        return {key: card for key, card in json.loads(answer).items() if key.startswith("card")}
    except (ValueError, AttributeError):
        raise ExecutorError(f"rocm-smi: its answer is not JSON: {answer[:80]!r}. Run it by hand to see why") from None


def _rows(table: str) -> list[list[str]]:
    return list(csv.reader(table.splitlines(), skipinitialspace=True))


def _mb(mib: str) -> float:
    return float(mib) * _MIB_TO_MB if mib.isdigit() else 0.0


def _query(tool: str, *arguments: str, timeout_s: float) -> str:
    answer = _answer(tool, *arguments, timeout_s=timeout_s)
    if answer.returncode:
        raise _failed(tool, answer)
    return answer.stdout


def _answer(tool: str, *arguments: str, timeout_s: float = QUERY_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Return what the tool answers, whatever its exit code."""
    if shutil.which(tool) is None:
        raise ToolMissing(
            f"{tool}: not found, so there is no such GPU here. Install its driver, or use another profile"
        )
    try:
        return subprocess.run(
            [tool, *arguments], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        hangs = "A GPU or its driver hangs: see `dmesg | grep -i nvrm`, and reboot"
        raise ExecutorError(f"{tool}: no answer within {timeout_s:g} s. {hangs}") from None
    except OSError as error:
        raise ExecutorError(f"{tool}: {error}. Run it by hand to see why") from None


def _failed(tool: str, answer: subprocess.CompletedProcess[str]) -> ExecutorError:
    answered = " ".join((answer.stdout + answer.stderr).split())[:200].rstrip(".")
    return ExecutorError(f"{tool}: exit code {answer.returncode}: {answered}. {advice_on([answered])}")


def advice_on(answered: Iterable[str]) -> str:
    """Return what to do about what a tool says: the advice to a script that ends with these words."""
    of_machine = [each for each in CAUSES if each.status in (TrialStatus.ENVIRONMENT, TrialStatus.DEVICE_FAILED)]
    advice = (cause.advice for line in answered for cause in of_machine if cause.pattern.search(line))
    return next(advice, "Run it by hand to see why")
