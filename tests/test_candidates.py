"""Points of a space, and how the Chooser finds one that may be proposed."""

from __future__ import annotations

import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import pytest

from optimize.errors import SpaceExhausted, StudyError
from optimize.search.candidates import Chooser, Failures, Lattice, Point
from optimize.search.samplers import open_sampler
from optimize.trial import Value
from search_spaces import Parameter, SearchSpace, load_space, parse_space, shipped_spaces
from search_spaces.expressions import parse_rule
from tests.spaces import configurations

SPACE = parse_space(
    """
    [parameters]
    A = [1, 2, 4, 8, 16]
    B = ["x", "y", "z"]
    C = [[1, 2], [1, 3]]
    D = [1, 2, 3, 4, 5, 6]
    [[rules]]
    rule = "D <= LIMIT"
    why = "tests"
    """,
    "space.toml",
)
LETTERS = "ABCDE"


def needle() -> SearchSpace:
    """Two feasible configurations in a hundred thousand."""
    rule = " and ".join(f"{a} == {b}" for a, b in pairwise(LETTERS)) + " and A >= 9"
    choices = "".join(f"{letter} = {list(range(1, 11))}\n" for letter in LETTERS)
    return parse_space(f'[parameters]\n{choices}[[rules]]\nrule = "{rule}"\nwhy = "a needle"', "needle.toml")


def choosing(space: SearchSpace = SPACE, limit: int = 6, failures: Failures | None = None) -> tuple[Lattice, Chooser]:
    lattice = Lattice(space, {"LIMIT": limit})
    is_suspect = failures.is_suspect if failures else lambda point: False
    return lattice, Chooser(lattice, random.Random(0), None, is_suspect)


def test_points_and_parameters_translate_into_each_other() -> None:
    lattice, _ = choosing()
    for params in configurations(SPACE):
        point = lattice.point(params)
        assert point is not None
        assert lattice.params(point) == params
    assert lattice.point({"A": 1}) is None
    assert lattice.point({"A": 3, "B": "x", "C": (1, 2), "D": 1}) is None


def test_counting_reaches_every_point_once_and_jumps_about() -> None:
    lattice, _ = choosing()
    points = [lattice.at(index) for index in range(lattice.size)]
    assert len(set(points)) == SPACE.size
    for axis, size in enumerate(lattice.sizes):
        assert {point[axis] for point in points[:20]} == set(range(size))


def test_a_step_changes_an_ordered_parameter_by_one_and_another_to_anything() -> None:
    lattice, _ = choosing()
    assert sorted(lattice.steps((0, 1, 0, 3))) == [
        (0, 0, 0, 3), (0, 1, 0, 2), (0, 1, 0, 4), (0, 1, 1, 3), (0, 2, 0, 3), (1, 1, 0, 3)
    ]  # fmt: skip


def test_refused_draws_end_at_the_nearest_point_that_is_left() -> None:
    lattice, chooser = choosing(limit=3)
    here: Point = (2, 1, 0, 5)  # two steps of D away from what is feasible
    found = []
    for _ in range(3):
        found.append(chooser.choose(lambda: here, 3))
        chooser.saw(lattice.params(found[-1]))
    distances = [
        sum(a != b if axis == 1 else abs(a - b) for axis, (a, b) in enumerate(zip(p, here, strict=True))) for p in found
    ]
    assert found[0] == (2, 1, 0, 2)
    assert distances == [3, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["qmc", "random", "tpe"])
def test_one_proposal_looks_at_no_configuration_twice(sampler: str) -> None:
    space = parse_space("[parameters]\nA = [1, 2, 3, 4]\nB = [1, 2, 3]\nC = [1, 2, 3, 4]\nD = [1, 2]", "96.toml")
    looked: Counter[tuple[object, ...]] = Counter()

    def identity(params: Mapping[str, Value]) -> tuple[object, ...]:
        looked[tuple(params.values())] += 1
        return tuple(params.values())

    opened = open_sampler(sampler, space, {}, seed=0, identity=identity)
    for number in range(space.size):
        looked.clear()
        params = opened.propose()  # the last ones are refused in ten thousand draws
        assert max(looked.values()) <= 2  # when it is drawn, and in the walk through all that is left
        opened.started(number, params)
        opened.finished(number, "COMPLETE", 1.0)


def test_what_qmc_imports_is_imported_before_the_first_proposal() -> None:
    open_sampler("qmc", SPACE, {"LIMIT": 6}, seed=0)
    assert "scipy.stats" in sys.modules or any(thread.name == "scipy" for thread in threading.enumerate())


def test_the_few_feasible_configurations_of_a_large_space_are_all_found_and_then_it_is_exhausted() -> None:
    lattice, chooser = choosing(needle())
    found = set()
    for _ in range(2):
        point = chooser.choose(lambda: (0, 0, 0, 0, 0), 10)
        chooser.saw(lattice.params(point))
        found.add(point)
    assert found == {(8,) * 5, (9,) * 5}
    with pytest.raises(SpaceExhausted, match=r"needle\.toml: all 2 feasible configurations have been tried"):
        chooser.choose(lambda: (0, 0, 0, 0, 0), 10)


def test_where_a_rule_cannot_be_computed_nothing_is_proposed() -> None:
    space = parse_space(
        '[parameters]\nA = [4, 6]\nB = [0, 2, 3]\n[[rules]]\nrule = "A % B == 0"\nwhy = "w"', "space.toml"
    )
    lattice, chooser = choosing(space)
    found = set()
    for _ in range(3):
        point = chooser.choose(lambda: (0, 0), 10)
        chooser.saw(lattice.params(point))
        found.add(tuple(lattice.params(point).values()))
    assert found == {(4, 2), (6, 2), (6, 3)}
    with pytest.raises(SpaceExhausted):
        chooser.any_left()


def test_a_space_with_one_feasible_configuration_says_so() -> None:
    lattice, chooser = choosing(
        parse_space("[parameters]\nA = [1, 2]\n[[rules]]\nrule = 'A == 2'\nwhy = 'w'", "s.toml")
    )
    chooser.saw(lattice.params(chooser.any_left()))
    with pytest.raises(SpaceExhausted, match="the one feasible configuration has been tried"):
        chooser.any_left()


def test_a_space_without_feasible_configurations_is_an_error_and_not_an_end() -> None:
    _, chooser = choosing(limit=0)
    with pytest.raises(StudyError, match=r"space\.toml: none of its 180 configurations is feasible") as caught:
        chooser.any_left()
    assert not isinstance(caught.value, SpaceExhausted)


def test_a_large_space_is_never_called_exhausted_without_having_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.search.candidates.MOST_CHECKED", 100)
    _, chooser = choosing(limit=0)
    with pytest.raises(StudyError, match="none of 100 configurations is feasible and new") as caught:
        chooser.any_left()
    assert not isinstance(caught.value, SpaceExhausted)


def test_a_choice_that_only_ever_failed_is_doubted_until_it_succeeds_once() -> None:
    lattice, _ = choosing()
    failures = Failures(lattice)
    for i in range(20):
        failures.learned((i % 4, 0, 0, i % 6), bad=i % 4 == 3)
    assert failures.is_suspect((3, 0, 0, 0))
    assert not failures.is_suspect((4, 2, 1, 0))  # never tried
    failures.learned((3, 0, 0, 2), bad=False)
    assert not failures.is_suspect((3, 0, 0, 0))


def test_where_most_trials_fail_a_few_failures_of_a_choice_mean_nothing() -> None:
    failures = Failures(choosing()[0])
    for i in range(20):
        failures.learned((i % 5, 0, 0, 0), bad=i not in (0, 1, 2))
    assert not failures.is_suspect((4, 0, 0, 0))


def test_doubted_points_are_tried_only_seldom_but_when_nothing_else_is_left() -> None:
    lattice = Lattice(SPACE, {"LIMIT": 6})
    rng = random.Random(0)
    chooser = Chooser(lattice, rng, None, lambda point: point[0] == 0)
    chosen = []
    for _ in range(SPACE.size):
        chosen.append(chooser.choose(lambda: lattice.uniform(rng), 3))
        chooser.saw(lattice.params(chosen[-1]))
    doubted = [point[0] == 0 for point in chosen]
    assert len(set(chosen)) == SPACE.size
    assert sum(doubted[:144]) < 12


def test_what_somebody_else_proposes_is_judged_like_a_draw_and_the_reason_said() -> None:
    failures = Failures(Lattice(SPACE, {"LIMIT": 5}))
    lattice, chooser = choosing(limit=5, failures=failures)
    tried, other = (0, 0, 0, 0), (1, 1, 0, 0)
    assert chooser.why_not(tried) == chooser.why_not(other) == ""
    chooser.saw(lattice.params(tried))
    assert "tried" in chooser.why_not(tried)
    assert chooser.why_not((0, 0, 0, 5)) == "it breaks the rule D <= LIMIT (tests)"
    for point in configurations(SPACE):
        failures.learned(lattice.point(point) or (), bad=point["B"] == "y")
    assert "ended badly" in chooser.why_not(other)


def test_what_will_not_fit_the_device_is_no_proposal() -> None:
    lattice = Lattice(SPACE, {"LIMIT": 6})
    chooser = Chooser(lattice, random.Random(0), None, lambda point: False, lambda params: params["A"] == 16)
    assert "memory" in chooser.why_not((4, 0, 0, 0))
    assert chooser.why_not((3, 0, 0, 0)) == ""


def test_a_rule_that_cannot_be_computed_is_a_reason_and_no_end() -> None:
    space = parse_space('[parameters]\nA = [0, 1]\n[[rules]]\nrule = "8 % A == 0"\nwhy = "halves"', "zero.toml")
    _, chooser = choosing(space)
    assert "zero" in chooser.why_not((0,))
    assert chooser.why_not((1,)) == ""


def spread(sizes: Sequence[int], points: int) -> tuple[float, float, float]:
    """Of the first points of the walk: how often a choice comes at least and at most, 1.0 being its share, and the share of
    pairs of choices that come at all."""
    space = SearchSpace("s", "s", tuple(Parameter(f"P{i}", tuple(range(size))) for i, size in enumerate(sizes)))
    lattice = Lattice(space, {})
    seen = [lattice.at(index) for index in range(points)]
    assert len(set(seen)) == points
    shares = [
        Counter(each[axis] for each in seen)[i] * size / points for axis, size in enumerate(sizes) for i in range(size)
    ]
    axes = list(combinations(range(len(sizes)), 2))
    pairs = sum(len({(each[a], each[b]) for each in seen}) for a, b in axes)
    return min(shares), max(shares), pairs / sum(sizes[a] * sizes[b] for a, b in axes)


@pytest.mark.parametrize("sizes", [(10,) * 20, (10,) * 12, (10,) * 7, (2,) * 14, (3, 10, 7, 4) * 3, (5,) * 16])
def test_the_walk_through_a_space_is_even_for_every_parameter_and_pair(sizes: tuple[int, ...]) -> None:
    least, most, pairs = spread(sizes, 1_000)
    assert least > 0.65
    assert most < 1.4
    assert pairs > 0.98


@pytest.mark.parametrize("name", shipped_spaces())
def test_the_walk_through_a_shipped_space_is_even(name: str) -> None:
    least, most, pairs = spread([len(parameter.choices) for parameter in load_space(name).parameters], 1_000)
    assert least > 0.7
    assert most < 1.3
    assert pairs == 1.0


@pytest.mark.parametrize("sizes", [(2, 3, 4), (10, 10, 10), (7, 5, 3, 2), (1, 6, 1)])
def test_the_walk_meets_every_point_once(sizes: tuple[int, ...]) -> None:
    assert spread(sizes, math.prod(sizes))[2] == 1.0


def test_one_feasible_configuration_of_100000_is_found_wherever_its_parameters_stand() -> None:
    names = [f"P{i}" for i in range(12)]
    for first in (0, 3, 7):  # of the five that the rule ties
        tied = " + ".join(f"{10**k} * {name}" for k, name in enumerate(names[first : first + 5]))
        space = SearchSpace(
            "s",
            "s",
            tuple(Parameter(name, tuple(range(10))) for name in names),
            (parse_rule(f"{tied} == 31415", "why"),),
        )
        lattice = Lattice(space, {})
        chooser = Chooser(lattice, random.Random(0), None, lambda point: False)
        assert lattice.feasible(lattice.params(chooser.any_left()))


def test_a_sampler_that_learns_nothing_from_values_has_its_doubted_draws() -> None:
    lattice = Lattice(SPACE, {"LIMIT": 6})
    chooser, drawn = Chooser(lattice, random.Random(0), None, lambda point: True), lattice.at(7)
    assert chooser.choose(lambda: drawn, 1, trusting=True) == drawn
    assert chooser.choose(lambda: drawn, 1) != drawn
