"""A study with an advisor whose model is a server on loopback; a trial ends when the request that runs beside it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

from optimize.advisor import Advisor, advice_line
from optimize.advisor.advisor import brief_of
from optimize.advisor.client import Endpoint
from optimize.executors.simulated import SimulatedExecutor
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Job, Outcome
from storage import TrialRecord
from tests.conftest import Driver, complete
from tests.model_server import Asked, Reply, model_server

KEY = "sk-a-key-that-nobody-may-see"
RETRY_S = 120.0  # for a request of a broken test
BEST = {"X": 2, "Y": 0.25, "PAIR": [0.8, 0.95]}
GOOD = [{"X": 2, "Y": y, "PAIR": pair} for y, pair in product((0.25, 0.2, 0.3, 0.15), ([0.8, 0.95], [0.9, 0.95]))]
SPACE = """\
[parameters]
X = [1, 2, 3, 4]
Y = [0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
PAIR = [[0.8, 0.95], [0.9, 0.95]]

[[rules]]
rule = "SIZE % X == 0"
why = "the script halves its size"
"""


def enlarge(driver: Driver) -> None:
    """So that a random sampler hardly ever tries what the model is about to propose."""
    (driver.folder / "space.toml").write_text(SPACE)


class Study:
    """A study of one folder with an advisor; a trial ends when the request that runs beside it has."""

    def __init__(
        self, driver: Driver, url: str, share: float = 0.2, rest_s: float = 0.0, total_s: float = 60.0,
        train: Callable[[Job], Outcome] = complete,
    ) -> None:  # fmt: skip
        self.driver, self.share, self.rest_s, self.train = driver, share, rest_s, train
        self.endpoint = Endpoint(url, "stub", KEY, total_s)
        self.advisor = self._advisor()

    def run(self, trials: int) -> list[TrialRecord]:
        self.advisor = self._advisor()
        plan, driver = self.driver.plan, self.driver
        with (
            driver.database() as database,
            open_study(database, plan, "data", driver.said.append, advisor=self.advisor) as study,
            StopSignals() as stop_signals,
        ):
            loop = Loop(study, SimulatedExecutor(self._train), driver.job, Budget(trials), (), stop_signals, tick_s=0)
            loop.run()
            return list(study.records())

    def line(self, records: list[TrialRecord]) -> str:
        return advice_line(records, self.advisor.spent, self.driver.plan.workload.metric)

    def _advisor(self) -> Advisor:
        return Advisor(brief_of(self.driver.plan), self.endpoint, self.share, self.driver.said.append, self.rest_s)

    def _train(self, job: Job) -> Outcome:
        if self.advisor._request is not None:
            self.advisor._request.thread.join(RETRY_S)
        return self.train(job)


@contextmanager
def studied(driver: Driver, reply: Reply, **more: Any) -> Iterator[tuple[Study, list[Asked]]]:
    with model_server(reply) as server:
        yield Study(driver, server.url, **more), server.asked


def advised(records: list[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.kind == "advisor"]


def warnings(driver: Driver) -> list[str]:
    return [line for line in driver.said if line.startswith("advice:")]
