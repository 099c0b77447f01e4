"""CMA-ES on functions whose optimum is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from optimize.search import open_sampler
from optimize.search.cmaes import PRESELECT_AFTER, SMALLEST_SIGMA, Array, Strategy
from optimize.trial import Value
from search_spaces import Parameter, SearchSpace


def ellipsoid(x: Array) -> float:
    scales = 10 ** np.linspace(0, 3, len(x))
    return float((scales * (x - 0.7) ** 2).sum())


def rotated(x: Array) -> float:
    """A narrow valley along the diagonal: only covariances find the way."""
    return float(10 * (x - x.mean()) @ (x - x.mean()) + (x.mean() - 0.7) ** 2)


@pytest.mark.parametrize("function", [ellipsoid, rotated])
@pytest.mark.parametrize("dimensions", [1, 2, 6])
def test_the_mean_moves_to_the_optimum(function: object, dimensions: int) -> None:
    assert callable(function)
    strategy, rng = Strategy(dimensions), np.random.default_rng(0)
    for _ in range(80):
        drawn = sorted((strategy.draw(rng) for _ in range(strategy.population)), key=function)
        strategy.learn(np.array(drawn))
    assert np.abs(strategy.mean - 0.7).max() < 0.1
    assert strategy.sigma >= SMALLEST_SIGMA


def test_draws_stay_in_the_unit_cube_even_around_a_corner() -> None:
    strategy, rng = Strategy(8), np.random.default_rng(0)
    strategy.mean = np.zeros(8)
    drawn = np.array([strategy.draw(rng) for _ in range(20)])
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_a_place_that_only_two_parameters_together_lead_out_of_is_left_at_times() -> None:
    space = SearchSpace("trap", "trap.toml", tuple(Parameter(f"X{i}", (1, 2, 3, 4, 5)) for i in range(8)))

    def value(params: Mapping[str, Value]) -> float:
        x = [int(str(params[name])) for name in space.names]
        rest = sum(abs(each - 3) for each in x[2:]) / 10
        out = x[0] <= 2 and x[1] <= 2
        return rest if out else 5 + rest + 0.1 * (x[0] <= 3) + 0.1 * (x[1] <= 3)

    def best(seed: int) -> float:
        sampler, found = open_sampler("auto", space, {}, seed=seed), []
        for number in range(80):
            params = dict.fromkeys(space.names, 5) if number == 0 else sampler.propose()
            sampler.started(number, params)
            found.append(value(params))
            sampler.finished(number, "COMPLETE", found[-1])
        return min(found)

    assert sum(best(seed) < 5 for seed in range(5)) >= 2


@pytest.mark.parametrize("seed", range(3))
def test_slots_that_begin_together_are_kept_apart(seed: int) -> None:
    space = SearchSpace("wide", "wide.toml", tuple(Parameter(f"X{i}", tuple(range(1, 10))) for i in range(8)))

    def nearest(sampler_name: str) -> float:
        sampler = open_sampler(sampler_name, space, {}, seed=seed)
        begun = []
        for number in range(PRESELECT_AFTER):
            params = dict.fromkeys(space.names, 5) if number == 0 else sampler.propose()
            sampler.started(number, params)
            begun.append(np.array([int(str(params[name])) for name in space.names]))
        return float(np.mean([min(np.linalg.norm(a - b) for b in begun if b is not a) for a in begun]))

    assert nearest("auto") > 1.1 * nearest("cmaes")


def test_alone_the_model_waits_for_trials_that_it_can_learn_from() -> None:
    space = SearchSpace("wide", "wide.toml", tuple(Parameter(f"X{i}", tuple(range(1, 10))) for i in range(8)))

    def tried(sampler_name: str) -> list[Mapping[str, Value]]:
        sampler, found = open_sampler(sampler_name, space, {}, seed=0), []
        for number in range(PRESELECT_AFTER + 1):
            params = dict.fromkeys(space.names, 5) if number == 0 else sampler.propose()
            sampler.started(number, params)
            sampler.finished(number, "COMPLETE", float(number))
            found.append(params)
        return found

    auto, plain = tried("auto"), tried("cmaes")
    assert auto[:-1] == plain[:-1]
    assert auto[-1] != plain[-1]
