"""What is told of paired gains: by hand, by published tables, and by drawing them many times."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from optimize.confirm.critical import PRIOR, critical_value, moderated
from optimize.confirm.significance import INTERIM_SHARE, LEVEL, judge


@pytest.mark.parametrize(("error", "freedom", "published"), [(0.05, 6, 2.447), (0.01, 2, 9.925), (0.01, 1, 63.657)])
def test_a_single_finalist_has_students_t(error: float, freedom: int, published: float) -> None:
    assert critical_value(error, [freedom + 1]) == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize("others", [0, 2])
def test_a_critical_value_is_exceeded_as_often_as_it_says(others: int) -> None:
    draw, drawn = np.random.default_rng(2), 20_000
    gains = sqrt(0.7) * draw.normal(size=(drawn, 1, 3)) + sqrt(0.3) * draw.normal(size=(drawn, 4 + others, 3))
    own = gains.var(axis=2, ddof=1)
    pooled = own[:, :4].mean(axis=1, keepdims=True)  # others are no part of it
    t = gains.mean(axis=2) / np.sqrt(moderated(own, np.full(4 + others, 2.0), pooled) / 3)
    exceeded = (np.abs(t).max(axis=1) > critical_value(0.05, [3, 3, 3, 3], others=others)).mean()
    assert exceeded == pytest.approx(0.05, abs=0.006)


def test_a_small_variance_is_shrunk_towards_the_pooled_one_and_a_large_one_is_believed() -> None:
    small, large, none = moderated(np.array([1.0, 9.0, 0.0]), np.array([2.0, 2.0, 0.0]), np.array(4.0))
    assert small == pytest.approx((PRIOR * 4 + 2 * 1) / (PRIOR + 2))
    assert (large, none) == (9, 4)


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


def test_the_noise_that_is_told_is_pooled_over_finalists() -> None:
    found = judge({1: [0.1, 0.2, 0.3], 2: [0.5, 0.5, 0.5]}, rounds=3)
    assert found is not None
    assert found.noise == pytest.approx(sqrt((0.02 + 0) / 4) / sqrt(2))


def test_a_noisy_finalist_has_a_wide_interval_and_no_luck_makes_another_narrow() -> None:
    quiet = [[0.10, 0.11, 0.12], [0.20, 0.21, 0.22], [0.30, 0.3, 0.3]]
    found = judge({1: [0.1, 0.6, 1.1], **dict(enumerate(quiet, 2))}, rounds=3)
    assert found is not None
    noisy, two, three, four = (each.high - each.low for each in found.intervals.values())
    assert noisy > 1.9 * two  # its own deviation is twice the pooled one
    assert two == pytest.approx(three)
    assert four == pytest.approx(two, rel=0.01)  # that a seed changed nothing is believed a little only
    assert found.floor == pytest.approx(four / 2)


def test_equally_noisy_finalists_have_the_interval_that_one_pooled_variance_gives() -> None:
    gains = {k: [0.1 + k / 100, 0.2 + k / 100, 0.3 + k / 100] for k in range(4)}
    found = judge(gains, rounds=3)
    assert found is not None
    for each in found.intervals.values():
        assert each.high - each.gain == pytest.approx(0.2092, rel=0.03)  # by Dunnett's critical value


def test_the_interim_tests_are_paid_for_by_the_last_round() -> None:
    found = judge({1: [0.1, 0.2, 0.15], 2: [0.3, 0.5, 0.4]}, rounds=3)
    assert found is not None
    half = critical_value((1 - LEVEL) * (1 - INTERIM_SHARE), [3, 3]) * sqrt(0.01) / sqrt(3)
    assert found.intervals[2].high - found.intervals[2].gain == pytest.approx(half)  # the noisier has its own variance


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
