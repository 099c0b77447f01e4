"""Search strategies that can be compared: the product's own samplers, plain Optuna, and the tutorial's loop.

Each is asked for nothing but trials: it gets a plan, a way to evaluate parameters and a seed, and returns what it tried, in
order, the baseline first. What a trial costs and when enough is enough is said by those who compare (search.py, search_cpu.py).
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from optimize.executors.slots import keep_to_one_thread  # noqa: E402

keep_to_one_thread()  # as the product does, before numpy is imported

import optuna  # noqa: E402
import released_auto  # noqa: E402

from optimize.config.plan import Plan  # noqa: E402
from optimize.executors.simulated import SimulatedExecutor  # noqa: E402
from optimize.study.loop import Loop  # noqa: E402
from optimize.study.resume import open_study  # noqa: E402
from optimize.study.stopping import Budget, StopSignals  # noqa: E402
from optimize.trial import Job, Outcome, Suggestion, TrialStatus, Value  # noqa: E402
from storage import StudyPaths, open_database  # noqa: E402

Params = Mapping[str, Value]


@dataclass(frozen=True)
class Evaluated:
    """One trial: `value` is None if it failed, `seconds` is what it costs in the benchmark's time."""

    params: Params
    value: float | None
    seconds: float


Evaluate = Callable[[Params], Evaluated]
Enough = Callable[[Sequence[Evaluated]], bool]
Strategy = Callable[[Plan, Evaluate, int, Enough], list[Evaluated]]


def seeds_of(text: str) -> range:
    """Return the seeds of an option such as 3-5, or 3 for one."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def after(trials: int) -> Enough:
    return lambda done: len(done) >= trials


def after_hours(hours: float) -> Enough:
    return lambda done: sum(trial.seconds for trial in done) >= hours * 3600


# --- ours -------------------------------------------------------------------------------------------------------------


def ours(sampler: str, slots: int = 1) -> Strategy:
    """The product's own path: open_study, Loop, Study.ask and tell, a real SQLite file; only the executor is inline."""

    def strategy(plan: Plan, evaluate: Evaluate, seed: int, enough: Enough) -> list[Evaluated]:
        done: list[Evaluated] = []
        settings = replace(plan.settings, sampler=sampler, seed=seed, study="s", runs=Path())

        def run(job: Job) -> Outcome:
            trial = evaluate(job.params)
            done.append(trial)
            if trial.value is None:
                return Outcome(TrialStatus.OUT_OF_MEMORY, trial.seconds)
            return Outcome(TrialStatus.COMPLETE, trial.seconds, summary={job.metric.name: trial.value})

        def prepare(suggestion: Suggestion) -> Job:  # without rendering, which is not what is compared
            return Job(suggestion.number, dict(suggestion.params), {}, (), metric=plan.workload.metric)

        with tempfile.TemporaryDirectory() as folder:
            mine = replace(plan, settings=replace(settings, runs=Path(folder)))
            paths = StudyPaths(Path(folder), settings.study)
            paths.create()
            with (
                closing(open_database(paths.database)) as database,
                open_study(database, mine, "", lambda line: None) as study,
            ):
                executor, budget = SimulatedExecutor(run, slots), _Enough(done, enough)
                Loop(study, executor, prepare, budget, (), StopSignals()).run()
        return done

    return strategy


def released(plan: Plan, evaluate: Evaluate, seed: int, enough: Enough) -> list[Evaluated]:
    """Run the product's own path with the `auto` of an earlier release."""
    with released_auto.registered(plan.space.path, plan.constants):
        return ours(released_auto.NAME)(plan, evaluate, seed, enough)


class _Enough(Budget):
    """A budget of the benchmark's time."""

    def __init__(self, done: Sequence[Evaluated], enough: Enough) -> None:
        super().__init__()
        object.__setattr__(self, "_question", lambda: enough(done))

    def spent(self, done: int, elapsed_s: float, repeats: int = 0) -> str | None:
        return "enough" if self._question() else None  # type: ignore[attr-defined]


# --- peers ------------------------------------------------------------------------------------------------------------


def plain_optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Strategy:
    """Optuna 5 as its own tutorial has it: categorical parameters, failures told FAIL, nothing known about rules."""

    def strategy(plan: Plan, evaluate: Evaluate, seed: int, enough: Enough) -> list[Evaluated]:
        study = optuna.create_study(sampler=make(seed))
        study.enqueue_trial({p.name: p.encode(plan.baseline[p.name]) for p in plan.space.parameters})
        done: list[Evaluated] = []
        while not enough(done):
            trial = study.ask()
            params = {
                p.name: p.decode(trial.suggest_categorical(p.name, p.stored_choices)) for p in plan.space.parameters
            }
            done.append(evaluate(params))
            if done[-1].value is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, done[-1].value)
        return done

    return strategy


def plain_tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def plain_cmaes(seed: int) -> optuna.samplers.BaseSampler:
    """As it comes, on categorical parameters: it samples them independently of each other."""
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def tutorials_loop(plan: Plan, evaluate: Evaluate, seed: int, enough: Enough) -> list[Evaluated]:
    """Two to four random parameters of the *baseline* take random choices; the best is remembered, and not built upon."""
    rng = random.Random(seed)
    done = [evaluate(plan.baseline)]
    while not enough(done):
        changed = rng.sample(plan.space.parameters, rng.randint(2, 4))
        done.append(evaluate({**plan.baseline, **{p.name: rng.choice(p.choices) for p in changed}}))
    return done


STRATEGIES: Mapping[str, Strategy] = {
    "auto": ours("auto"),
    released_auto.NAME: released,
    "tpe (ours)": ours("tpe"),
    "cmaes (ours)": ours("cmaes"),
    "random (ours)": ours("random"),
    "plain TPE": plain_optuna(plain_tpe),
    "plain CMA-ES": plain_optuna(plain_cmaes),
    "tutorial's loop": tutorials_loop,
}
"""By the names of the tables. Parameters of the same name are the same in all of them."""
