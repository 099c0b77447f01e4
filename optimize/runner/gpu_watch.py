"""Watches a slot's GPUs between trials: is their memory free again, are they still there, who was there beside the last trial?

Free means: no more is used than the least that this guardian has ever seen, plus a tolerance. So memory that a desktop or
somebody else's process used from the beginning does not count. Nor does a little more that stays, if no new process computes
there: that is a desktop's. Gone is a GPU that nvidia-smi has told of before, and now answers without. `gpus.py` asks for the
GPUs that the slot's environment names. There is no waiting where they do not answer, as for a slice of a GPU (MIG), or where
two trials share a GPU. It frees nothing and kills nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from optimize.errors import ExecutorError
from optimize.runner.causes import CAUSES
from optimize.runner.gpus import GpuMemory, advice_on, amd_memory, begins_uuid, nvidia_memory, nvidia_processes
from optimize.runner.stop import StopRequest, StopSource, wait_for
from optimize.trial import Job, Outcome, Slot, TrialStatus

TOLERANCE_MB, TOLERANCE = 1_000.0, 0.05  # the larger of both counts; the second is a share of the device's memory
DESKTOP_MB, DESKTOP = 4_000.0, 0.25  # the smaller of both counts: a browser and a film, not a game
QUERY_TIMEOUT_S = 20.0
_PAUSE_S = 0.5
_MAY_BE_LOSS = (TrialStatus.CRASHED, TrialStatus.SILENT, TrialStatus.TIMED_OUT)  # of the GPU


class GpuWatch:
    """What one slot's guardian has seen of its GPUs."""

    def __init__(self) -> None:
        self._least: dict[str, float] = {}  # GPU as the slot names it -> MB
        self._old: set[str] = set()  # pids that were there at the first query
        self._silent = False  # the tool did not answer the first query: not asked again, since that may take long
        self._lost = ""  # why no trial can run on them any more, as of the last query

    def wait_until_free(self, job: Job, slot: Slot, stop_source: StopSource | None) -> StopRequest | None:
        """Wait up to `limits.free_s`. Return a stop request that comes meanwhile, or one that says who holds the memory.

        Return one too if a GPU is not there any more.
        """
        deadline = time.monotonic() + job.limits.free_s
        while held := self._held(slot):
            if time.monotonic() >= deadline:
                return self._busy(slot, held)
            if stop := wait_for(None, min(_PAUSE_S, deadline - time.monotonic()), stop_source):
                return stop
        return StopRequest(TrialStatus.DEVICE_FAILED, self._lost) if self._lost else None

    def judge(self, outcome: Outcome, slot: Slot) -> Outcome:
        """Return how a trial that has just ended really ended.

        Its GPU may have gone, whatever the script made of that. Or somebody else has taken the memory that ran out.
        """
        if outcome.status not in (TrialStatus.OUT_OF_MEMORY, *_MAY_BE_LOSS):
            return outcome
        held = self._held(slot)
        if self._lost and outcome.status in _MAY_BE_LOSS:
            return replace(
                outcome, status=TrialStatus.DEVICE_FAILED, reason=f"{self._lost}. The trial: {outcome.reason}"
            )
        new = [holder for holder in self._new_holders(held) if _is_alive(holder)]  # its own have ended
        if outcome.status is not TrialStatus.OUT_OF_MEMORY or not new:
            return outcome
        return replace(outcome, status=TrialStatus.BUSY, reason=f"out of memory, but {_held_line(slot, new)}")

    def _held(self, slot: Slot) -> dict[str, GpuMemory]:
        """Return the memory of GPUs of which too much is used, by the name that the slot has for them."""
        wanted, self._lost = _named(slot.env), ""
        if slot.shared or self._silent or not wanted:
            return {}
        found, said = _uses(wanted)
        if (self._least.keys() & wanted.keys()) - found.keys():
            self._lost = _why_lost(slot, said)
        if not found:
            self._silent = not self._least
            return {}
        if not self._least:
            self._old = {_pid(holder) for holder in _holders({use.uuid for use in found.values()})}
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
        new = self._new_holders(held)
        if not new and all(
            self._excess_mb(*each) <= min(DESKTOP_MB, DESKTOP * each[1].total_mb) for each in held.items()
        ):
            self._least.update({gpu: use.used_mb for gpu, use in held.items()})
            return None
        unowned = f"{sum(self._excess_mb(*each) for each in held.items()) / 1000:.0f} GB that no process owns"
        return StopRequest(TrialStatus.BUSY, _held_line(slot, new, unowned))

    def _new_holders(self, held: Mapping[str, GpuMemory]) -> list[str]:
        """Return the processes that compute there and did not at the first query."""
        holders = _holders({use.uuid for use in held.values()}) if held else []
        return [holder for holder in holders if _pid(holder) not in self._old]


def _why_lost(slot: Slot, said: str) -> str:
    """Return why a GPU that told its memory before cannot be used any more, "" if what the tool says is of something else."""
    if not said:
        return f"{slot.name}: nvidia-smi does not list it any more. {advice_on(['GPU is lost'])}"
    is_known = any(each.status is TrialStatus.DEVICE_FAILED and each.pattern.search(said) for each in CAUSES)
    return f"{slot.name}: {said}" if is_known else ""


def _named(env: Mapping[str, str]) -> dict[str, str]:
    """Return the kind of each GPU, by the name that the environment has for it."""
    for variable, kind in (("CUDA_VISIBLE_DEVICES", "cuda"), ("HIP_VISIBLE_DEVICES", "rocm")):
        if env.get(variable):
            return {gpu.strip(): kind for gpu in env[variable].split(",")}
    return {}


def _uses(wanted: Mapping[str, str]) -> tuple[dict[str, GpuMemory], str]:
    """Return the memory of the GPUs with these names, and what the tool says where it fails."""
    try:
        found = nvidia_memory(QUERY_TIMEOUT_S) if "cuda" in wanted.values() else amd_memory(QUERY_TIMEOUT_S)
    except ExecutorError as error:
        return {}, str(error)
    return {gpu: use for gpu in wanted for name, use in found.items() if gpu == name or begins_uuid(gpu, use.uuid)}, ""


def _holders(uuids: set[str]) -> list[str]:
    """Return the processes that compute on these GPUs, as far as NVIDIA's tool lists them."""
    try:
        return nvidia_processes(uuids, QUERY_TIMEOUT_S)
    except ExecutorError:
        return []


def _held_line(slot: Slot, holders: Iterable[str], else_by: str = "") -> str:
    who = ", ".join(f"process {holder}" for holder in holders) or else_by
    return f"{slot.name} is held by {who}. End that, or leave this GPU out with --gpus"


def _pid(holder: str) -> str:
    return holder.partition(" ")[0]


def _is_alive(holder: str) -> bool:
    """Return whether this process can be seen from here; in a container, others' cannot."""
    return Path("/proc", _pid(holder)).exists()
