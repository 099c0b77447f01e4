"""A best trial at an end of its choices is told where trials speak for it, and hardly ever where it is chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from optimize.study.best import find_best
from optimize.study.comparable import FINGERPRINT, describe_study
from optimize.study.edges import Edge, find_edges
from optimize.trial import BASELINE, Metric
from storage import Stored, TrialRecord
from tests.conftest import Driver

CHOICES: dict[str, tuple[Stored, ...]] = {"DEPTH": (2, 3, 4, 6), "LR": (0.01, 0.02, 0.04), "WINDOW": ("S", "L")}
ATTRS: dict[str, object] = {FINGERPRINT: {"script": "0"}, BASELINE: {"DEPTH": 3, "LR": 0.02, "WINDOW": "S"}}
Loss = Callable[[Mapping[str, Stored]], float | None]


def tried(
    loss: Loss, count: int = 16, seed: int = 1, choices: Mapping[str, Sequence[Stored]] = CHOICES
) -> list[TrialRecord]:
    chance, found = random.Random(seed), []
    for number in range(count):
        params = {name: chance.choice(each) for name, each in choices.items()}
        value = loss(params)
        state, status = ("COMPLETE", "complete") if value is not None else ("PRUNED", "diverged")
        found.append(TrialRecord(number, number, state, status, params, value, kind="sampler"))
    return found


def deeper_is_better(params: Mapping[str, Stored]) -> float:
    return 2 - float(str(params["DEPTH"])) / 10 + abs(float(str(params["LR"])) - 0.02)


def edges(records: list[TrialRecord], choices: Mapping[str, Sequence[Stored]] = CHOICES, **attrs: object) -> list[Edge]:
    return find_edges(find_best(records, "minimize", None), records, choices, {**ATTRS, **attrs}, Metric())


def test_the_end_that_trials_lead_to_is_named_with_what_lies_beyond() -> None:
    (edge,) = edges(tried(deeper_is_better))
    assert (edge.parameter.name, edge.value, edge.further) == ("DEPTH", 6, (9, 14))
    assert str(edge) == "DEPTH = 6 is the largest of 2, 3, 4, 6: better ones may lie beyond. Wider: 2, 3, 4, 6, 9, 14"
    (edge,) = edges(tried(lambda params: -deeper_is_better(params)))[:1]
    assert str(edge).startswith("DEPTH = 2 is the smallest of")


def test_higher_may_be_better() -> None:
    records = tried(lambda params: -deeper_is_better(params))
    best = find_best(records, "maximize", None)
    named = find_edges(best, records, CHOICES, ATTRS, Metric("accuracy", "maximize"))
    assert [(each.parameter.name, each.value) for each in named] == [("DEPTH", 6)]


def test_of_parameters_without_effect_one_is_named_in_two_studies_at_most() -> None:
    choices = {f"P{n}": (1.0, 2.0, 4.0, 8.0) for n in range(14)}
    named = [len(edges(tried(lambda _: chance.random(), 24, seed, choices), choices)) for seed in range(60)]
    assert 0 < sum(named) / len(named) < 0.75  # without that, 7 of 14 are at an end


chance = random.Random(5)


def test_nothing_is_said_where_hardly_a_trial_has_ended_or_the_best_is_the_baseline() -> None:
    records = tried(deeper_is_better)
    best = find_best(records, "minimize", None)
    assert best is not None
    assert edges([best.record, *records[:3]]) == []
    assert edges(records, **{BASELINE: best.record.params}) == []
    assert find_edges(None, [], CHOICES, ATTRS, Metric()) == []


def test_a_small_space_that_is_all_tried_says_enough() -> None:
    choices = {"DEPTH": (2, 3, 4, 6)}
    records = [
        TrialRecord(n, n, "COMPLETE", "complete", {"DEPTH": d}, 2.0 - d / 10) for n, d in enumerate((2, 3, 4, 6))
    ]
    assert [each.further for each in edges(records, choices, **{BASELINE: {"DEPTH": 3}})] == [(9, 14)]


@pytest.mark.parametrize("row", [(6, 2), (2, 6, 3, 4), ("2", "3", "6"), (False, True), ("(2, 6)", "(3, 6)", "(6, 6)")])
def test_choices_that_have_no_order_have_no_ends(row: tuple[Stored, ...]) -> None:
    choices = {"DEPTH": row}
    rank = {each: place for place, each in enumerate(row)}
    assert edges(tried(lambda params: -float(rank[params["DEPTH"]]), 12, 1, choices), choices) == []


def test_an_end_where_trials_die_is_no_way_to_go() -> None:
    """One trial at the end was lucky, and the others diverged there."""
    records = tried(lambda params: None if params["DEPTH"] == 6 else deeper_is_better(params), 24)
    lucky = TrialRecord(24, 24, "COMPLETE", "complete", {"DEPTH": 6, "LR": 0.02, "WINDOW": "S"}, 0.5)
    assert "DEPTH" not in [each.parameter.name for each in edges([*records, lucky])]


def test_an_end_that_nobody_leaves_any_more_is_named() -> None:
    records = tried(lambda params: float(str(params["LR"])), 12, 1, {**CHOICES, "DEPTH": (6,)})
    assert "DEPTH" in [each.parameter.name for each in edges(records)]


def test_choices_that_a_rule_forbids_are_not_proposed(driver: Driver) -> None:
    space = driver.folder / "space.toml"
    space.write_text(
        "[parameters]\nX = [1, 2, 4]\nY = [0.125, 0.25, 0.5]\n\n[[rules]]\nrule = 'X <= SIZE'\nwhy = 'a'\n"
    )
    attrs = describe_study(driver.plan, {"search space": driver.plan.space.fingerprint()})
    choices = driver.plan.space.stored_choices
    records = tried(lambda params: -float(str(params["X"])), 14, 1, choices)
    best = find_best(records, "minimize", None)
    assert [each.further for each in find_edges(best, records, choices, attrs, Metric())] == [(8,)]
    space.write_text(space.read_text().replace("X <= SIZE", "X < 8"))  # another space: its rules are not the study's
    assert [each.further for each in find_edges(best, records, choices, attrs, Metric())] == [(8, 16)]
