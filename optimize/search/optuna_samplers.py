"""Optuna's samplers on an in-memory copy of the study, in which ordered parameters are the indices of their choices.

The copy is asked once per proposal and told once per ending; it is never rebuilt and never stored. It holds no trial that
the study does not have: a refused draw is drawn again inside the sampler, within one ask.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimize.search.candidates import Chooser, Lattice, Point

MARGIN = 0.1  # of the range of values: by how much a bad trial is worse than the worst, for samplers that ignore PRUNED


class OptunaLearner:
    """Learn by one of Optuna's samplers. It minimises.

    A sampler that does not read PRUNED trials is told a value a little worse than the worst one for bad parameters, here
    and nowhere else. Until there is a worst value, such trials stay RUNNING.
    """

    def __init__(
        self, lattice: Lattice, chooser: Chooser, seed: int, inner: BaseSampler, *, redraws: int, reads_pruned: bool
    ) -> None:
        whole = _WholeConfigurations(inner, lattice, chooser, random.Random(seed), redraws)
        self._names, self._distributions, self._reads_pruned = lattice.space.names, whole.distributions, reads_pruned
        with _without_announcement():
            self._study = optuna.create_study(sampler=whole)
        self._numbers: dict[int, int] = {}  # the study's -> the copy's
        self._proposed: tuple[int, Point] | None = None  # asked here, not started in the study yet
        self._bad: list[int] = []
        self._best, self._worst = float("inf"), -float("inf")

    def draw(self) -> Point:
        self._withdraw()
        trial = self._study.ask(self._distributions)
        point = tuple(trial.params[name] for name in self._names)
        self._proposed = (trial.number, point)
        return point

    def running(self, number: int, point: Point) -> None:
        """Add the trial as RUNNING, so that the sampler does not propose the same to parallel slots again and again."""
        if self._proposed and self._proposed[1] == point:
            self._numbers[number], self._proposed = self._proposed[0], None
        else:
            self._numbers[number] = self._add(point)

    def learned(self, number: int, point: Point, value: float | None) -> None:
        if number not in self._numbers:
            self._numbers[number] = self._add(point)
        copied = self._numbers.pop(number)
        if value is not None:
            self._study.tell(copied, value)
            self._best, self._worst = min(self._best, value), max(self._worst, value)
        elif self._reads_pruned:
            self._study.tell(copied, state=TrialState.PRUNED)
        else:
            self._bad.append(copied)
        self._rate_bad()

    def forgotten(self, number: int) -> None:
        if number in self._numbers:
            self._study.tell(self._numbers.pop(number), state=TrialState.FAIL)

    def _withdraw(self) -> None:
        """Forget a proposal that was never started; else it would repel the sampler for ever."""
        if self._proposed:
            self._study.tell(self._proposed[0], state=TrialState.FAIL)
            self._proposed = None

    def _add(self, point: Point) -> int:
        """Add a trial that was not asked for here: the baseline, a known-good start, one of an earlier driver."""
        params = dict(zip(self._names, point, strict=True))
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions))
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _rate_bad(self) -> None:
        """Keep bad trials worse than all others, whatever came later. Nobody else uses this storage, so there is no race."""
        if not self._bad or self._worst < self._best:
            return
        rated = self._worst + MARGIN * (self._worst - self._best or abs(self._worst) or 1.0)
        trials = self._study.get_trials(deepcopy=False)
        for number in self._bad:
            if trials[number].state is TrialState.RUNNING:
                self._study.tell(number, rated)
            else:
                trials[number].value = rated


class _WholeConfigurations(BaseSampler):
    """Make any sampler draw all parameters at once until the chooser accepts them, in its start-up trials too."""

    def __init__(
        self, inner: BaseSampler, lattice: Lattice, chooser: Chooser, rng: random.Random, redraws: int
    ) -> None:
        self._inner, self._lattice, self._chooser, self._rng, self._redraws = inner, lattice, chooser, rng, redraws
        self.distributions: dict[str, BaseDistribution] = {
            parameter.name: IntDistribution(0, len(parameter.choices) - 1)
            if parameter.ordered
            else CategoricalDistribution(tuple(range(len(parameter.choices))))
            for parameter in lattice.space.parameters
        }
        self._varying = {name: d for name, d in self.distributions.items() if not d.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        point = self._chooser.choose(lambda: self._draw(study, trial), self._redraws)
        return dict(zip(self.distributions, point, strict=True))

    def sample_independent(self, *args: Any) -> Any:
        raise AssertionError("every parameter is sampled by sample_relative")

    def _draw(self, study: Study, trial: FrozenTrial) -> Point:
        drawn = self._inner.sample_relative(study, trial, self._varying)
        if not drawn:  # too few trials yet
            return self._lattice.uniform(self._rng)
        return tuple(int(drawn.get(name, 0)) for name in self.distributions)


@contextmanager
def _without_announcement() -> Iterator[None]:
    """Keep Optuna from logging the in-memory study, which would puzzle people who know of one study only."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
