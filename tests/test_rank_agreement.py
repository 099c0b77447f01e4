"""Kendall's tau by hand, its chance by counting orders."""

from __future__ import annotations

from itertools import permutations

import pytest

from optimize.confirm.agreement import agreement


def test_the_same_order_agrees_wholly_and_the_reverse_not_at_all() -> None:
    same, reverse = agreement([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]), agreement([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert (same.tau, same.low, same.high) == (1, 1, 1)
    assert same.chance == pytest.approx(1 / 120)
    assert (reverse.tau, reverse.chance) == (-1, 1)


def test_one_exchange_of_neighbours_among_four_is_four_of_six_pairs_more_right_than_wrong() -> None:
    assert agreement([1, 2, 3, 4], [1, 3, 2, 4]).tau == pytest.approx(4 / 6)


def test_the_chance_is_the_share_of_orders_that_agree_as_well() -> None:
    found = agreement([1, 2, 3, 4, 5], [2, 1, 3, 5, 4])
    taus = [agreement([1, 2, 3, 4, 5], order).tau for order in permutations([1, 2, 3, 4, 5])]
    assert found.chance == pytest.approx(sum(tau >= found.tau - 1e-9 for tau in taus) / 120)


def test_the_interval_is_the_same_every_time_and_holds_the_estimate() -> None:
    one, other = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0], [2.0, 1.0, 5.0, 1.7, 8.0, 3.0, 4.0, 6.0]
    assert agreement(one, other) == agreement(one, other)
    assert agreement(one, other).low <= agreement(one, other).tau <= agreement(one, other).high


def test_values_that_are_all_equal_have_no_order() -> None:
    found = agreement([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    assert (found.tau, found.low, found.high, found.chance) == (0, -1, 1, 1)
