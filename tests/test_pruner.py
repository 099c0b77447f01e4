"""Who is hopeless: by its curve against finished trials, never what may be in the top quarter, nor by a curve that says nothing."""

from __future__ import annotations

import random

import pytest

from optimize.search.pruner import FINISHED, PruneDecision, Pruner
from optimize.trial import Metric

PERCENTS = (10, 20, 30, 50)
MAXIMISE = Metric("accuracy", "maximize")


def params(rng: random.Random) -> dict[str, object]:
    return {
        "LR": rng.choice([0.01, 0.02, 0.04]),
        "PAIR": rng.choice(["(0.8, 0.95)", "(0.9, 0.95)"]),
        "ON": rng.random() < 0.5,
    }


def curve(final: float) -> dict[int, float]:
    """A loss that ends at `final`, and tells so ever more exactly."""
    return {percent: final + 3.0 - percent / 40 for percent in PERCENTS}


def taught(pruner: Pruner, count: int = 40, noise: float = 0.02) -> Pruner:
    """Trials with values of 1.0 to 2.0, evenly."""
    rng = random.Random(0)
    for i in range(count):
        value = 1.0 + i / (count - 1)
        noisy = {percent: loss + rng.gauss(0, noise) for percent, loss in curve(value).items()}
        pruner.completed(params(rng), noisy, value)
    return pruner


def verdict(pruner: Pruner, final: float, number: int = 100) -> PruneDecision | None:
    return pruner.judge(number, params(random.Random(1)), curve(final))


def test_a_curve_far_above_the_top_quarters_is_hopeless_and_the_reason_is_in_the_metrics_numbers() -> None:
    found = verdict(taught(Pruner(Metric(), 0)), 1.9)
    assert found is not None
    assert found.expected == pytest.approx(1.9, abs=0.05)
    assert 1.25 < found.bound < 1.5
    assert str(found).startswith("train loss 3.650 at 50 %: expected val_bpb 1.8")
    assert "the top quarter is below 1." in str(found)


def test_what_may_be_in_the_top_quarter_is_never_condemned() -> None:
    pruner = taught(Pruner(Metric(), 0))
    assert not any(verdict(pruner, 0.9 + 0.35 * i / 100) for i in range(100))


def test_nothing_is_condemned_before_enough_trials_have_finished() -> None:
    assert verdict(taught(Pruner(Metric(), 0), FINISHED - 1), 9.0) is None
    assert verdict(taught(Pruner(Metric(), 0), FINISHED), 9.0) is not None


def test_one_bad_percent_is_not_enough() -> None:
    pruner, bad, good = taught(Pruner(Metric(), 0)), curve(1.9), curve(1.1)
    assert pruner.judge(1, params(random.Random(1)), {10: bad[10]}) is None
    assert pruner.judge(1, params(random.Random(1)), {10: good[10], 20: bad[20]}) is None
    assert pruner.judge(1, params(random.Random(1)), {10: bad[10], 20: good[20]}) is None
    assert pruner.judge(1, params(random.Random(1)), {10: bad[10], 20: bad[20]}) is not None


def test_a_loss_that_says_nothing_about_the_value_condemns_nobody() -> None:
    pruner, rng = Pruner(Metric(), 0), random.Random(3)
    for _ in range(100):
        pruner.completed(params(rng), {percent: rng.gauss(4, 0.3) for percent in PERCENTS}, rng.gauss(2, 0.1))
    assert not any(pruner.judge(n, params(rng), {p: rng.gauss(4, 0.3) for p in PERCENTS}) for n in range(200))


def test_parameters_alone_condemn_nobody() -> None:
    """Else the pruner would be a second sampler, and one that forbids."""
    pruner = Pruner(Metric(), 0)
    for i in range(40):
        pruner.completed({"X": i % 4}, dict.fromkeys(PERCENTS, 4.0), 1.0 + i % 4)
    assert pruner.judge(50, {"X": 3}, dict.fromkeys(PERCENTS, 4.0)) is None


def test_a_metric_to_maximise_is_understood() -> None:
    pruner, rng = Pruner(MAXIMISE, 0), random.Random(0)
    for i in range(40):
        accuracy = i / 40
        pruner.completed(params(rng), curve(2 - accuracy + rng.gauss(0, 0.02)), accuracy)
    bad, good = pruner.judge(50, params(rng), curve(1.9)), pruner.judge(51, params(rng), curve(1.05))
    assert good is None
    assert bad is not None
    assert (bad.expected < bad.bound, "the top quarter is above 0." in str(bad)) == (True, True)


def test_a_long_warmdown_that_still_lies_ahead_is_taken_into_account() -> None:
    """Half way, whoever decays late has a high loss and loses the most of it until the end."""
    pruner, rng = Pruner(Metric(), 0), random.Random(0)
    for _ in range(60):
        quality, late = rng.random(), rng.choice([0, 1])
        pruner.completed({"LATE": late}, {p: 4 + quality + late + rng.gauss(0, 0.02) for p in PERCENTS}, 1 + quality)
    high = dict.fromkeys(PERCENTS, 5.1)
    assert pruner.judge(100, {"LATE": 1}, high) is None
    assert pruner.judge(101, {"LATE": 0}, {p: loss - 0.2 for p, loss in high.items()}) is not None


def test_one_wild_trial_does_not_bend_the_line_for_all_others() -> None:
    pruner = taught(Pruner(Metric(), 0))
    pruner.completed(params(random.Random(2)), dict.fromkeys(PERCENTS, 1e6), 50.0)
    found = verdict(pruner, 1.9)
    assert found is not None
    assert found.expected == pytest.approx(1.9, abs=0.1)
    assert verdict(pruner, 1.2) is None


def test_trials_that_were_cut_count_as_outside_the_top_quarter() -> None:
    """Else the survivors' top quarter would be ever smaller, and the pruner ever stricter."""
    pruner = taught(Pruner(Metric(), 0))
    before = verdict(pruner, 1.9)
    for _ in range(20):
        pruner.cut()
    after = verdict(pruner, 1.9)
    assert before is not None
    assert after is not None
    assert after.bound > before.bound + 0.1


def test_a_few_of_the_condemned_are_spared_by_the_seed_and_the_number() -> None:
    def spared(seed: int) -> list[int]:
        pruner = taught(Pruner(Metric(), seed))
        found = {number: verdict(pruner, 1.9, number) for number in range(300)}
        return [number for number, each in found.items() if each is not None and each.spared]

    assert 5 < len(spared(0)) < 45
    assert spared(0) == spared(0) != spared(1)


def test_the_order_in_which_trials_finished_does_not_matter() -> None:
    rng = random.Random(5)
    trials = [(params(rng), curve(1 + i / 40), 1 + i / 40) for i in range(40)]
    there, back = Pruner(Metric(), 0), Pruner(Metric(), 0)
    for trial in trials:
        there.completed(*trial)
    for trial in reversed(trials):
        back.completed(*trial)
    assert str(verdict(there, 1.9)) == str(verdict(back, 1.9))


def test_other_percents_other_parameters_and_new_choices_are_no_error() -> None:
    pruner = taught(Pruner(Metric(), 0))
    assert pruner.judge(1, params(random.Random(1)), {}) is None
    assert pruner.judge(1, params(random.Random(1)), {11: 9.0, 21: 9.0}) is None
    assert pruner.judge(1, {"OTHER": 1}, curve(1.9)) is None
    new = {"LR": 0.5, "PAIR": "(0.5, 0.5)", "ON": True}
    assert pruner.judge(1, new, curve(1.9)) is not None


def test_trials_without_parameters_are_compared_by_their_loss() -> None:
    pruner = Pruner(Metric(), 0)
    for i in range(40):
        pruner.completed({}, curve(1 + i / 40), 1 + i / 40)
    assert pruner.judge(1, {}, curve(1.9)) is not None
    assert pruner.judge(1, {}, curve(1.1)) is None


def test_equal_values_everywhere_condemn_nobody() -> None:
    pruner = Pruner(Metric(), 0)
    for i in range(40):
        pruner.completed({"X": i % 4}, curve(1 + i / 40), 1.0)
    assert pruner.judge(1, {"X": 1}, curve(1.9)) is None
