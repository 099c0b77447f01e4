"""What an Optuna sampler gets to see of a study: seen through a sampler that only looks."""

from __future__ import annotations

import random
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import TrialState

from optimize.errors import SpaceExhausted
from optimize.search.candidates import Chooser, Lattice
from optimize.search.optuna_samplers import OptunaLearner
from search_spaces import parse_space

SPACE = parse_space('[parameters]\nA = [1, 2, 4, 8]\nB = ["x", "y", "z"]\nC = [8, 4, 1]', "space.toml")


class Onlooker(BaseSampler):
    """Draws the same configuration again and again."""

    study: Study

    def infer_relative_search_space(self, *args: Any) -> Any:
        raise AssertionError("the mirror knows its own space")

    def sample_relative(self, study: Study, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        self.study, self.space = study, search_space
        return {"A": 1, "B": 1, "C": 1}

    def sample_independent(self, *args: Any) -> Any:
        raise AssertionError("parameters are never drawn one by one")

    def trials(self) -> list[tuple[str, float | None]]:
        return [(trial.state.name, trial.value) for trial in self.study.get_trials()]


@pytest.fixture
def onlooker() -> Onlooker:
    return Onlooker()


def mirror(onlooker: Onlooker, *, reads_pruned: bool = False) -> tuple[OptunaLearner, Chooser, Lattice]:
    lattice = Lattice(SPACE, {})
    chooser = Chooser(lattice, random.Random(0), None, lambda point: False)
    return OptunaLearner(lattice, chooser, 0, onlooker, redraws=3, reads_pruned=reads_pruned), chooser, lattice


def run(learner: OptunaLearner, chooser: Chooser, lattice: Lattice, values: list[float | None]) -> None:
    for number, value in enumerate(values):
        point = learner.draw()
        chooser.saw(lattice.params(point))
        learner.running(number, point)
        learner.learned(number, point, value)


def test_ordered_parameters_are_indices_and_others_categorical(onlooker: Onlooker) -> None:
    run(*mirror(onlooker), [1.0])
    assert onlooker.space == {
        "A": IntDistribution(0, 3), "B": CategoricalDistribution((0, 1, 2)), "C": IntDistribution(0, 2)
    }  # fmt: skip


def test_however_often_draws_are_refused_the_mirror_holds_the_trials_of_the_study_only(onlooker: Onlooker) -> None:
    run(*mirror(onlooker), [float(n) for n in range(36)])
    assert onlooker.trials() == [("COMPLETE", float(n)) for n in range(36)]


def test_an_exhausted_space_is_reported_through_the_sampler(onlooker: Onlooker) -> None:
    learner, chooser, lattice = mirror(onlooker)
    run(learner, chooser, lattice, [0.0] * 36)
    with pytest.raises(SpaceExhausted):
        learner.draw()


def test_bad_parameters_stay_worse_than_everything_that_comes_later(onlooker: Onlooker) -> None:
    run(*mirror(onlooker), [None, 2.0, None, 1.0, 5.0, None])
    told = [value for _, value in onlooker.trials()]
    assert told == pytest.approx([5.4, 2.0, 5.4, 1.0, 5.0, 5.4])


def test_until_something_completes_bad_parameters_repel_as_if_running(onlooker: Onlooker) -> None:
    run(*mirror(onlooker), [None, None])
    assert onlooker.trials() == [("RUNNING", None)] * 2


def test_a_sampler_that_reads_pruned_trials_gets_them_untranslated(onlooker: Onlooker) -> None:
    run(*mirror(onlooker, reads_pruned=True), [1.0, None])
    assert onlooker.trials() == [("COMPLETE", 1.0), ("PRUNED", None)]


def test_running_and_failed_trials_are_running_and_failed_in_the_mirror(onlooker: Onlooker) -> None:
    learner, chooser, lattice = mirror(onlooker)
    for number in range(3):
        point = learner.draw()
        chooser.saw(lattice.params(point))
        learner.running(number, point)
    learner.forgotten(1)
    states = [trial.state for trial in onlooker.study.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]


def test_a_trial_that_was_not_asked_for_is_mirrored_all_the_same(onlooker: Onlooker) -> None:
    learner, _, _ = mirror(onlooker)
    learner.running(0, (0, 0, 0))
    learner.learned(0, (0, 0, 0), 3.0)
    learner.learned(1, (0, 0, 1), 4.0)
    learner.draw()
    assert onlooker.trials()[:2] == [("COMPLETE", 3.0), ("COMPLETE", 4.0)]
    assert onlooker.study.get_trials()[1].params == {"A": 0, "B": 0, "C": 1}


def test_nobody_is_told_of_the_mirror(onlooker: Onlooker, capfd: pytest.CaptureFixture[str]) -> None:
    run(*mirror(onlooker), [1.0])
    assert capfd.readouterr() == ("", "")
