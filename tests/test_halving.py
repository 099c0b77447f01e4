"""Successive halving in its stopping form: what is cut at the rung, and when nothing is cut any more."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from optimize.search.halving import FINISHED, KEPT, Halving, RungDecision
from optimize.search.pruners import unknown_pruner
from optimize.trial import Metric, TrialStatus
from storage import TrialRecord

PERCENTS = (10, 15, 20, 30, 40, 50, 65, 85)


def trial(number: int, loss: float, value: float | None = None, status: str = "") -> TrialRecord:
    state = "COMPLETE" if value is not None else "PRUNED" if status == TrialStatus.HOPELESS else "FAIL"
    curve = dict.fromkeys(PERCENTS, loss)
    return TrialRecord(number, number, state, status, value=value, curve=curve)


def with_finished(
    count: int = FINISHED, metric: Metric | None = None, value: Callable[[float], float] = float
) -> Halving:
    halving = Halving(metric or Metric(), 1)  # which spares none of the numbers used here
    for number in range(count):
        halving.ended(trial(number, float(number), value(float(number))))
    return halving


def asked(halving: Halving, number: int, loss: float) -> RungDecision | None:
    return halving.judge(number, {}, {10: 9.0, 15: loss})


def test_nothing_is_cut_before_enough_have_finished() -> None:
    assert asked(with_finished(FINISHED - 1), 10, 99.0) is None
    assert asked(with_finished(), 10, 99.0) is not None


def test_the_best_third_of_all_losses_goes_on() -> None:
    halving = with_finished(8)  # losses 0 to 7
    assert asked(halving, 10, 2.5) is not None
    assert asked(halving, 11, 2.0) is None  # as good as the third of ten
    decision = asked(halving, 12, 5.5)
    assert str(decision) == "train loss 5.500 at 15 %: the best third of 11 is no worse than 2.000"


def test_running_and_cut_trials_count_once_and_crashed_ones_too() -> None:
    halving = with_finished(6)
    assert asked(halving, 10, 0.5) is None  # of seven two go on: 0 and 0.5
    assert asked(halving, 11, 0.7) is not None
    halving.ended(trial(11, 0.7, status=TrialStatus.HOPELESS))
    halving.ended(trial(10, 0.5, 0.5))
    halving.ended(trial(12, 0.6, status=TrialStatus.CRASHED))
    assert asked(halving, 13, 0.55) is None  # 0, 0.5 and this one: three of ten
    assert asked(halving, 14, 0.65) is not None


def test_a_trial_is_judged_once() -> None:
    halving = with_finished()
    assert asked(halving, 10, 99.0) is not None
    assert halving.judge(10, {}, {15: 99.0, 20: 99.0}) is None


@pytest.mark.parametrize("curve", [{}, {10: 9.0}, {40: 99.0, 50: 99.0}, {85: 99.0}])
def test_without_a_loss_at_the_rung_nothing_is_cut(curve: dict[int, float]) -> None:
    assert with_finished().judge(10, {}, curve) is None


def test_a_script_that_prints_seldom_is_judged_a_little_later() -> None:
    assert with_finished().judge(10, {}, {30: 99.0}) is not None


def test_a_larger_value_may_be_better() -> None:
    accuracy = Metric("accuracy", direction="maximize")
    assert asked(with_finished(metric=accuracy, value=lambda loss: 1 - loss / 10), 10, 99.0) is not None
    assert asked(with_finished(metric=accuracy), 10, 99.0) is None  # the better loss has the worse value


@pytest.mark.parametrize("value", [lambda loss: 1.0, lambda loss: -loss], ids=["all equal", "the other way round"])
def test_values_that_do_not_follow_losses_stop_all_cutting(value: Callable[[float], float]) -> None:
    assert asked(with_finished(20, value=value), 30, 99.0) is None


def test_equal_losses_cut_nothing() -> None:
    halving = Halving(Metric(), 1)
    for number in range(20):
        halving.ended(trial(number, 4.0, float(number)))
    assert asked(halving, 30, 4.0) is None
    assert asked(halving, 31, 99.0) is None


def campaign(seed: int, noise: float, trials: int = 200) -> list[bool]:
    """For each trial whether it was cut; its value is its loss and noise, whose deviation is that of the losses times `noise`."""
    rng, halving, cut = random.Random(seed), Halving(Metric(), seed), []
    for number in range(trials):
        loss = rng.gauss(0, 1)
        decision = asked(halving, number, loss)
        cut.append(decision is not None and not decision.spared)
        value = None if cut[-1] else loss + noise * rng.gauss(0, 1)
        halving.ended(trial(number, loss, value, TrialStatus.HOPELESS if cut[-1] else ""))
    return cut


def test_without_any_relation_hardly_anything_is_cut_and_with_one_most_of_the_rest() -> None:
    none, close = ([campaign(seed, noise) for seed in range(30)] for noise in (1e9, 0.3))
    assert sum(map(sum, none)) / 6000 < 0.05
    assert sum(sum(each[50:]) for each in none) / 4500 < 0.01
    assert 0.55 < sum(map(sum, close)) / 6000 < 1 - 1 / KEPT


def test_some_of_the_hopeless_run_on_the_same_ones_each_time() -> None:
    decisions = [asked(with_finished(), number, 99.0) for number in range(100, 500)]
    spared = [each.spared for each in decisions if each is not None]
    assert len(spared) == 400
    assert 0.03 < sum(spared) / 400 < 0.12
    assert spared == [each.spared for n in range(100, 500) if (each := asked(with_finished(), n, 99.0)) is not None]


def test_a_pruner_that_is_not_on_offer_is_one_line() -> None:
    assert unknown_pruner("halving") == ""
    assert (
        unknown_pruner("halvin")
        == "--pruner: 'halvin' is not on offer. Use one of regression, halving. Did you mean halving?"
    )
