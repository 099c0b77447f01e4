"""Two estimates of the noise, and how likely a mean is by luck: by hand, by a textbook's test, and by drawing."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest

from optimize.confirm.evidence import WITHIN, Comparison, Mean, level_beside, level_of_plan
from optimize.confirm.noise import LEAST, Variance, spread, within


def test_the_variance_within_configurations_is_pooled_over_those_with_two_values() -> None:
    assert within([[1.0, 3.0], [10.0, 10.0, 13.0], [99.0]]) == Variance(pytest.approx((2 + 6) / 3), 3)
    assert within([[1.0], [2.0], []]) is None


@pytest.mark.parametrize("count", [8, 15, 30, 90])
def test_the_spread_of_equal_trials_is_the_noise_and_its_freedom_says_how_surely(count: int) -> None:
    draws = np.random.default_rng(0).normal(scale=3.0, size=(600, count))
    found = [each for each in map(spread, draws.tolist()) if each is not None]
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(9, rel=0.1)
    assert 2 * values.mean() ** 2 / values.var() == pytest.approx(found[0].freedom, rel=0.25)


def test_configurations_that_differ_only_make_the_spread_larger() -> None:
    draws = np.random.default_rng(0).normal(size=(200, 20))
    worse = draws + np.random.default_rng(1).uniform(0, 5, size=draws.shape)
    assert np.median([found.value for found in map(spread, worse.tolist()) if found]) > 2


def test_some_stray_trials_hardly_move_the_spread() -> None:
    calm = np.random.default_rng(3).normal(size=30).tolist()
    before, after = spread(calm), spread([*calm[3:], 1e6, -1e6, 1e9])
    assert before is not None
    assert after is not None
    assert after.value < 2 * before.value


def test_pruned_trials_count_as_far_away_and_equal_values_once() -> None:
    values = np.random.default_rng(4).normal(size=40)
    best = np.sort(values)[:25].tolist()
    alone, whole, cut = spread(best), spread(values.tolist()), spread(best, pruned=15)
    assert alone is not None
    assert whole is not None
    assert cut is not None
    assert alone.value < whole.value < 1.5 * cut.value
    assert spread(best, pruned=60) is None  # most are gone: nothing can be said
    assert spread([*best, *[0.1] * 50]) == spread([*best, 0.1])


def test_few_trials_or_equal_ones_show_no_spread() -> None:
    assert spread(list(range(LEAST - 1))) is None
    assert spread([2.0] * 50) is None


def test_a_search_of_thousands_is_as_spread_as_some_hundreds_of_it() -> None:
    values = np.random.default_rng(5).normal(size=5_000).tolist()
    many = spread(values)
    assert many is not None
    assert many.value == pytest.approx(1, rel=0.1)


def comparison(
    baseline: list[float], pooled: Variance | None, median: float = -inf, own: Variance | None = None
) -> Comparison:
    return Comparison(Mean.of(baseline), median, pooled, own)


def test_quiet_configurations_are_compared_by_students_t_with_the_pooled_noise() -> None:
    found = comparison([0.0, 0.01, 0.02], Variance(1.0, 10)).chance(Mean.of([2.01, 2.02, 2.0]))
    t = 2.0 / sqrt(1 / 3 + 1 / 3)
    assert t == pytest.approx(2.4495, abs=1e-4)
    assert found == pytest.approx(0.0171, abs=2e-4)  # of 2.45 with 10 degrees of freedom


def test_a_noisier_configuration_has_its_own_variance_and_fewer_degrees_of_freedom() -> None:
    against = comparison([0.0, 0.01, 0.02], Variance(1.0, 20))
    quiet, noisy = against.chance(Mean.of([4.0, 4.1, 3.9])), against.chance(Mean.of([0.0, 12.0, 0.0]))
    assert quiet < 0.001
    assert noisy > 0.15


def test_the_value_that_selected_a_candidate_counts_for_its_noise_and_not_for_its_gain() -> None:
    without, stray = Mean.of([1.0, 1.1]), Mean.of([1.0, 1.1], first=9.0)
    assert stray.value == without.value
    assert stray.count == without.count == 2
    assert stray.own is not None
    assert stray.own.value > 20


def test_an_unlucky_baseline_is_no_gain_but_one_that_was_left_behind_is() -> None:
    noise = Variance(1.0, 20)
    assert comparison([-1.0, -1.0, -1.0], noise, median=0.0).to_beat() == 0.0
    assert comparison([-9.0, -9.0, -9.0], noise, median=0.0).to_beat() == -9.0
    assert comparison([1.0, 1.0, 1.0], noise, median=0.0).to_beat() == 1.0


def test_repeats_alone_may_confirm_where_configurations_differ_by_much_more_than_the_noise() -> None:
    wide, narrow = Variance(100.0, 12), Variance(0.01, 4)
    repeats = Mean.of([3.0, 3.1, 2.9])
    baseline = [0.0, 0.1, -0.1]
    both, alone = comparison(baseline, wide, own=narrow), comparison(baseline, narrow)
    assert comparison(baseline, wide).chance(repeats) > 0.3
    assert both.chance(repeats) == pytest.approx(WITHIN * alone.chance(repeats))


def test_without_two_values_each_or_without_any_noise_nothing_is_said() -> None:
    one, two = Mean.of([5.0]), Mean.of([5.0, 5.0])
    assert comparison([0.0, 0.0], Variance(1.0, 9)).chance(one) == 1
    assert comparison([0.0], Variance(1.0, 9)).chance(two) == 1
    assert comparison([0.0, 0.0], None).chance(two) == 1
    assert comparison([0.0, 0.0], Variance(0.0, 2), own=Variance(0.0, 2)).chance(two) == 1


def test_early_looks_and_looks_at_two_repeats_spend_less_and_so_does_everyone_of_many() -> None:
    last = level_of_plan(3, 5, is_last=True)
    assert level_of_plan(3, 5, is_last=False) < level_of_plan(2, 5, is_last=True) < last
    assert level_of_plan(3, 20, is_last=True) < level_of_plan(3, 10, is_last=True) < last
    assert level_beside(3, 40, before=False) < level_beside(3, 5, before=False) < level_beside(3, 5, before=True)
