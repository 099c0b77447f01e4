"""How much each parameter matters for being among the best: Optuna's PED-ANOVA, and what luck alone would show.

S. Watanabe, A. Bansal and F. Hutter, PED-ANOVA, IJCAI 2023, arXiv:2304.10255. It reads nothing: trials are given. Of too few
trials it says nothing.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimize.trial import sign_of

FEWEST = 20  # completed trials; with fewer, the figure would show luck alone
TOP, TOP_TRIALS = 0.1, 5  # the best are this share of the trials, and at least so many
SHUFFLES = 19  # of the values among the trials: luck passes the largest of 19 results once in 20 times


@dataclass(frozen=True, slots=True)
class Importance:
    """How much one parameter matters."""

    name: str
    share: float  # of all importances
    luck: float  # a parameter without any influence stays below this share 19 times of 20


@dataclass(frozen=True, slots=True)
class Importances:
    """How much all parameters matter for being among the best `top` of `trials`; `why_not` says why there is no answer."""

    of: tuple[Importance, ...] = ()  # the largest share first
    top: int = 0
    trials: int = 0
    why_not: str = ""


def importances(trials: Sequence[FrozenTrial], direction: str) -> Importances:
    """Compute importances from the completed trials of a study."""
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE and _is_finite(trial)]
    if any(len(trial.values) > 1 for trial in done):
        return Importances(why_not="trials with several values have no one order")
    if len(done) < FEWEST:
        return Importances(why_not=f"{len(done)} trials have completed, and below {FEWEST} it would show luck alone")
    names = sorted(name for name in {name for trial in done for name in trial.params} if _varies(name, done))
    sign, study = sign_of(direction), _study_of(done)
    top = max(math.ceil(TOP * len(done)), TOP_TRIALS)
    values = [sign * trial.values[0] for trial in done]
    if not names:
        return Importances(why_not="no parameter has varied among the completed trials")
    found = _divergences(study, names, values, top)
    total = sum(found.values()) or 1.0
    luck = _luck(study, names, values, top)
    ranked = sorted(names, key=lambda name: (-found[name], name))
    shares = (Importance(name, found[name] / total, luck[name] / total) for name in ranked)
    return Importances(tuple(shares), top, len(done))


def _study_of(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory with these trials, numbered from 0, as Optuna's evaluators need it."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
        for trial in trials:  # made anew: an imported trial may lack its start
            study.add_trial(create_trial(values=trial.values, params=trial.params, distributions=trial.distributions))
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study


def _divergences(study: optuna.Study, names: list[str], values: list[float], top: int) -> dict[str, float]:
    """Return for each parameter how much its values in the best trials differ from those in all trials."""
    evaluator = PedAnovaImportanceEvaluator(target_quantile=top / len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the smallest `target` counts as the best, which is meant
        return evaluator.evaluate(study, names, target=lambda trial: values[trial.number])


def _luck(study: optuna.Study, names: list[str], values: list[float], top: int) -> dict[str, float]:
    """Return what `_divergences` stay below when the values have nothing to do with the parameters."""
    chance, found = random.Random(0), []
    for _ in range(SHUFFLES):
        shuffled = values.copy()
        chance.shuffle(shuffled)
        found.append(_divergences(study, names, shuffled, top))
    return {name: max(each[name] for each in found) for name in names}


def _varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return len({repr(trial.params.get(name)) for trial in trials}) > 1


def _is_finite(trial: FrozenTrial) -> bool:
    return bool(trial.values) and all(map(math.isfinite, trial.values))
