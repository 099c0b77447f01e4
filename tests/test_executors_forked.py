"""The executors' contract once more, with every script forked from a Python that has imported a module already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.executors import Executor
from optimize.executors.local import LocalExecutor
from optimize.runner.process_tree import can_spare_children
from optimize.trial import Ending, Job, Progress, Slot
from tests import test_executors as contract
from tests.zoo import as_preloaded, children_of, endings, eventually, guardians_of, zoo_job


class Preloading(LocalExecutor):
    """Forks whatever a test submits."""

    def __init__(self, slots: Sequence[Slot], work: Path) -> None:
        super().__init__(slots, work)
        self._submitted: dict[int, Job] = {}

    def submit(self, job: Job) -> Slot:
        slot = super().submit(as_preloaded(job))
        self._submitted[job.number] = job
        return slot

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        events = super().wait(timeout_s)
        return [replace(e, job=self._submitted[e.job.number]) if isinstance(e, Ending) else e for e in events]


@pytest.mark.slow
@pytest.mark.skipif(not can_spare_children(), reason="forks are for Linux")
class TestLocalExecutorThatForks(contract.TestLocalExecutor):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, place: Path) -> Iterator[Executor]:
        with Preloading(contract.SLOTS, place) as executor:
            for number in range(len(executor.slots)):  # the first job says which environment is preloaded for
                executor.submit(zoo_job("ok", number=number))
            endings(executor, len(executor.slots))
            yield executor

    @pytest.fixture(autouse=True)
    def _trials_are_forked(self, executor: Executor) -> Iterator[None]:
        yield
        executor.submit(zoo_job("says_what_is_preloaded", number=99))
        assert "PRELOADED True" in endings(executor)[0].outcome.log

    def test_leaving_leaves_no_zygote_either(self, executor: Executor) -> None:
        below = {child for guardian in guardians_of(os.getpid()) for child in children_of(guardian)}
        assert len(below) >= 1
        executor.__exit__(None, None, None)
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
        executor.__enter__()
