"""What is told of paired gains: by hand, by published tables, and by drawing them many times."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from optimize.confirm.significance import INTERIM_SHARE, LEVEL, critical_value, judge


def plain(freedom: float) -> tuple[tuple[float, float], ...]:
    """An estimate of noise that is one chi-square, as in the tables."""
    return ((1.0, freedom),)


@pytest.mark.parametrize(
    ("error", "count", "freedom", "published"),
    [
        (0.05, 1, 6, 2.447),  # Student's t
        (0.01, 1, 2, 9.925),
        (0.01, 1, 1, 63.657),
        (0.05, 2, 6, 2.86),  # Dunnett, Biometrics 20, 1964, two-sided
        (0.05, 3, 6, 3.10),
        (0.05, 9, 10, 3.24),
        (0.05, 3, 60, 2.41),
    ],
)
def test_critical_values_are_those_of_the_tables(error: float, count: int, freedom: float, published: float) -> None:
    assert critical_value(error, count, plain(freedom), correlation=0.5) == pytest.approx(published, abs=0.006)


def test_two_rounds_of_one_finalist_are_students_t_test() -> None:
    found = judge({7: [0.03, 0.05]}, rounds=2)
    assert found is not None
    deviation = sqrt(2 * 0.01**2)
    half = 12.7062 * deviation / sqrt(2)
    assert found.intervals[7].gain == pytest.approx(0.04)
    assert found.intervals[7].low == pytest.approx(0.04 - half, rel=1e-4)
    assert found.intervals[7].high == pytest.approx(0.04 + half, rel=1e-4)
    assert found.noise == pytest.approx(deviation / sqrt(2))  # of a single training: a gain has the noise of two
    assert found.floor == pytest.approx(half, rel=1e-4)
    assert not found.intervals[7].real


def test_noise_is_pooled_over_finalists() -> None:
    found = judge({1: [0.1, 0.2, 0.3], 2: [0.5, 0.5, 0.5]}, rounds=3)
    assert found is not None
    assert found.noise == pytest.approx(sqrt((0.02 + 0) / 4) / sqrt(2))
    widths = {k: each.high - each.low for k, each in found.intervals.items()}
    assert widths[1] == pytest.approx(widths[2])


def test_the_looks_before_the_last_round_are_paid_for_by_it() -> None:
    found = judge({1: [0.1, 0.2, 0.15], 2: [0.3, 0.5, 0.4]}, rounds=3)
    assert found is not None
    estimate = ((0.85, 2.0), (0.15, 2.0))  # of two finalists: 1 + 0.7 for what they share, 1 - 0.7 for the rest
    deviation = sqrt((0.005 + 0.02) / 4)
    half = critical_value((1 - LEVEL) * (1 - INTERIM_SHARE), 2, estimate) * deviation / sqrt(3)
    assert found.intervals[1].high - found.intervals[1].gain == pytest.approx(half)


def test_more_finalists_ever_make_wider_intervals() -> None:
    gains = {1: [0.10, 0.12, 0.11]}
    few, many = judge(gains, rounds=3), judge(gains, rounds=3, compared=10)
    assert few is not None
    assert many is not None
    assert many.intervals[1].low < few.intervals[1].low


def test_one_round_tells_nothing_and_neither_do_finalists_that_never_completed() -> None:
    assert judge({1: [0.5], 2: [0.1]}, rounds=3) is None
    assert judge({1: [None, None]}, rounds=2) is None
    assert judge({}, rounds=3) is None


def test_a_finalist_without_a_pair_is_missing_and_one_with_a_single_pair_has_a_wide_interval() -> None:
    found = judge({1: [0.1, 0.12], 2: [None, None], 3: [None, 0.2]}, rounds=2)
    assert found is not None
    assert set(found.intervals) == {1, 3}
    assert found.intervals[3].pairs == 1
    one, three = (found.intervals[k].high - found.intervals[k].gain for k in (1, 3))
    assert three == pytest.approx(sqrt(2) * one)


def test_who_is_surely_no_better_than_the_baseline_is_left_out() -> None:
    found = judge({1: [0.500, 0.501, 0.502, 0.500], 2: [-0.5, -0.501]}, rounds=4)
    assert found is not None
    assert (found.intervals[2].left_out, found.intervals[2].pairs) == (2, 2)
    assert found.intervals[2].high < 0
    assert found.intervals[1].left_out == 0
    assert found.intervals[1].real


def test_who_is_surely_worse_than_the_best_is_left_out_though_better_than_the_baseline() -> None:
    found = judge({1: [0.900, 0.901, 0.902, 0.900], 2: [0.3, 0.301, 99.0]}, rounds=4)
    assert found is not None
    assert (found.intervals[2].left_out, found.intervals[2].pairs) == (2, 2)  # what came after that does not count
    assert found.intervals[2].gain == pytest.approx(0.3005)


def test_after_the_last_round_nobody_is_left_out() -> None:
    found = judge({1: [0.9, 0.901], 2: [-0.3, -0.301]}, rounds=2)
    assert found is not None
    assert [each.left_out for each in found.intervals.values()] == [0, 0]


def test_the_order_of_finalists_changes_nothing() -> None:
    gains = {1: [0.2, 0.1, 0.3], 2: [0.0, -0.1, 0.1], 3: [0.4, 0.2, 0.1]}
    one, other = judge(gains, rounds=3), judge(dict(reversed(gains.items())), rounds=3)
    assert one is not None
    assert other is not None
    assert one.intervals[2] == other.intervals[2]


@pytest.mark.slow
@pytest.mark.parametrize(("finalists", "seeds"), [(1, 3), (3, 2), (3, 3), (5, 4)])
def test_all_intervals_hold_together_as_often_as_they_say(finalists: int, seeds: int) -> None:
    draw, held = np.random.default_rng(1), 0  # with the noisier baseline, gains are correlated by 0.7
    for _ in range(2_000):
        gains = sqrt(7 / 3) * draw.normal(size=seeds) - draw.normal(size=(finalists, seeds))
        found = judge({k: list(each) for k, each in enumerate(gains)}, rounds=seeds)
        assert found is not None
        held += all(each.low <= 0 <= each.high for each in found.intervals.values())
    assert 0.935 <= held / 2_000 <= 0.975
