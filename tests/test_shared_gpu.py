"""Two trials on one GPU, and one that is to be alone on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.executors.local import LocalExecutor
from optimize.trial import Job, Progress, Slot, TrialStatus
from tests.zoo import endings, living, zoo_job

pytestmark = pytest.mark.slow  # real processes

SHARES = tuple(Slot(f"gpu:0.{share}", {"DEVICE": "0"}, "H100", shared=True) for share in range(2))
OTHER = Slot("gpu:1.0", {"DEVICE": "1"}, "H100", shared=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert living(tmp_path) == []


def alone(script: str, number: int) -> Job:
    return replace(zoo_job(script, number=number), alone=True)


def wait_for_progress(executor: LocalExecutor) -> None:
    while not any(isinstance(event, Progress) for event in executor.wait(60.0)):
        pass


def test_one_that_is_to_be_alone_begins_when_its_neighbour_has_ended_and_keeps_the_gpu(place: Path) -> None:
    with LocalExecutor(SHARES, place) as executor:
        executor.submit(zoo_job("hang", number=1))
        wait_for_progress(executor)
        executor.submit(alone("hang", 2))
        assert (executor.free, executor.running) == (0, {1, 2})
        assert executor.wait(0.3) == []
        assert not (place / "2").exists()
        executor.cancel(1, TrialStatus.CANCELLED, "enough")
        ending = endings(executor)[0]
        assert (ending.job.number, ending.outcome.shared) == (1, True)
        assert executor.free == 0
        with pytest.raises(RuntimeError, match="no slot is free"):
            executor.submit(zoo_job("ok", number=3))
        wait_for_progress(executor)
        executor.cancel(2, TrialStatus.CANCELLED, "enough")
        ending = endings(executor)[0]
        assert (ending.job.number, ending.outcome.shared, ending.outcome.device) == (2, False, "H100")
        assert executor.free == 2


def test_one_that_is_to_be_alone_goes_where_nobody_is(place: Path) -> None:
    with LocalExecutor((*SHARES, OTHER), place) as executor:
        executor.submit(zoo_job("hang", number=1))
        assert executor.submit(alone("ok", 2)).name == "gpu:1.0"
        assert endings(executor)[0].job.number == 2
        assert executor.free == 2


def test_one_that_still_waits_for_its_turn_can_be_cancelled(place: Path) -> None:
    with LocalExecutor(SHARES, place) as executor:
        executor.submit(zoo_job("hang", number=1))
        executor.submit(alone("ok", 2))
        executor.cancel(2, TrialStatus.CANCELLED, "enough")
        ending = endings(executor)[0]
        assert (ending.job.number, ending.outcome.status, ending.outcome.slot) == (2, TrialStatus.CANCELLED, "gpu:0.1")
        assert executor.free == 1


def test_leaving_ends_one_that_still_waits(place: Path) -> None:
    with LocalExecutor(SHARES, place) as executor:
        executor.submit(zoo_job("hang", number=1))
        executor.submit(alone("ok", 2))
    assert executor.running == frozenset()
    assert not (place / "2").exists()
