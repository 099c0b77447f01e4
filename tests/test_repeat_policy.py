"""What a search repeats, what it calls its trials, and that luck is hardly ever confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from optimize.confirm.campaign import (
    FEWEST_TRIALS,
    Campaign,
    Decision,
    Repeat,
    Searched,
    VerdictState,
    planned_after,
    share,
)
from optimize.confirm.policy import FIRST, decide

CANDIDATE, CONFIRMED, LUCK = VerdictState.CANDIDATE, VerdictState.CONFIRMED, VerdictState.LUCK
NOISE = np.random.default_rng(7).normal(scale=0.1, size=60).round(3).tolist()
Value = Callable[[int, int], float | None]  # of a trial with a seed; 0 is the search's


def search(*values: float | None) -> list[Searched]:
    return [Searched(number, value) for number, value in enumerate(values)]


def repeated(number: int, *values: float | None) -> list[Repeat]:
    return [Repeat(number, seed, value) for seed, value in enumerate(values, 1)]


def ended(searched: Sequence[Searched], repeats: Sequence[Repeat] = (), planned: int = 20, **more: object) -> Campaign:
    """A campaign whose search has had its part."""
    trainings = max(planned - share(planned), len(searched)) + len(repeats)
    return Campaign(0, searched, repeats, trainings, planned, **more)  # type: ignore[arg-type]


SEARCH = search(
    2.0, *(2.5 + each for each in NOISE[:13]), 1.0
)  # trial 14 is far better than the baseline, all others worse
TWICE = [*repeated(0, 2.1, 1.9), *repeated(14, 1.1, 1.05)]


def walk(value: Value, trainings: int, slots: int = 1, planned: bool = True) -> tuple[Campaign, Decision]:
    """A campaign from its first trial to its end; repeats that begin together end together."""
    campaign = Campaign(0, [], [], 0, trainings if planned else None, slots)
    while campaign.trainings < trainings:
        found = decide(campaign)
        assert found == decide(campaign)
        begun = [Repeat(number, seed, value(number, seed)) for number, seed in found.wanted]
        searched = [] if begun else [Searched(len(campaign.searched), value(len(campaign.searched), 0))]
        assert begun or not planned or trainings - campaign.trainings > found.reserved
        campaign = replace(
            campaign,
            searched=[*campaign.searched, *searched],
            repeats=[*campaign.repeats, *begun],
            trainings=campaign.trainings + len(begun) + len(searched),
        )
    return campaign, decide(campaign)


def drawn(seed: int, better: int | None = None, gain: float = 0.0) -> Value:
    values = np.random.default_rng(seed).normal(size=(200, 21))
    if better is not None:
        values[better] -= gain
    return lambda number, seed: float(values[number, seed])


def test_a_quarter_of_20_trainings_and_a_tenth_of_100_are_kept_and_it_grows_smoothly() -> None:
    assert (share(FEWEST_TRIALS - 1), share(FEWEST_TRIALS), share(20), share(60), share(100), share(200)) == (
        0,
        4,
        5,
        8,
        10,
        20,
    )
    shares = [share(trials) for trials in range(FEWEST_TRIALS, 400)]
    assert {b - a for a, b in pairwise(shares)} == {0, 1}
    assert all(share(trials) <= trials / 4 for trials in range(101))
    assert all(share(trials) <= trials / 10 for trials in range(100, 400))


def test_nothing_is_repeated_before_half_time_then_the_baseline_and_candidates_when_the_search_has_had_its_part() -> (
    None
):
    early = replace(ended(SEARCH[:8]), trainings=8)
    assert decide(early).wanted == ()
    assert decide(early).reserved == 5
    assert decide(replace(early, trainings=10, slots=8)).wanted == ((0, 1), (0, 2))
    later = ended(SEARCH, repeated(0, 2.1, 1.9))
    assert decide(later).wanted == ((14, 1),)
    assert decide(later).reserved == 3


def test_the_best_trial_is_a_candidate_until_its_repeats_beat_those_of_the_baseline() -> None:
    before, after = decide(ended(SEARCH)), decide(ended(SEARCH, [*TWICE, Repeat(14, 3, 1.0)]))
    assert [(each.number, each.state, each.gain) for each in before.evidence] == [(14, CANDIDATE, None)]
    assert before.best is None
    assert (after.best, after.state_of(14)) == (14, CONFIRMED)
    assert after.evidence[0].gain == pytest.approx(2.0 - 1.05)
    assert after.evidence[0].repeats == 3
    assert after.state_of(3) is None


def test_the_value_that_made_a_candidate_counts_for_nothing_and_the_baselines_own_counts() -> None:
    lucky = [*SEARCH[:14], Searched(14, -50.0)]
    one, other = decide(ended(SEARCH, TWICE)).evidence[0], decide(ended(lucky, TWICE)).evidence[0]
    assert one.gain == other.gain == pytest.approx(2.0 - 1.075)
    assert decide(ended([Searched(0, 5.0), *SEARCH[1:]], TWICE)).evidence[0].gain == pytest.approx(3.0 - 1.075)


def test_a_candidate_that_falls_back_is_luck_at_once_and_makes_room_for_the_next() -> None:
    found = decide(ended([*SEARCH[:13], Searched(13, 1.2), SEARCH[14]], [*repeated(0, 2.1, 1.9), *repeated(14, 2.4)]))
    assert found.state_of(14) is LUCK
    assert found.wanted == ((13, 1),)


def test_without_a_candidate_the_search_has_the_rest_of_the_plan() -> None:
    found = decide(ended(SEARCH[:14], repeated(0, 2.1, 1.9)))
    assert (found.wanted, found.reserved, found.evidence) == ((), 0, ())


def test_a_confirmed_best_is_replaced_only_by_repeats_that_are_no_worse() -> None:
    ahead = [*SEARCH[:13], Searched(13, 0.8), SEARCH[14]]
    worse = decide(ended(ahead, [*TWICE, *repeated(13, 1.3)], planned=60))
    assert (worse.best, worse.state_of(13)) == (14, LUCK)
    better = decide(ended(ahead, [*TWICE, *repeated(13, 0.9, 0.85, 0.8)], planned=60))
    assert (better.best, better.state_of(13), better.state_of(14)) == (13, CONFIRMED, CONFIRMED)
    ahead[13] = Searched(13, 1.2)
    behind = decide(ended(ahead, [*TWICE, *repeated(13, 1.2, 1.15, 1.3)], planned=60))
    assert (behind.best, behind.state_of(13)) == (14, CONFIRMED)  # better than the baseline all the same


def test_a_trial_that_is_better_than_the_confirmed_best_is_repeated_and_others_are_not() -> None:
    waiting = [*SEARCH[:12], Searched(12, 1.4), Searched(13, 0.8), SEARCH[14]]
    assert decide(ended(waiting, TWICE, planned=60)).wanted == ((13, 1),)
    assert decide(ended(waiting[:13] + waiting[14:], TWICE, planned=60)).wanted == ()


def test_a_repeat_that_fails_ends_a_candidate_and_one_that_runs_is_waited_for() -> None:
    failed = decide(ended(SEARCH, [*repeated(0, 2.1, 1.9), *repeated(14, None)]))
    assert (failed.state_of(14), failed.evidence[0].failed) == (LUCK, True)
    assert 14 not in {number for number, _ in failed.wanted}
    running = [*repeated(0, 2.1, 1.9), Repeat(14, 1, running=True)]
    waiting = decide(ended(SEARCH, running, slots=4))
    assert waiting.state_of(14) is CANDIDATE
    assert waiting.wanted == ((14, 2),)  # one of two that are left: the last waits for what comes


def test_a_failed_repeat_of_the_baseline_is_made_up_for_by_another_seed() -> None:
    assert decide(ended(SEARCH, repeated(0, 2.1, None))).wanted == ((0, 3),)


def test_no_baseline_or_a_seed_that_changes_nothing_gives_no_verdict_and_says_why() -> None:
    lost = decide(ended([Searched(0, None), *SEARCH[1:]]))
    assert (lost.wanted, lost.reserved, lost.why_none) == ((), 0, "the baseline has not completed")
    same = decide(ended(SEARCH, [*repeated(0, 2.0, 2.0), *repeated(14, 1.0)]))
    assert (same.wanted, same.best, same.why_none) == ((), None, "another seed changes nothing")


def test_a_short_plan_has_candidates_and_no_repeats() -> None:
    found = decide(Campaign(0, search(2.0, 1.0, 2.5), [], 3, FEWEST_TRIALS - 1))
    assert (found.wanted, found.reserved, found.state_of(1)) == ((), 0, CANDIDATE)


def test_larger_values_may_be_better_and_units_do_not_matter() -> None:
    found = decide(ended(SEARCH, TWICE))
    for sign, unit in ((-1, 1.0), (1, 1e-6), (1, 1e200), (-1, 1e300)):
        values = [Searched(each.number, sign * unit * each.value) for each in SEARCH if each.value is not None]
        repeats = [replace(each, value=sign * unit * each.value) for each in TWICE if each.value is not None]
        other = decide(ended(values, repeats, sign=sign))
        assert (other.wanted, other.best, other.freedom) == (found.wanted, found.best, found.freedom)
        assert other.noise is not None
        assert found.noise is not None
        assert other.noise / unit == pytest.approx(found.noise)
        assert [each.state for each in other.evidence] == [each.state for each in found.evidence]


def test_the_noise_is_learned_from_every_configuration_with_two_values() -> None:
    found = decide(ended(SEARCH, [*repeated(0, 2.1, 1.9), *repeated(14, 1.2, 1.0), *repeated(3, 2.4)]))
    assert found.noise == pytest.approx(((0.02 + 0.02) / 3) ** 0.5)
    assert found.freedom == 3


def test_what_was_confirmed_does_not_waver_when_more_is_planned() -> None:
    repeats = [*repeated(0, 2.3, 1.7), *repeated(14, 1.45, 1.25, 1.35)]
    ends = ended(SEARCH, repeats)
    assert decide(ends).best == 14
    longer = replace(ends, planned=60)
    assert decide(longer).best is None
    assert decide(replace(longer, confirmed=[14])).best == 14


def test_hours_that_are_over_make_it_the_last_look() -> None:
    early = ended(SEARCH, [*repeated(0, 2.3, 1.7), *repeated(14, 1.25, 1.3)], planned=60)
    assert decide(early).best is None
    found = decide(replace(early, over=True))
    assert (found.best, found.wanted) == (14, ())


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("trainings", [16, 20, 45])
def test_a_plan_is_kept_and_no_configuration_meets_a_seed_twice(slots: int, trainings: int) -> None:
    for seed in range(4):
        campaign, found = walk(drawn(seed, better=5, gain=3.0 * (seed % 2)), trainings, slots)
        assert campaign.trainings == len(campaign.searched) + len(campaign.repeats) == trainings
        assert len(campaign.repeats) <= share(trainings)
        assert len({(each.number, each.seed) for each in campaign.repeats}) == len(campaign.repeats)
        assert sum(each.number == 0 for each in campaign.repeats) >= FIRST
        assert found.wanted == ()


def test_where_no_end_is_known_a_tenth_are_repeats_and_any_moment_has_its_verdict() -> None:
    value = drawn(1, better=20, gain=8.0)
    confirmed = [walk(value, trainings, planned=False) for trainings in (15, 40, 90)]
    assert all(len(campaign.repeats) <= campaign.trainings / 10 for campaign, _ in confirmed)
    assert [found.best for _, found in confirmed] == [None, None, 20]
    assert confirmed[1][1].state_of(20) is CANDIDATE


def test_luck_is_hardly_ever_confirmed_and_a_large_gain_nearly_always() -> None:
    lucky = [walk(drawn(seed), 20)[1].best for seed in range(80)]
    real = [walk(drawn(seed, better=1 + seed % 14, gain=6.0), 20)[1].best == 1 + seed % 14 for seed in range(25)]
    assert sum(best is not None for best in lucky) <= 4
    assert sum(real) >= 22


@pytest.mark.parametrize(("trials", "planned"), [(1, 1), (15, 15), (16, 21), (24, 29), (90, 99), (900, 999)])
def test_a_search_that_ends_by_itself_is_followed_by_its_share(trials: int, planned: int) -> None:
    assert planned_after(trials) == planned
    assert planned - share(planned) >= trials > planned - 1 - share(planned - 1)


def test_what_a_confirmation_trained_tells_as_much_and_costs_the_share_nothing() -> None:
    own = ended(SEARCH, TWICE)
    given = replace(own, repeats=[replace(each, given=True) for each in TWICE], trainings=own.trainings - len(TWICE))
    assert decide(given).evidence == decide(own).evidence
    assert (own.spent, given.spent, replace(own, aside=4).spent) == (4, 0, 8)
    assert decide(own).reserved <= decide(given).reserved


def test_what_a_confirmation_confirmed_stays_so_while_it_is_ahead() -> None:
    close = ended(SEARCH, [*repeated(0, 2.1, 1.9), *repeated(14, 1.95, 1.9)])
    assert decide(close).state_of(14) is not CONFIRMED
    assert decide(replace(close, sure={14})).best == 14
    behind = replace(close, repeats=[*repeated(0, 2.1, 1.9), *repeated(14, 2.2, 2.1)], sure={14})
    assert decide(behind).state_of(14) is LUCK
