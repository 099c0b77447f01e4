"""The model by which `auto` picks among its candidates: what it finds out, and what it makes of odd histories."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from optimize.search.candidates import Lattice, Point
from optimize.search.rank_model import Coordinates, RankModel, rank_scores
from search_spaces import Parameter, SearchSpace

ORDERED = tuple(Parameter(f"X{i}", (1, 2, 3, 4, 5)) for i in range(6))
SPACE = SearchSpace("space", "space.toml", (*ORDERED, Parameter("KIND", ("a", "b", "c"))))
LATTICE = Lattice(SPACE, {})


def drawn(count: int, seed: int = 0) -> list[Point]:
    rng = random.Random(seed)
    return [LATTICE.uniform(rng) for _ in range(count)]


def improvement(model: RankModel, trials: list[Point], values: list[float], candidates: list[Point]) -> np.ndarray:
    return model.improvement(trials, rank_scores(tuple(values)), [], candidates, len(trials))


def test_the_one_parameter_that_matters_is_found_among_seven() -> None:
    trials, model = drawn(30), RankModel(LATTICE)
    values = [abs(point[2] - 1.0) for point in trials]
    candidates = [(*point[:2], choice, *point[3:]) for point in drawn(10, seed=1) for choice in range(5)]
    gains = improvement(model, trials, values, candidates).reshape(10, 5)
    assert (gains.argmax(axis=1) == 1).all()


def test_a_quantity_explains_what_no_single_parameter_does() -> None:
    with_product = Lattice(SPACE, {}, lambda params: [float(int(str(params["X0"])) * int(str(params["X1"])))])
    trials, candidates = drawn(24), drawn(200, seed=1)

    def worth(point: Point) -> float:
        return abs((point[0] + 1) * (point[1] + 1) - 6.0)

    values = [worth(point) for point in trials]
    chosen = [
        sorted(zip(improvement(RankModel(lattice), trials, values, candidates), candidates, strict=True))[-20:]
        for lattice in (LATTICE, with_product)
    ]
    without, known = (np.mean([worth(point) for _, point in best]) for best in chosen)
    assert known < 0.5 * without


def test_what_runs_is_not_proposed_again_a_step_away() -> None:
    trials = drawn(20)
    values = [float(sum(point)) for point in trials]
    candidates = drawn(40, seed=1)
    scores = rank_scores(tuple(values))
    alone = RankModel(LATTICE).improvement(trials, scores, [], candidates, 20)
    best = candidates[int(alone.argmax())]
    beside = RankModel(LATTICE).improvement(trials, scores, [best], candidates, 20)
    assert beside[int(alone.argmax())] < alone.max() / 2


def test_the_gradient_is_that_of_the_loss() -> None:
    trials, model = drawn(12), RankModel(LATTICE)
    scores = rank_scores(tuple(float(sum(point[:3])) for point in trials))
    known = Coordinates(LATTICE).of(trials)
    gaps, at = model._gaps(known, known), model._fitted + 0.1
    _, gradient = model._loss(at, gaps, scores)
    for axis in range(len(at)):
        step = np.zeros(len(at))
        step[axis] = 1e-5
        slope = (model._loss(at + step, gaps, scores)[0] - model._loss(at - step, gaps, scores)[0]) / 2e-5
        assert gradient[axis] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_old_trials_count_for_when_the_lengths_are_fitted_again() -> None:
    trials, model = drawn(20), RankModel(LATTICE)
    values = rank_scores(tuple(float(point[0]) for point in trials))
    others = rank_scores(tuple(float(point[5]) for point in trials))
    model.improvement(trials, values, [], trials, 1_000)
    first = model._fitted.copy()
    model.improvement(trials, others, [], trials, 1_049)
    assert (model._fitted == first).all()
    model.improvement(trials, others, [], trials, 1_050)
    assert (model._fitted != first).any()


def test_bad_trials_share_the_worst_rank_and_do_not_flatten_the_others() -> None:
    scores = rank_scores((1.0, 2.0, float("inf"), float("inf")))
    assert scores[2] == scores[3] > scores[1] + 0.5 > scores[0] + 1


@given(
    some.lists(some.sampled_from([0.0, 1.0, 1.0, 2.5, float("inf")]), min_size=1, max_size=12),
    some.integers(0, 3),
    some.sampled_from([None, 0.0, -1.0, 1e300, float("nan"), float("inf")]),
)
@settings(max_examples=60, deadline=None)
def test_any_history_and_any_quantity_give_finite_expectations(
    values: list[float], running: int, quantity: float | None
) -> None:
    lattice = Lattice(SPACE, {}, lambda params: [quantity if params["X0"] == 3 else 1.0])
    trials = (drawn(3) * 4)[: len(values)]  # equal points with different values are no error
    found = RankModel(lattice).improvement(
        trials, rank_scores(tuple(values)), drawn(running, 2), drawn(5, 1), len(trials)
    )
    assert np.isfinite(found).all()
    assert (found >= 0).all()
