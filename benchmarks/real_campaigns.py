"""Campaigns that play kept trainings back: the product with a sampler, a pruner and perhaps a prior, and peers of it.

Not a benchmark itself: `real_search.py` compares them.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from trainings import NotInTheFile, Trained, Trainings  # isort: skip  (sets threads before numpy)
import numpy as np
import optuna
from curves import wrong_prior
from real_tasks import GPT
from released_auto import NAME as RELEASED

from optimize.config.plan import Plan
from optimize.executors.simulated import SimulatedExecutor
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopLevel, StopSignals
from optimize.trial import Job, Outcome, Suggestion, TrialStatus, Value
from storage import StudyPaths, TrialRecord, open_database

Rows = Sequence[tuple[float, Mapping[str, Value]]]
"""Values with their parameters."""


class Spent(NamedTuple):
    """What a trial used of a whole training, its value if it completed, and what it has at its end, cut or not."""

    share: float
    value: float | None
    at_its_end: float | None


PRIOR_TRIALS = 40


@dataclass(frozen=True)
class Arm:
    """The product with these settings."""

    sampler: str = "auto"
    pruner: str = ""  # "": no pruning
    prior: str = ""  # "smallest", "others", "wrong", or none
    slots: int = 1


ARMS: Mapping[str, Arm | str] = {
    RELEASED: Arm(RELEASED, "regression"),
    "auto": Arm(),
    "regression": Arm(pruner="regression"),
    "halving": Arm(pruner="halving"),
    "prior": Arm(prior="smallest"),
    "priors": Arm(prior="others"),
    "wrong prior": Arm(prior="wrong"),
    "prior and halving": Arm(pruner="halving", prior="smallest"),
    "8 slots": Arm(slots=8),
    "TPE": "tpe",
    "TPE with MedianPruner": "median",
    "TPE with HyperbandPruner": "hyperband",
    "CatCMAwM": "catcmawm",
}


def campaign(trainings: Mapping[int, Trainings], budget: int, arm: str, seed: int, most: float) -> list[Spent]:
    """Return the trials of a study that ends when it has spent so many trainings. Raises NotInTheFile."""
    how = ARMS[arm]
    if isinstance(how, Arm):
        priors = _priors(trainings, budget, how.prior, seed)
        records = _study(trainings[budget], how, seed, most, priors)
        mine = trainings[budget]
        ended = [(each, mine(mine.plan.space.decode(each.params))) for each in records if each.seconds]
        return [Spent(each.seconds or 0.0, each.value, trained.value) for each, trained in ended]
    peer: Callable[[Trainings, str, int, float], list[Spent]] = _catcmawm if how == "catcmawm" else _optuna
    return peer(trainings[budget], how, seed, most)


def _priors(trainings: Mapping[int, Trainings], budget: int, which: str, seed: int) -> list[Rows]:
    """Return the complete trials of `auto` under other budgets, a study each. Raises NotInTheFile."""
    if which == "wrong":
        if trainings[budget].task.name != GPT:
            raise NotInTheFile("its rows are of gpt")
        return [wrong_prior()]
    others = sorted(each for each in trainings if each != budget) if which else []
    if which and not others:
        raise NotInTheFile(f"no other budget than {budget}")
    return [_rows(trainings[each], seed) for each in (others[:1] if which == "smallest" else others)]


def _rows(trainings: Trainings, seed: int) -> Rows:
    records = _study(trainings, Arm(), seed, PRIOR_TRIALS, [])
    return [(record.value, record.params) for record in records if record.value is not None]


class StopsAt(StopSignals):
    """Asks the study to end once the simulated clock shows so much."""

    def __init__(self, executor: SimulatedExecutor, end_s: float) -> None:
        super().__init__()
        self._executor, self._end_s = executor, end_s

    def level(self) -> StopLevel:
        return StopLevel.FINISH if self._executor.now_s >= self._end_s else super().level()


def _study(trainings: Trainings, how: Arm, seed: int, most: float, priors: Sequence[Rows]) -> list[TrialRecord]:
    plan = trainings.plan
    metric = plan.workload.metric.name

    def run(job: Job) -> Outcome:
        found = trainings(job.params)
        if found.value is None:
            return Outcome(TrialStatus.DIVERGED, 1.0, curve=found.curve)
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={metric: found.value}, curve=found.curve)

    def prepare(suggestion: Suggestion) -> Job:  # without rendering, which is not what is compared
        return Job(suggestion.number, dict(suggestion.params), {}, (), metric=plan.workload.metric)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        mine, paths = _plan(plan, how, seed, folder, priors), StudyPaths(folder, "s")
        executor = SimulatedExecutor(run, how.slots)
        paths.create()
        with (
            closing(open_database(paths.database)) as database,
            open_study(database, mine, "real", lambda line: None) as study,
            StopsAt(executor, most / how.slots) as stop,
        ):
            Loop(study, executor, prepare, Budget(), (), stop, tick_s=0.0).run()
            return list(study.records())


def _plan(plan: Plan, how: Arm, seed: int, folder: Path, priors: Sequence[Rows]) -> Plan:
    pruning = {"pruner": how.pruner} if how.pruner else {"pruning": False}
    sources = [_table(folder / f"prior-{i}.csv", plan.workload.metric.name, rows) for i, rows in enumerate(priors)]
    settings = replace(
        plan.settings,
        study="s",
        seed=seed,
        runs=folder,
        starts=False,
        sampler=how.sampler,
        prior=tuple(sources),
        **pruning,  # type: ignore[arg-type]
    )
    return replace(plan, settings=settings)


def _table(file: Path, metric: str, rows: Rows) -> str:
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow([metric, *rows[0][1]])
        writer.writerows([value, *params.values()] for value, params in rows)
    return str(file)


# --- peers ------------------------------------------------------------------------------------------------------------


def _optuna(trainings: Trainings, how: str, seed: int, most: float) -> list[Spent]:
    """Optuna 5 as its tutorial has it, with one of its pruners, which sees the losses at every kept percent."""
    pruners = {
        "median": optuna.pruners.MedianPruner(),
        "hyperband": optuna.pruners.HyperbandPruner(min_resource=10, max_resource=100),
    }
    sampler = optuna.samplers.TPESampler(seed=seed)
    pruner = pruners.get(how, optuna.pruners.NopPruner())
    study = optuna.create_study(study_name="s", sampler=sampler, pruner=pruner)  # Hyperband's brackets hang on the name
    space = trainings.plan.space
    study.enqueue_trial({p.name: p.encode(trainings.plan.baseline[p.name]) for p in space.parameters})
    found: list[Spent] = []
    while sum(each.share for each in found) < most:
        trial = study.ask()
        params = {p.name: p.decode(trial.suggest_categorical(p.name, p.stored_choices)) for p in space.parameters}
        if not space.feasible(params, trainings.plan.constants):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue  # and it costs nothing
        trained = trainings(params)
        cut = _cut(trial, trained)
        if cut is not None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif trained.value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, trained.value)
        found.append(Spent(cut or 1.0, trained.value if cut is None else None, trained.value))
    return found


def _cut(trial: optuna.Trial, trained: Trained) -> float | None:
    for share, loss in trained.curve:
        trial.report(loss, round(100 * share))
        if trial.should_prune():
            return share
    return None


def _catcmawm(trainings: Trainings, how: str, seed: int, most: float) -> list[Spent]:
    """CatCMAwM as it comes, arXiv:2504.08358: ordered parameters are integers, the others categories."""
    from cmaes import CatCMAwM  # type: ignore[import-not-found]

    space = trainings.plan.space
    ordered = [p for p in space.parameters if p.ordered]
    others = [p for p in space.parameters if not p.ordered]
    sampler = CatCMAwM(
        z_space=[list(range(len(p.choices))) for p in ordered],
        c_space=[len(p.choices) for p in others],
        seed=seed,
    )
    baseline = trainings(trainings.plan.baseline).value
    found = [Spent(1.0, baseline, baseline)]
    while sum(each.share for each in found) < most:
        told = []
        for _ in range(sampler.population_size):
            drawn = sampler.ask()
            params = {p.name: p.choices[int(i)] for p, i in zip(ordered, drawn.z, strict=True)}
            params |= {p.name: p.choices[int(np.argmax(c))] for p, c in zip(others, drawn.c, strict=True)}
            value = None
            if space.feasible(params, trainings.plan.constants):
                value = trainings(params).value
                found.append(Spent(1.0, value, value))
            told.append((drawn, 1e9 if value is None else value))
        sampler.tell(told)
    return found
