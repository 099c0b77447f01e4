"""Reads nvidia-smi and rocm-smi: which GPUs this machine has, and how much of their memory is used. Nothing else reads them.

Standard library only. It starts nothing but these two tools; which GPU a trial gets is decided in `executors/slots.py`, and
whether its memory is free in `gpu_memory.py`. The reading of rocm-smi was never tried on a real machine.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from optimize.errors import ExecutorError

QUERY_TIMEOUT_S = 60.0  # nvidia-smi takes seconds on a machine whose driver is not kept loaded
_MIB_TO_MB = 1.048576


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; its memory in MB of 10**6 bytes, 0 where it is not told."""

    index: int
    uuid: str
    name: str
    memory_mb: float


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """How much of one GPU's memory is used, in MB of 10**6 bytes."""

    uuid: str
    used_mb: float
    total_mb: float


class ToolMissing(ExecutorError):
    """The tool is not installed, as on every machine without such GPUs."""


def nvidia_gpus() -> list[Gpu]:
    """Return the GPUs that nvidia-smi lists. Raises ExecutorError where it fails or lists none."""
    table = _query("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
    gpus = []
    for row in _rows(table):
        if len(row) == 4 and row[0].isdigit() and not row[2].startswith("["):  # [GPU requires reset], [Unknown Error]
            uuid = row[1] if row[1].startswith("GPU-") else row[0]  # some integrated GPUs have none
            gpus.append(Gpu(int(row[0]), uuid, row[2], _mb(row[3])))  # [N/A] where the memory is the machine's
    if not gpus:
        raise ExecutorError(
            f"nvidia-smi: it lists no GPU: {''.join(table.strip().splitlines()[-1:]) or 'no output'}. Run it by hand to see why"
        )
    return gpus


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
    table = _query("nvidia-smi", wanted, "--format=csv,noheader,nounits", timeout_s=timeout_s)
    return {
        row[0]: GpuMemory(row[1], _mb(row[2]), _mb(row[3]))
        for row in _rows(table)
        if len(row) == 4 and row[2].isdigit()  # [N/A] where the memory is the machine's, or a slice's
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
    table = _query("nvidia-smi", wanted, "--format=csv,noheader,nounits", timeout_s=timeout_s)
    return [
        f"{pid} ({name.rpartition('/')[2]})" + (f", {_mb(mib) / 1000:.0f} GB" if mib.isdigit() else "")
        for uuid, pid, name, mib in (row for row in _rows(table) if len(row) == 4)
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


def _query(tool: str, *arguments: str, timeout_s: float = QUERY_TIMEOUT_S) -> str:
    if shutil.which(tool) is None:
        raise ToolMissing(
            f"{tool}: not found, so there is no such GPU here. Install its driver, or use another profile"
        )
    try:
        answer = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutorError(f"{tool}: {error}. Run it by hand to see why") from None
    if answer.returncode:
        answered = " ".join((answer.stdout + answer.stderr).split())[:200]
        raise ExecutorError(f"{tool}: exit code {answer.returncode}: {answered}. Run it by hand to see why")
    return answer.stdout
