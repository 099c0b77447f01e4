"""The search space as a value: membership, encoding, counting, snapping, fingerprint."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Parameter, SearchSpace, SearchSpaceError, Start, Value, load_space
from search_spaces.expressions import parse_rule
from tests.counting import calls
from tests.spaces import configurations

NUMBERS = Parameter("LR", (0.01, 0.02, 0.04))
TUPLES = Parameter("BETAS", ((0.8, 0.95), (0.9, 0.95)))
TEXTS = Parameter("PATTERN", ("L", "SSSL"))
FLAGS = Parameter("FLAG", (True, False))


def space(*parameters: Parameter, rules: tuple[str, ...] = ()) -> SearchSpace:
    return SearchSpace("test", "x/test.toml", parameters, tuple(parse_rule(rule, "because") for rule in rules))


@pytest.mark.parametrize(
    ("choices", "ordered"),
    [
        ((1, 2, 3), True), ((3.0, 2.0, 0.5), True), ((1, 3, 2), False), ((1, 2), False), (("a", "b", "c"), False),
        ((True, False), False), (((1, 2), (2, 3), (3, 4)), False),
    ],
)  # fmt: skip
def test_three_or_more_rising_or_falling_numbers_have_an_order(choices: tuple[Value, ...], ordered: bool) -> None:
    assert Parameter("P", choices).ordered is ordered


@pytest.mark.parametrize("parameter", [NUMBERS, TUPLES, TEXTS, FLAGS], ids=lambda p: p.name)
def test_every_choice_survives_encoding(parameter: Parameter) -> None:
    assert len(set(parameter.stored_choices)) == len(parameter.choices)
    for choice, stored in zip(parameter.choices, parameter.stored_choices, strict=True):
        assert isinstance(stored, bool | int | float | str)
        assert parameter.encode(choice) == stored
        assert parameter.decode(stored) is choice


def test_an_equal_value_is_encoded_as_the_choice_it_equals() -> None:
    assert Parameter("B", ((0, 1), (2, 3))).encode((0.0, 1.0)) == "(0, 1)"


def test_a_value_that_is_no_choice_is_refused_by_name() -> None:
    for act in (TUPLES.encode, TUPLES.decode):
        with pytest.raises(SearchSpaceError, match=r"BETAS: .* is none of its choices: \(0.8, 0.95\), \(0.9, 0.95\)"):
            act("__import__('os')")


def test_true_is_not_one() -> None:
    assert True not in Parameter("P", (0, 1))
    assert 1 not in FLAGS
    assert 1.0 in Parameter("P", (0, 1))


def test_a_space_contains_whole_configurations_only() -> None:
    both = space(NUMBERS, TEXTS)
    assert both.contains({"LR": 0.02, "PATTERN": "L"})
    assert not both.contains({"LR": 0.02})
    assert not both.contains({"LR": 0.02, "PATTERN": "L", "DEPTH": 3})
    assert not both.contains({"LR": 0.03, "PATTERN": "L"})


def test_the_size_counts_every_configuration() -> None:
    both = space(TEXTS, NUMBERS)
    every = list(configurations(both))
    assert len(every) == both.size == 6
    assert all(map(both.contains, every))


def test_a_parameter_is_found_by_name() -> None:
    assert space(NUMBERS, TEXTS)["PATTERN"] is TEXTS
    with pytest.raises(SearchSpaceError, match=r"x/test.toml: DEPTH: no such parameter"):
        space(NUMBERS)["DEPTH"]


def test_broken_rules_are_named_and_constants_may_be_used() -> None:
    tied = space(NUMBERS, TEXTS, rules=("LR < LIMIT", "PATTERN == 'L'"))
    assert [rule.text for rule in tied.broken_rules({"LR": 0.04, "PATTERN": "L"}, {"LIMIT": 0.03})] == ["LR < LIMIT"]
    assert tied.feasible({"LR": 0.02, "PATTERN": "L"}, {"LIMIT": 0.03})
    assert tied.unknown_names({}) == ("LIMIT",)
    assert tied.unknown_names({"LIMIT": 0.03}) == ()


def test_a_rule_that_divides_by_zero_is_our_error() -> None:
    with pytest.raises(SearchSpaceError, match="divides by zero"):
        space(Parameter("A", (0, 1)), rules=("1 / A > 0",)).count_feasible({})


def test_the_tutorials_space_has_two_dead_choices_and_half_of_it_is_feasible() -> None:
    colab, constants = load_space("colab"), {"MAX_SEQ_LEN": 512}
    assert colab.size == 279_936
    assert colab.count_feasible(constants) == 139_968
    assert colab.dead_choices(constants) == (("DEVICE_BATCH_SIZE", 12), ("DEVICE_BATCH_SIZE", 24))


def test_billions_of_configurations_are_counted_at_once() -> None:
    h100 = load_space("h100")
    assert h100.size == 5_906_250_000 * 6 // 5 * 36_864  # and the eight constants that experts change
    # 14 of 20 pairs of batch sizes, 40 of 42 of depth and pattern
    assert h100.count_feasible({"MAX_SEQ_LEN": 2048}) == h100.size * 14 * 40 // (20 * 42)
    assert calls(lambda: h100.count_feasible({"MAX_SEQ_LEN": 2048})) < 6_000


def test_what_is_too_large_to_count_is_not_guessed() -> None:
    parameters = [Parameter(f"P{i}", tuple(range(10))) for i in range(9)]
    huge = space(*parameters, Parameter("Q", (1, 2)), rules=(" + ".join(p.name for p in parameters) + " > 3", "Q == 1"))
    assert huge.count_feasible({}) is None
    assert huge.dead_choices({}) == (("Q", 2),)


def test_rules_that_contradict_each_other_leave_nothing() -> None:
    empty = space(Parameter("A", (1, 2)), TEXTS, rules=("A > 1", "A < 2"))
    assert empty.count_feasible({}) == 0
    assert empty.dead_choices({}) == (("A", 1), ("A", 2))


names = st.sampled_from("ABCD")
small_rules = st.lists(
    st.tuples(
        names, st.sampled_from(["%", "+", "*"]), names, st.sampled_from(["==", "<", "!="]), st.integers(0, 4)
    ).map(lambda t: f"{t[0]} {t[1]} {t[2]} {t[3]} {t[4]}"),
    max_size=4,
)
small_choices = st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=4, unique=True), min_size=4, max_size=4)


@settings(max_examples=100, deadline=None)
@given(small_choices, small_rules)
def test_counting_by_groups_agrees_with_trying_everything(choices: list[list[int]], rules: list[str]) -> None:
    tested = space(*(Parameter(n, tuple(c)) for n, c in zip("ABCD", choices, strict=True)), rules=tuple(rules))
    feasible = [params for params in configurations(tested) if tested.feasible(params, {})]
    assert tested.count_feasible({}) == len(feasible)
    if feasible:
        alive = {item for params in feasible for item in params.items()}
        everything = [(p.name, choice) for p in tested.parameters for choice in p.choices]
        assert list(tested.dead_choices({})) == [item for item in everything if item not in alive]


@pytest.mark.parametrize(
    ("parameter", "value", "nearest"),
    [
        (NUMBERS, 0.029, 0.04),  # by ratio: nearer to 0.04 than to 0.02
        (NUMBERS, 9, 0.04),
        (NUMBERS, -1, 0.01),
        (NUMBERS, 10**400, 0.04),
        (NUMBERS, 0.02, 0.02),
        (Parameter("WD", (0.0, 0.1, 0.2)), 0.062, 0.1),  # by difference: a choice is 0
        (Parameter("N", (65536, 131072)), 100_000, 131072),
        (TUPLES, (0.87, 0.96), (0.9, 0.95)),
        (TEXTS, "SSSL", "SSSL"),
    ],
)
def test_the_nearest_choice(parameter: Parameter, value: Value, nearest: Value) -> None:
    assert parameter.nearest(value) == nearest


def test_snapping_says_what_it_moved() -> None:
    params, moved = space(NUMBERS, TEXTS, FLAGS).nearest({"LR": 0.011, "PATTERN": "L"})
    assert params == {"LR": 0.01, "PATTERN": "L"}  # what is missing stays missing
    assert list(map(str, moved)) == ["LR 0.011 -> 0.01"]


def test_snapping_reports_everything_that_has_no_nearest_choice() -> None:
    with pytest.raises(SearchSpaceError) as caught:
        space(NUMBERS, TEXTS, TUPLES).nearest({"LR": "fast", "PATTERN": "LLLL", "DEPTH": 3, "BETAS": (0.8,)})
    assert [line.split(": ")[-3 if "choices" in line else 1] for line in caught.value.problems] == [
        "LR", "PATTERN", "DEPTH", "BETAS",
    ]  # fmt: skip


BATCH, TOTAL = Parameter("BATCH", (8, 16, 32, 64)), Parameter("TOTAL", (1024, 2048, 4096, 8192))
WHOLE_BATCHES = "TOTAL % (BATCH * LENGTH) == 0"


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ({"BATCH": 16, "TOTAL": 4096}, {"BATCH": 16, "TOTAL": 4096}),  # nothing to move
        ({"BATCH": 17, "TOTAL": 4100}, {"BATCH": 16, "TOTAL": 4096}),  # the nearest keep the rule
        ({"BATCH": 31, "TOTAL": 4096}, {"BATCH": 16, "TOTAL": 4096}),  # 32 would break it; TOTAL 8192 is further
        ({"BATCH": 33, "TOTAL": 4100}, {"BATCH": 32, "TOTAL": 8192}),  # the other way round
        ({"BATCH": 23, "TOTAL": 7000}, {"BATCH": 32, "TOTAL": 8192}),
        ({"BATCH": 64, "TOTAL": 1024}, None),  # four choices away
    ],
)
def test_the_nearest_that_keeps_every_rule(given: dict[str, Value], nearest: dict[str, Value] | None) -> None:
    tied = space(BATCH, TOTAL, TEXTS, rules=(WHOLE_BATCHES, "PATTERN != 'none'"))
    found = tied.nearest_feasible({**given, "PATTERN": "SSSL"}, {"LENGTH": 256})
    assert found == (None if nearest is None else {**nearest, "PATTERN": "SSSL"})


def test_text_is_never_moved_to_keep_a_rule() -> None:
    tied = space(TEXTS, FLAGS, rules=("PATTERN == 'L'",))
    assert tied.nearest_feasible({"PATTERN": "SSSL", "FLAG": True}, {}) is None
    assert tied.nearest_feasible({"PATTERN": "L", "FLAG": True}, {}) == {"PATTERN": "L", "FLAG": True}


def test_where_a_rule_cannot_be_computed_nothing_is_feasible() -> None:
    tied = space(Parameter("A", (0, 1, 2)), rules=("1 // A == 1",))
    assert tied.nearest_feasible({"A": 0}, {}) == {"A": 1}


@settings(max_examples=100, deadline=None)
@given(small_choices, small_rules, st.lists(st.floats(0.5, 7.0), min_size=4, max_size=4))
def test_no_nearer_configuration_keeps_every_rule(choices: list[list[int]], rules: list[str], at: list[float]) -> None:
    tested = space(*(Parameter(n, tuple(c)) for n, c in zip("ABCD", choices, strict=True)), rules=tuple(rules))
    given_: dict[str, Value] = dict(zip("ABCD", at, strict=True))

    def away(params: dict[str, Value]) -> int:
        return sum([c for _, c in p.by_distance(given_[p.name])].index(params[p.name]) for p in tested.parameters)

    found = tested.nearest_feasible(given_, {})
    least = min((away(params) for params in configurations(tested) if tested.feasible(params, {})), default=99)
    assert (found is None) == (least > 3)
    if found is not None:
        assert tested.feasible(found, {})
        assert away(found) == least


def test_the_fingerprint_covers_choices_their_order_and_rules_and_nothing_else() -> None:
    base = space(NUMBERS, TEXTS, rules=("LR < 1",))
    start = (Start({"LR": 0.02}, "somewhere"),)
    same = [
        space(TEXTS, NUMBERS, rules=("LR < 1",)),
        SearchSpace("other", "y.toml", base.parameters, (parse_rule("LR < 1", "another reason"),), start),
    ]
    other = [
        space(NUMBERS, TEXTS),
        space(NUMBERS, TEXTS, rules=("LR < 2",)),
        space(Parameter("LR", NUMBERS.choices[::-1]), TEXTS, rules=("LR < 1",)),
        space(Parameter("LR", (0.01, 0.02, 0.05)), TEXTS, rules=("LR < 1",)),
        space(Parameter("MLR", NUMBERS.choices), TEXTS, rules=("LR < 1",)),
        space(NUMBERS, TEXTS, FLAGS, rules=("LR < 1",)),
    ]
    assert {s.fingerprint() for s in same} == {base.fingerprint()}
    assert base.fingerprint() not in {s.fingerprint() for s in other}
    assert len({s.fingerprint() for s in other}) == len(other)


def test_the_fingerprint_is_the_same_on_every_machine_and_version() -> None:
    assert space(NUMBERS, TUPLES, rules=("LR < 1",)).fingerprint() == "8b3ae31b4507b091"


def test_a_space_can_be_pickled_and_hashed() -> None:
    h100 = load_space("h100")
    assert pickle.loads(pickle.dumps(h100)) == h100
    assert hash(h100) == hash(load_space("h100"))


def test_size_is_the_product_of_the_choices() -> None:
    cpu = load_space("cpu")
    assert cpu.size == math.prod(len(parameter.choices) for parameter in cpu.parameters)
