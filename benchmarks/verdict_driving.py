"""A campaign of `verdict.py` as a study: the product's own loop, database, repeats and verdict over the simulated executor.

Not a benchmark itself. Views are left out, all else is what `optimize run` does. One study is a campaign.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.confirm.replicates import variation_of
from optimize.confirm.verdict import Verdict
from optimize.executors.simulated import SimulatedExecutor
from optimize.session.repeating import SearchRepeats
from optimize.session.session import Caller, open_session
from optimize.study.callback import Callback
from optimize.study.stopping import Budget
from optimize.trial import Job, Outcome, TrialStatus

SCRIPT = "X = 0\nY = 0\nSEED = 0\nprint('---')\nprint('val_bpb: 1.0')\n"
CHOICES = [*range(32)]  # of each of two parameters: more configurations than any campaign tries
Value = Callable[[int, int], float | None]
"""What a configuration gives with a seed: both count from 0, the baseline and the script's own seed."""


@dataclass
class Winners(Callback):
    """Remembers which trials were the confirmed best at some time."""

    numbers: set[int] = field(default_factory=set)

    def on_verdict(self, verdict: Verdict) -> None:
        self.numbers |= {verdict.winner.number} if verdict.winner is not None else set()


@dataclass(frozen=True, slots=True)
class Driven:
    """How a campaign ended. Trials and the configurations of a world have the same numbers."""

    best: int | None  # the confirmed winner
    ever: frozenset[int]  # of all verdicts on the way
    repeats: int


def plan_in(folder: Path) -> Plan:
    """Return the plan of a script with parameters that nothing depends on, in a new folder."""
    (folder / "workload").mkdir()
    (folder / "workload" / "train.py").write_text(SCRIPT)
    (folder / "space.toml").write_text(f"[parameters]\nX = {CHOICES}\nY = {CHOICES}\n")
    (folder / "profile.toml").write_text("executor = 'local'\n[slots]\ndevice = 'cpu'\n")
    flags = {
        "workload": str(folder / "workload"),
        "search_space": str(folder / "space.toml"),
        "runs": folder / "runs",
        "sampler": "random",
        "pruning": False,
    }
    return make_plan(load_settings(str(folder / "profile.toml"), "benchmark", flags, {}))


def drive(plan: Plan, name: str, value: Value, trainings: int, slots: int = 1) -> Driven:
    """Run one campaign as the study of that name, which is new."""
    rows: dict[object, int] = {}  # parameters -> configuration of the world, in the order in which they begin

    def train(job: Job) -> Outcome:
        row = rows.setdefault((job.params["X"], job.params["Y"]), len(rows))
        found = value(row, int(str(job.params.get("SEED", 0))))
        if found is None:
            return Outcome(TrialStatus.DIVERGED, 1.0, "FAIL")
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": found})

    executor, winners = SimulatedExecutor(train, slots), Winners()
    plan = replace(plan, settings=replace(plan.settings, study=name))
    caller = Caller(Console(file=io.StringIO()), lambda line: None, executor=lambda found: executor, data="")
    with open_session(plan, caller) as session:
        session.paths.create()
        session.prepare()
        study, budget = session.open_study(executor.slots), Budget(trainings)
        repeats = SearchRepeats(session, study, variation_of(plan), executor.slots, budget, None)
        repeats.callbacks = (winners,)
        session.drive(study, executor.slots, budget, (repeats.of_search,), repeats=repeats)
        found = study.verdict()
    best = found.winner.number if found is not None and found.winner is not None else None
    return Driven(best, frozenset(winners.numbers), repeats.done)
