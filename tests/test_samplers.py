"""Every sampler on offer, by the law that the decorator gives them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.errors import SettingsError, SpaceExhausted, StudyError
from optimize.search.samplers import SAMPLERS, Past, Sampler, open_sampler, unfit
from optimize.trial import Value
from search_spaces import SearchSpace, parse_space
from tests.spaces import configurations

needs_scipy = pytest.mark.skipif(find_spec("scipy") is None, reason="scipy is not installed")
GP = pytest.param("gp", marks=[pytest.mark.slow, needs_scipy])
QMC = pytest.param("qmc", marks=needs_scipy)
EVERY = ["auto", "tpe", "cmaes", GP, "random", QMC, "grid"]
LEARNING = ["auto", "cmaes", pytest.param("tpe", marks=pytest.mark.slow), GP]

SMALL = parse_space(
    """
    [parameters]
    BATCH = [1, 2, 3, 4]
    BETAS = [[0.8, 0.95], [0.9, 0.95]]
    BIAS = [true, false]
    [[rules]]
    rule = "SIZE % BATCH == 0"
    why = "whole batches"
    """,
    "small.toml",
)
LARGE = parse_space(
    """
    [parameters]
    DEPTH = [1, 2, 3, 4, 5, 6]
    WIDTH = [32, 64, 96, 128]
    RATE = [0.01, 0.02, 0.04, 0.08, 0.16]
    DECAY = [0.0, 0.1, 0.2, 0.4]
    PATTERN = ["L", "SL", "SSL", "SSSL"]
    BETAS = [[0.8, 0.95], [0.9, 0.95]]
    [[rules]]
    rule = "DEPTH * WIDTH <= LIMIT"
    why = "memory"
    """,
    "large.toml",
)
CONSTANTS: Mapping[str, Value] = {"SIZE": 12, "LIMIT": 500}

Result = tuple[str, float | None]


def number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)


def bowl(params: Mapping[str, Value]) -> float:
    """Best at DEPTH 4, RATE 0.04, PATTERN SL; the rest matters little."""
    rate = abs(number(params["RATE"]) - 0.04) * 10
    return abs(number(params["DEPTH"]) - 4) + rate + (params["PATTERN"] != "SL") + number(params["DECAY"])


def good(params: Mapping[str, Value]) -> Result:
    return "COMPLETE", bowl(params)


def start(name: str, space: SearchSpace = LARGE, seed: int | None = 0) -> Sampler:
    return open_sampler(name, space, CONSTANTS, seed=seed)


def run(
    sampler: Sampler, trials: int, end: Callable[[Mapping[str, Value]], Result] = good, first: int = 0
) -> list[dict[str, Value]]:
    """What it proposes, one after the other."""
    proposed = []
    for trial in range(first, first + trials):
        params = sampler.propose()
        sampler.started(trial, params)
        sampler.finished(trial, *end(params))
        proposed.append(params)
    return proposed


def history(proposed: list[dict[str, Value]]) -> list[Past]:
    return [Past(number, params, *good(params)) for number, params in enumerate(proposed)]


def key(params: Mapping[str, Value]) -> str:
    return repr(sorted(params.items()))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_with_four_running_nothing_infeasible_seen_or_running_is_proposed(name: str) -> None:
    sampler, seen, running = start(name), set(), []
    for trial in range(24 if name == "gp" else 40):
        params = sampler.propose()
        assert LARGE.contains(params)
        assert LARGE.feasible(params, CONSTANTS)
        assert key(params) not in seen
        seen.add(key(params))
        sampler.started(trial, params)
        running.append((trial, params))
        if len(running) == 4:
            ended, of = running.pop(trial % 4)
            sampler.finished(ended, *[("PRUNED", None), ("FAIL", None), good(of)][min(trial % 6, 2)])


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_small_space_is_tried_exactly_once_and_then_the_sampler_says_so(name: str) -> None:
    sampler = start(name, SMALL)
    proposed = {key(p) for p in run(sampler, 16, lambda p: ("COMPLETE", number(p["BATCH"])))}
    assert len(proposed) == 16
    for _ in range(2):
        with pytest.raises(SpaceExhausted, match="all 16 feasible configurations have been tried"):
            sampler.propose()


@pytest.mark.parametrize("name", ["auto", "tpe", "random", "grid"])
def test_proposals_that_are_not_started_are_not_used_up(name: str) -> None:
    sampler, proposed = start(name, SMALL), set()
    for trial in range(16):
        for _ in range(3):
            params = sampler.propose()
        sampler.started(trial, params)
        proposed.add(key(params))
    assert len(proposed) == 16


@pytest.mark.parametrize("name", EVERY)
def test_the_same_seed_and_history_give_the_same_proposals(name: str) -> None:
    assert run(start(name), 20) == run(start(name), 20)


@pytest.mark.parametrize("name", ["auto", "tpe", "cmaes", "random", QMC])
@pytest.mark.parametrize("seed", [1, None])
def test_another_seed_or_none_gives_other_proposals(name: str, seed: int | None) -> None:
    assert run(start(name), 6) != run(start(name, seed=seed), 6)


@pytest.mark.parametrize("name", ["auto", "tpe", "cmaes", GP, "random"])
def test_a_reopened_study_does_not_draw_its_first_random_numbers_again(name: str) -> None:
    first = run(start(name), 12)
    reopened = start(name)
    reopened.replay(history(run(start("random", seed=7), 3)))
    assert not {key(p) for p in run(reopened, 6, first=3)} & {key(p) for p in first[:6]}


@pytest.mark.parametrize("name", EVERY)
def test_a_reopened_study_goes_on_without_repeats_and_always_alike(name: str) -> None:
    first = run(start(name), 12)
    reopened, again = start(name), start(name)
    for sampler in (reopened, again):
        sampler.replay(reversed(history(first)))
    second = run(reopened, 8, first=12)
    assert second == run(again, 8, first=12)
    assert len({key(p) for p in first + second}) == 20


@pytest.mark.parametrize("name", [QMC, "grid"])
def test_a_sequence_is_the_same_whether_interrupted_or_not(name: str) -> None:
    whole = run(start(name), 20)
    reopened = start(name)
    reopened.replay(history(whole[:9]))
    assert run(reopened, 11, first=9) == whole[9:]


@pytest.mark.parametrize(("name", "trials"), [("auto", 12), ("cmaes", 60)])
def test_what_was_learned_before_a_restart_is_not_forgotten(name: str, trials: int) -> None:
    first = run(start(name), trials)
    reopened = start(name)
    reopened.replay(history(first))
    later = run(reopened, 12, first=trials)
    assert sum(map(bowl, later)) / 12 < sum(map(bowl, first[:12])) / 12 - 0.3


FATAL = [
    pytest.param(name, fatal, marks=[] if name in ("auto", "cmaes") else pytest.mark.slow)
    for name in ("auto", "cmaes", "tpe")
    for fatal in (("PATTERN", "SL"), ("WIDTH", 64))
]


@pytest.mark.parametrize(
    ("name", "fatal"), [*FATAL, pytest.param("gp", ("PATTERN", "SL"), marks=[pytest.mark.slow, needs_scipy])]
)
def test_one_of_four_choices_that_always_diverges_is_soon_hardly_ever_proposed(
    name: str, fatal: tuple[str, Value]
) -> None:
    def end(params: Mapping[str, Value]) -> Result:
        return ("PRUNED", None) if fatal in params.items() else good(params)

    trials = 24 if name == "gp" else 100  # it is slow, and learns sooner
    proposed = run(start(name), trials, end)
    assert sum(fatal in params.items() for params in proposed[-50:][-trials // 2 :]) < 5


@pytest.mark.parametrize("name", LEARNING)
def test_learning_samplers_find_an_ordered_optimum_better_than_random(name: str) -> None:
    seeds, trials = (range(1), 26) if name == "gp" else (range(3), 40)  # it is slow

    def late(which: str) -> float:
        return sum(bowl(p) for seed in seeds for p in run(start(which, seed=seed), trials)[-15:])

    assert late(name) < 0.75 * late("random")


@pytest.mark.parametrize("name", ["auto", "tpe"])
def test_maximizing_is_minimizing_the_negative(name: str) -> None:
    upwards = open_sampler(name, LARGE, CONSTANTS, seed=0, direction="maximize")
    assert run(upwards, 20, lambda p: ("COMPLETE", -bowl(p))) == run(start(name), 20)


@pytest.mark.parametrize("name", ["auto", "cmaes", "random"])
def test_a_failure_of_the_world_teaches_nothing_and_is_not_proposed_again(name: str) -> None:
    failed, seen = start(name), start(name)
    proposed = run(failed, 8)
    assert run(seen, 8) == proposed
    failed.started(8, params := failed.propose())
    assert seen.propose() == params
    seen._chooser.saw(params)
    failed.finished(8, "FAIL", None)
    assert run(failed, 8, first=9) == (rest := run(seen, 8, first=9))
    assert params not in rest


def test_a_value_that_is_no_number_counts_as_bad_parameters() -> None:
    nan, bad = ("COMPLETE", float("nan")), ("PRUNED", None)
    assert run(start("auto"), 20, lambda params: nan) == run(start("auto"), 20, lambda params: bad)


def test_settings_that_build_the_same_run_are_one() -> None:
    sampler = open_sampler("random", SMALL, CONSTANTS, seed=0, identity=lambda p: (p["BATCH"], p["BETAS"]))
    proposed = run(sampler, 8, lambda p: ("COMPLETE", 1.0))
    assert len({(p["BATCH"], p["BETAS"]) for p in proposed}) == 8
    with pytest.raises(SpaceExhausted):
        sampler.propose()


def test_a_trial_still_running_when_the_study_is_reopened_can_end_later() -> None:
    finished, open_ended = start("auto"), start("auto")
    past = history(run(start("random"), 8))
    finished.replay(past)
    open_ended.replay([*past[:7], Past(7, past[7].params, "RUNNING")])
    open_ended.finished(7, past[7].state, past[7].value)
    assert run(finished, 5, first=8) == run(open_ended, 5, first=8)


def test_trials_of_an_older_space_and_ends_of_strangers_are_survived() -> None:
    sampler = start("auto")
    sampler.replay([Past(0, {"DEPTH": 99}, "COMPLETE", 1.0), Past(1, {**LARGE_FIRST, "DEPTH": 99}, "PRUNED")])
    sampler.finished(41, "COMPLETE", 1.0)
    assert len(run(sampler, 5, first=2)) == 5


LARGE_FIRST = next(configurations(LARGE))


def test_a_grid_that_is_stopped_early_has_visited_every_choice() -> None:
    proposed = run(start("grid"), 24)
    for parameter in LARGE.parameters:
        assert {p[parameter.name] for p in proposed} == set(parameter.choices)


def test_a_sampler_that_cannot_serve_says_which_and_why_in_one_line() -> None:
    unordered = parse_space('[parameters]\nA = ["x", "y"]\nB = [1, 2]', "unordered.toml")
    with pytest.raises(SettingsError, match=r"--sampler cmaes: no parameter of unordered\.toml is ordered") as caught:
        open_sampler("cmaes", unordered, {}, seed=0)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"'magic' is not on offer. Use .*grid\.$"):
        open_sampler("magic", unordered, {}, seed=0)
    assert len(run(open_sampler("auto", unordered, {}, seed=0), 4, lambda p: ("COMPLETE", 1.0))) == 4


def test_a_sampler_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.search.samplers.find_spec", lambda name: None)
    assert unfit("gp", LARGE) == "--sampler gp: needs torch. Run `pip install 'torch>=2.6'`, or use auto."
    assert unfit("auto", LARGE) == ""


def test_importing_and_using_the_default_loads_no_heavy_package() -> None:
    code = (
        "import sys; from optimize.search.samplers import open_sampler; assert 'numpy' not in sys.modules;"
        "from search_spaces import load_space; space = load_space('h100');"
        "open_sampler('auto', space, {'MAX_SEQ_LEN': 2048, 'SHORT_WINDOW_RATIO': 0.5}, seed=0).propose();"
        "print(sorted({'optuna', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


NAMES = ("A", "B", "C", "D")
TUPLES: tuple[Value, ...] = ((1, 2), (1, 3), (2, 3))
choice_lists = st.one_of(
    st.lists(st.integers(1, 9), min_size=2, max_size=4, unique=True),
    st.just([3, 2, 1]),
    st.lists(st.sampled_from(["x", "y", "z"]), min_size=2, max_size=3, unique=True),
)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to four parameters, and rules on the numeric ones."""
    lists = draw(st.lists(choice_lists, min_size=1, max_size=4))
    numeric = [name for name, choices in zip(NAMES, lists, strict=False) if isinstance(choices[0], int)]
    operands = st.sampled_from([*numeric, "1", "4", "7"])
    rule = st.tuples(operands, st.sampled_from(["+", "*", "-", "%"]), operands, st.sampled_from(["<", ">=", "!="]))
    rules = draw(st.lists(rule, max_size=2)) if numeric else []
    text = "[parameters]\nT = [[1, 2], [1, 3], [2, 3]]\n"
    text += "".join(f"{name} = {choices!r}\n".replace("'", '"') for name, choices in zip(NAMES, lists, strict=False))
    for left, operator, right, comparison in rules:
        text += f'[[rules]]\nrule = "{numeric[0]} > 0 and {left} {operator} {right} {comparison} 4"\nwhy = "chance"\n'
    return parse_space(text, "random.toml")


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    space=spaces(), name=st.sampled_from([name for name in SAMPLERS if name not in ("gp", "qmc")]), seed=st.integers()
)
def test_whatever_the_space_proposals_are_feasible_unseen_and_none_is_left_out(
    space: SearchSpace, name: str, seed: int
) -> None:
    if unfit(name, space):
        return
    sampler, rng = open_sampler(name, space, {}, seed=seed), random.Random(seed)
    left = {key(p): p for p in configurations(space) if space.feasible(p, {})}
    if not left:
        with pytest.raises(StudyError, match="feasible"):
            sampler.propose()
        return
    for trial in range(min(len(left), 30)):
        params = sampler.propose()
        assert left.pop(key(params)) == params
        assert params["T"] in TUPLES
        sampler.started(trial, params)
        sampler.finished(trial, *rng.choice([("COMPLETE", rng.random()), ("PRUNED", None), ("FAIL", None)]))
    if not left:
        with pytest.raises(SpaceExhausted):
            sampler.propose()
