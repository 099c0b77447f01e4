"""Waits until a GPU's memory is free again before the next trial starts on it.

Free means: no more is used than the least that this guardian has ever seen, plus a tolerance. So memory that a desktop or
somebody else's process used from the beginning does not count. Nor does a little more that stays, if no new process computes
there: that is a desktop's. `gpus.py` asks the GPUs that the slot's environment names. There is no waiting
where they do not answer, as for a slice of a GPU (MIG), or where two trials share a GPU. It frees nothing and kills nobody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from optimize.errors import ExecutorError
from optimize.runner.gpus import GpuMemory, amd_memory, begins_uuid, nvidia_memory, nvidia_processes
from optimize.runner.stop import StopRequest, StopSource, wait_for
from optimize.trial import Job, Slot, TrialStatus

TOLERANCE_MB, TOLERANCE = 1_000.0, 0.05  # the larger of both counts; the second is a share of the device's memory
DESKTOP_MB, DESKTOP = 4_000.0, 0.25  # the smaller of both counts: a browser and a film, not a game
QUERY_TIMEOUT_S = 20.0
_PAUSE_S = 0.5


class GpuMemoryWait:
    """The wait for one slot's GPUs, with what its guardian has seen of their memory."""

    def __init__(self) -> None:
        self._least: dict[str, float] = {}  # GPU as the slot names it -> MB
        self._old: set[str] = set()  # pids that were there at the first query
        self._silent = False  # the tool did not answer the first query: not asked again, since that may take long

    def wait_until_free(self, job: Job, slot: Slot, stop_source: StopSource | None) -> StopRequest | None:
        """Wait up to `limits.free_s`. Return a stop request that comes meanwhile, or one that says who holds the memory."""
        deadline = time.monotonic() + job.limits.free_s
        while held := self._held(slot):
            if time.monotonic() >= deadline:
                return self._busy(slot, held)
            if stop := wait_for(None, min(_PAUSE_S, deadline - time.monotonic()), stop_source):
                return stop
        return None

    def _held(self, slot: Slot) -> dict[str, GpuMemory]:
        """Return the memory of GPUs of which too much is used, by the name that the slot has for them."""
        wanted = _named(slot.env)
        if slot.shared or self._silent or not wanted:
            return {}
        found = _uses(wanted)
        if not found:
            self._silent = not self._least
            return {}
        if not self._least:
            self._old = {holder.partition(" ")[0] for holder in _holders({use.uuid for use in found.values()})}
        for gpu, use in found.items():
            self._least[gpu] = min(self._least.get(gpu, use.used_mb), use.used_mb)
        return {
            gpu: use
            for gpu, use in found.items()
            if self._excess_mb(gpu, use) > max(TOLERANCE_MB, TOLERANCE * use.total_mb)
        }

    def _excess_mb(self, gpu: str, use: GpuMemory) -> float:
        return use.used_mb - self._least[gpu]

    def _busy(self, slot: Slot, held: Mapping[str, GpuMemory]) -> StopRequest | None:
        """Return a request that names who holds the memory; None if it is a desktop's, which stays."""
        new = [
            holder
            for holder in _holders({use.uuid for use in held.values()})
            if holder.partition(" ")[0] not in self._old
        ]
        if not new and all(
            self._excess_mb(*each) <= min(DESKTOP_MB, DESKTOP * each[1].total_mb) for each in held.items()
        ):
            self._least.update({gpu: use.used_mb for gpu, use in held.items()})
            return None
        unowned = f"{sum(self._excess_mb(*each) for each in held.items()) / 1000:.0f} GB that no process owns"
        who = ", ".join(f"process {holder}" for holder in new) or unowned
        return StopRequest(
            TrialStatus.BUSY, f"{slot.name} is held by {who}. End that, or leave this GPU out with --gpus"
        )


def _named(env: Mapping[str, str]) -> dict[str, str]:
    """Return the kind of each GPU, by the name that the environment has for it."""
    for variable, kind in (("CUDA_VISIBLE_DEVICES", "cuda"), ("HIP_VISIBLE_DEVICES", "rocm")):
        if env.get(variable):
            return {gpu.strip(): kind for gpu in env[variable].split(",")}
    return {}


def _uses(wanted: Mapping[str, str]) -> dict[str, GpuMemory]:
    try:
        found = nvidia_memory(QUERY_TIMEOUT_S) if "cuda" in wanted.values() else amd_memory(QUERY_TIMEOUT_S)
    except ExecutorError:
        return {}
    return {gpu: use for gpu in wanted for name, use in found.items() if gpu == name or begins_uuid(gpu, use.uuid)}


def _holders(uuids: set[str]) -> list[str]:
    """Return the processes that compute on these GPUs, as far as NVIDIA's tool lists them."""
    try:
        return nvidia_processes(uuids, QUERY_TIMEOUT_S)
    except ExecutorError:
        return []
