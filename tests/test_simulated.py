"""The simulator: trials without processes, on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable

from optimize.executors.simulated import SimulatedExecutor
from optimize.trial import Job, Outcome, Progress, TrialStatus
from tests.zoo import endings, zoo_job


def simulated(seconds: dict[int, float]) -> Callable[[Job], Outcome]:
    curve = ((0.25, 3.0), (0.5, 2.0))
    return lambda job: Outcome(TrialStatus.COMPLETE, seconds[job.number], summary={"val_bpb": 1.0}, curve=curve)


def test_simulated_trials_end_in_the_order_of_their_clock() -> None:
    with SimulatedExecutor(simulated({1: 300.0, 2: 100.0, 3: 100.0}), slots=2) as executor:
        executor.submit(zoo_job("ok", number=1))
        executor.submit(zoo_job("ok", number=2))
        assert endings(executor)[0].job.number == 2
        assert executor.now_s == 100.0
        executor.submit(zoo_job("ok", number=3))
        assert [ending.job.number for ending in endings(executor, 2)] == [3, 1]
        assert executor.now_s == 300.0


def test_simulated_progress_follows_the_curve_and_can_be_cut() -> None:
    with SimulatedExecutor(simulated({1: 100.0}), slots=1) as executor:
        executor.submit(zoo_job("ok", number=1))
        assert executor.wait(0.0) == [Progress(1, 0.25, loss=3.0)]
        assert executor.now_s == 25.0
        executor.cancel(1, TrialStatus.HOPELESS, "bad curve")
        outcome = endings(executor)[0].outcome
        assert (outcome.status, outcome.seconds, outcome.curve) == (TrialStatus.HOPELESS, 25.0, ((0.25, 3.0),))
