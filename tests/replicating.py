"""A study whose winners are confirmed inline: the script's player, and what is looked at afterwards."""

from __future__ import annotations

import hashlib
import io
import random
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from rich.console import Console

from optimize.confirm.verdict import Verdict
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.run_end import RunResult, end_report
from optimize.session.confirm import ConfirmOptions, ConfirmResult, confirm_study
from optimize.session.run import run_study
from optimize.session.session import Caller
from optimize.study.stored import find_study
from optimize.trial import Job, Outcome, TrialStatus
from storage import TrialRecord
from tests.conftest import SCRIPT, Driver, val_bpb

SEEDED = SCRIPT.replace("SIZE = 8\n", "SIZE = 8\nSEED = 42\nVAL_SPLIT = 0\nTIME_BUDGET = 100\n")
LUCK = {42: 0.0, 43: 0.003, 44: -0.004, 45: 0.001, 46: -0.002, 47: 0.002}


@dataclass
class Noisy:
    """Plays the script: its value has a little luck in it, which the parameters and the seed decide."""

    deviation: float = 0.05
    gain: float = 1.0  # how much of a parameter's effect is real, and not luck of the first seed
    ends: Callable[[Job], Outcome | None] = lambda job: None
    curve: tuple[tuple[float, float], ...] = ()
    jobs: list[Job] = field(default_factory=list)

    def __call__(self, job: Job) -> Outcome:
        self.jobs.append(job)
        summary = {"val_bpb": self.value(job)}
        complete = Outcome(TrialStatus.COMPLETE, 10.0, summary=summary, log="a log\n", curve=self.curve)
        return self.ends(job) or complete

    def value(self, job: Job) -> float:
        own, seed = {name: job.params[name] for name in ("X", "Y", "PAIR")}, job.params.get("SEED", 42)
        drawn = random.Random(hashlib.sha256(repr((own, seed)).encode()).digest())
        effect = val_bpb(own) - val_bpb({"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)})
        return 2.0 + effect * (1.0 if seed == 42 else self.gain) + drawn.gauss(0, self.deviation)

    @property
    def searched(self) -> list[Job]:
        return [job for job in self.jobs if job.number >= 0]

    @property
    def repeated(self) -> list[Job]:
        return [job for job in self.jobs if job.number < 0]


@pytest.fixture
def seeded(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A study of 20 trainings of a script with a seed. Plots take longer than all else, and are not looked at here."""
    monkeypatch.setattr("optimize.reporting.dashboard.interactive_figures", lambda *args: {})
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.set(trials=20)
    return driver


@pytest.fixture
def searched(seeded: Driver) -> Driver:
    """That study after its end, with a verdict."""
    seeded.once("searched", lambda: search(seeded, Noisy()))
    return seeded


@pytest.fixture
def unrepeated(seeded: Driver) -> Driver:
    """That study after its end, without one."""
    seeded.once("unrepeated", lambda: search(seeded, Noisy(), verdict=False))
    return seeded


def by_clock_of(executor: SimulatedExecutor, patched: pytest.MonkeyPatch) -> None:
    """Let a call take the time that its trials would take."""
    for module in ("optimize.session.session", "optimize.study.loop"):
        patched.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: executor.now_s))


def search(
    driver: Driver, run: Noisy | SimulatedExecutor, console: Console | None = None, verdict: bool = True
) -> RunResult:
    executor = SimulatedExecutor(run) if isinstance(run, Noisy) else run
    caller = Caller(
        console or Console(file=io.StringIO()), driver.said.append, executor=lambda found: executor, data="data"
    )
    with driver.database():  # which makes a new one in no time
        pass
    return run_study(driver.plan, executor.slots, caller, verdict)


def end(driver: Driver, ended: RunResult) -> str:
    page = Console(file=io.StringIO(), width=300)
    page.print(end_report(driver.plan, ended))
    return page.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def trained(job: Job) -> tuple[object, ...]:
    """What tells one training from another."""
    return tuple(job.params.get(name, 42) for name in ("X", "Y", "PAIR", "SEED"))


def is_baseline(job: Job) -> bool:
    return trained(job)[:3] == (4, 0.5, (0.8, 0.95))


class Killed(Exception):
    """The driver dies here."""


@dataclass
class Trainings:
    """Plays the script: remembers every training, and may be told how some of them end."""

    ends: Callable[[Job], Outcome | None] = lambda job: None
    gain: float = 1.0  # how much of a parameter's effect is real, and not luck of the first seed
    jobs: list[Job] = field(default_factory=list)
    done: int = 0

    def __call__(self, job: Job) -> Outcome:
        self.jobs.append(job)
        outcome = self.ends(job)
        self.done += 1
        return outcome or Outcome(TrialStatus.COMPLETE, 10.0, summary=self.summary(job.params), log="a log\n")

    def summary(self, params: Mapping[str, object]) -> dict[str, float | str]:
        seed, own = int(str(params.get("SEED", 42))), {name: params[name] for name in ("X", "Y", "PAIR")}
        effect = val_bpb(own) - val_bpb({"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)})
        value = 2.0 + effect * (1.0 if seed == 42 else self.gain) + LUCK[seed] * (1 + 0.5 * (own["X"] != 4))
        longer = int(str(params.get("TIME_BUDGET", 100)))
        return {"val_bpb": value + float(str(params.get("VAL_SPLIT", 0))) / 100, "training_seconds": float(longer)}

    @property
    def seeds(self) -> Counter[object]:
        return Counter(job.params["SEED"] for job in self.jobs)


@pytest.fixture
def night(driver: Driver) -> Driver:
    """A study of ten trials of a script with a seed; its baseline is the worst but for two."""
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.once("night", lambda: driver.run(Trainings(), trials=10))
    return driver


def confirm(
    driver: Driver, run: Callable[[Job], Outcome], slots: int = 1, data: str = "data", console: Console | None = None,
    **wanted: int,
) -> ConfirmResult:  # fmt: skip
    where = SimulatedExecutor(run, slots).slots
    caller = Caller(
        console or Console(file=io.StringIO()),
        driver.said.append,
        executor=lambda found: SimulatedExecutor(run, slots),
        data=data,
    )
    return confirm_study(driver.plan, where, caller, ConfirmOptions(**wanted))


def records(driver: Driver, study: str) -> list[TrialRecord]:
    with driver.database() as database:
        return find_study(database, study, driver.settings.runs).records()


def verdict(driver: Driver) -> Verdict | None:
    with driver.database() as database:
        return find_study(database, "s", driver.settings.runs).verdict()


def best(driver: Driver) -> dict[str, object]:
    return tomllib.loads((driver.paths.best / "summary.toml").read_text())


def ranked(driver: Driver) -> list[int]:
    complete = sorted((record.value, record.number) for record in records(driver, "s") if record.value is not None)
    return [number for _, number in complete]


def jobs_of(driver: Driver) -> list[Job]:
    space = driver.plan.space
    return [
        Job(record.number, {p.name: p.decode(record.params[p.name]) for p in space.parameters}, {}, ())
        for record in records(driver, "s")
    ]
