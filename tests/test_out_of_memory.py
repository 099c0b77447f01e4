"""Whose memory a script ran out of, and who else held it, told by what PyTorch and others really say."""

from __future__ import annotations

import pytest

from optimize.runner.diagnosis import Exit, diagnose
from optimize.runner.out_of_memory import others_on_gpu, ran_out_on_gpu
from optimize.trial import Metric, TrialStatus
from tests.test_causes import SAID

OF_THE_MACHINE = (
    "_ArrayMemoryError",
    "killed by signal",
    "SIGKILL",
    "Killed",
    "signal 9",
    "error code -9",
)  # numpy; the kernel
OOM = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total {} of 23.65 GiB of which 1.06 GiB is free. {} "
    "Of the allocated memory 10.80 GiB is allocated by PyTorch"
)
MINE = "Including non-PyTorch memory, this process has 11.58 GiB memory in use."
OTHER = "Process 4711 has 11.00 GiB memory in use."
SEVERAL = (
    "Process 1 has 8.00 GiB memory in use. Process 2 has 5.59 MiB memory in use. Process 3 has 7.00 GiB memory in use."
)


@pytest.mark.parametrize("said", SAID[TrialStatus.OUT_OF_MEMORY])
def test_whose_memory_it_was_is_told_by_its_words(said: str) -> None:
    log = f'Traceback (most recent call last):\n  File "train.py", line 1, in run\n    step()\n{said}\n'
    reason = diagnose(log, Exit(1, 1.0), Metric()).reason
    assert ran_out_on_gpu(reason) is not any(words in said for words in OF_THE_MACHINE)


@pytest.mark.parametrize(
    "reason",
    [
        "killed by SIGKILL, not by us: most likely the kernel's out-of-memory killer",
        "MemoryError",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory",
        "RuntimeError: CUDA error: out of memory, in pin_memory: cudaHostAlloc",
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
    ],
)
def test_the_machines_memory_is_no_gpus(reason: str) -> None:
    assert not ran_out_on_gpu(reason)


@pytest.mark.parametrize("word", ["capacity", "capacty"])  # as PyTorch 2.1 wrote it
def test_another_process_is_named_with_its_share(word: str) -> None:
    assert others_on_gpu(OOM.format(word, f"{OTHER} {MINE}")) == "process 4711 held 11.8 of its 25.4 GB"


def test_several_are_named_and_small_ones_are_not() -> None:
    told = "process 1 held 8.6 of its 25.4 GB, process 3 held 7.5 of its 25.4 GB"
    assert others_on_gpu(OOM.format("capacity", f"{SEVERAL} {MINE}")) == told


@pytest.mark.parametrize(
    "who",
    [
        MINE,
        f"Process 1 has 414.00 MiB memory in use. Process 2 has 414.00 MiB memory in use. {MINE}",  # contexts of its own
        f"Process 4711 has 17179869184.00 GiB memory in use. {MINE}",  # NVML does not tell it
        OTHER,  # itself, in a container
        "",
    ],
    ids=["alone", "contexts", "unknown", "container", "nothing"],
)
def test_what_does_not_show_another_process_names_none(who: str) -> None:
    assert others_on_gpu(OOM.format("capacity", who)) == ""


def test_the_last_words_count() -> None:
    first, last = (OOM.format("capacity", who) for who in (f"{OTHER} {MINE}", MINE))
    assert others_on_gpu(f"{first}\nretrying\n{last}") == ""
