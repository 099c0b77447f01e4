"""Looks at the GPUs of a call before any trial: settings that cannot work on them, and memory that somebody uses already.

It asks nvidia-smi only who uses a GPU that is not empty.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from optimize.errors import ExecutorError
from optimize.runner.gpus import Gpu, nvidia_processes

USED_MB, USED = 1_000.0, 0.1  # beyond both, a line tells how much of a GPU's memory is used; a small desktop is below
QUERY_TIMEOUT_S = 20.0


def check_gpus(gpus: Sequence[Gpu], gpus_per_trial: int, trials_per_gpu: int, say: Callable[[str], None]) -> None:
    """Tell `say` whose memory is used already. Raises ExecutorError for numbers of trials that these GPUs cannot take."""
    if gpus_per_trial > 1 and (slices := [gpu.number for gpu in gpus if gpu.slice is not None]):
        raise ExecutorError(
            f"[slots] gpus_per_trial: gpu:{slices[0]} is a slice (MIG), and CUDA shows a process only one of them. Leave it out"
        )
    if trials_per_gpu > 1 and (alone := [gpu for gpu in gpus if gpu.is_exclusive]):
        raise ExecutorError(
            f"[slots] trials_per_gpu: gpu:{alone[0].number} takes one process at a time (compute mode Exclusive_Process). "
            f"Leave it out, or let it take more: `sudo nvidia-smi -i {alone[0].index} -c DEFAULT`"
        )
    for gpu in gpus:
        if gpu.used_mb > max(USED_MB, USED * gpu.memory_mb):
            say(_used_line(gpu))


def _used_line(gpu: Gpu) -> str:
    holders = list[str]()
    with contextlib.suppress(ExecutorError):
        holders = [f"process {holder}" for holder in nvidia_processes({gpu.uuid}, QUERY_TIMEOUT_S)]
    used, total = gpu.used_mb / 1000, gpu.memory_mb / 1000
    by = ", ".join(holders) or "processes that cannot be seen from here"
    rest = (
        "It takes one process at a time (compute mode Exclusive_Process)" if gpu.is_exclusive else "Trials get the rest"
    )
    return (
        f"gpu:{gpu.number} ({gpu.name}): {used:.0f} of {total:.0f} GB are used already, by {by}. "
        f"{rest}: end that first, or leave this GPU out with --gpus"
    )
