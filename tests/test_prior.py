"""`--prior`: what did well in related tasks is searched first, believed as far as trials bear it out, and never a result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from optimize.errors import SettingsError, StudyError
from optimize.search import Prior, decode_prior, open_sampler, prior_source
from optimize.search.guided import FORGOTTEN, GuidedCmaEs
from optimize.search.prior import FEWEST, KEPT
from optimize.study.prior import PRIOR, describe_prior, unknown_prior
from optimize.trial import Value
from search_spaces import Parameter, SearchSpace
from tests.conftest import Driver
from tests.transfers import nothing_changes, records, run_with_endings

NAMES = tuple(f"X{i}" for i in range(8))
CUBE = SearchSpace(
    "cube", "cube.toml", (*(Parameter(n, (1, 2, 3, 4, 5)) for n in NAMES), Parameter("KIND", ("a", "b", "c")))
)
BASELINE: Mapping[str, Value] = {**dict.fromkeys(NAMES, 5), "KIND": "a"}


def loss(params: Mapping[str, Value], best: int = 2, kind: str = "b") -> float:
    away = [abs(int(str(params[name])) - best) for name in NAMES]
    return sum(each**1.5 for each in away) + 4 * (params["KIND"] != kind)


def related(rows: int, seed: int = 0, *, good: bool = True) -> list[tuple[float, Mapping[str, Value]]]:
    """Random trials of a task whose optimum is a step away on half of the parameters; `good`: ranked as they did there."""
    sampler, found = open_sampler("random", CUBE, {}, seed=seed), []
    for number in range(rows):
        params = sampler.propose()
        sampler.started(number, params)
        moved = {**params, **{name: int(str(params[name])) - 1 for name in NAMES[::2]}}
        found.append(((1 if good else -1) * loss(moved), params))
    return sorted(found, key=lambda each: each[0])


def prior_of(*sources: list[tuple[float, Mapping[str, Value]]]) -> Prior:
    made = [prior_source(f"s{i}", ranked) for i, ranked in enumerate(sources)]
    return tuple(source for source in made if source)


def best_after(trials: int, prior: Prior, seed: int) -> list[float]:
    sampler, found = open_sampler("auto", CUBE, {}, seed=seed, prior=prior), []
    for number in range(trials):
        params = BASELINE if number == 0 else sampler.propose()
        sampler.started(number, params)
        found.append(loss(params))
        sampler.finished(number, "COMPLETE", found[-1])
    return list(np.minimum.accumulate(found))


def mean_of(trials: int, prior: Prior) -> np.ndarray:
    return np.mean([best_after(trials, prior, seed) for seed in range(20)], axis=0)


def test_a_good_prior_saves_a_quarter_of_the_trials_and_a_wrong_one_costs_few() -> None:
    cold = mean_of(24, ())
    good, wrong = mean_of(24, prior_of(related(60))), mean_of(24, prior_of(related(60, good=False)))
    assert good[5] <= cold[12]
    assert good[17] <= cold[21]
    assert good[23] <= cold[23]
    assert wrong[23] <= cold[15]


def test_a_wrong_prior_is_forgotten_after_its_first_proposal() -> None:
    """From then on it proposes what a search without a prior would, which knows the same two trials."""
    wrong, cold = (open_sampler("auto", CUBE, {}, seed=1, prior=p) for p in (prior_of(related(60, good=False)), ()))
    for number in range(20):
        params = wrong.propose() if number else {**BASELINE, **dict.fromkeys(NAMES, 3)}
        if number > 1:
            assert cold.propose() == params
        for sampler in (wrong, cold):
            sampler.started(number, params)
            sampler.finished(number, "COMPLETE", loss(params))
    assert wrong.summaries() == ["prior: believed after 20 trials: s0 0 %, fading since trial 6"]


def test_of_contradicting_sources_the_one_that_the_trials_bear_out_is_believed() -> None:
    prior = prior_of(related(60, good=False), related(60, seed=1))
    sampler = open_sampler("auto", CUBE, {}, seed=0, prior=prior)
    for number in range(12):
        params = BASELINE if number == 0 else sampler.propose()
        sampler.started(number, params)
        sampler.finished(number, "COMPLETE", loss(params))
    (line,) = sampler.summaries()
    wrong, right = (int(part.split()[-2]) for part in line.partition("12 trials: ")[2].split(", ")[:2])
    assert wrong < right
    assert right > 30


def test_a_prior_fades_until_the_search_is_one_without() -> None:
    learner = open_sampler("auto", CUBE, {}, seed=0, prior=prior_of(related(20)))._learner
    assert isinstance(learner, GuidedCmaEs)
    trust = []
    for number, (value, params) in enumerate(related(400, seed=3)):
        point = learner._lattice.point(params)
        assert point is not None
        learner.learned(number, point, value)
        if number % 100 == 99:
            learner._refresh()
            trust.append(learner._trust())
    assert trust == sorted(trust, reverse=True)
    assert trust[-1] < FORGOTTEN


def test_ranks_are_kept_and_values_are_not() -> None:
    ranked = related(250)
    source = prior_source("s", ranked, ["X3"])
    assert source == prior_source("s", [(4 * value, params) for value, params in ranked], ["X3"])
    assert source is not None
    assert len(source.rows) == KEPT
    assert list(source.scores) == sorted(source.scores)
    (kept,) = decode_prior([source.encode(CUBE)], CUBE)
    assert (kept.rows, kept.unnamed, kept.name) == (source.rows, source.unnamed, "s")
    assert kept.scores == pytest.approx(source.scores, abs=1e-4)


def test_few_configurations_are_the_best_of_more() -> None:
    one, many = prior_source("s", related(1)), prior_source("s", related(FEWEST))
    assert one is not None
    assert many is not None
    assert one.scores[0] == many.scores[0] < 0 < one.elsewhere
    assert many.elsewhere == 0


@pytest.mark.parametrize("stored", [None, 3, {}, [3], [{}], [{"name": "s", "params": ["Q"], "rows": [[1]]}]])
def test_what_another_program_wrote_is_no_prior(stored: object) -> None:
    assert decode_prior(stored, CUBE) == ()


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(driver: Driver) -> Driver:
    """A driver whose study `s` has been run, and whose study `new` begins with it as its prior."""
    driver.once("prior-source", lambda: run_with_endings(driver, 12, {}))
    driver.set(study="new", prior=("s",), constants={"SIZE": 16}, sampler="auto")
    return driver


def test_a_study_keeps_its_prior_and_goes_on_with_it(known: Driver) -> None:
    best = min(
        (r for r in records(known, "s") if r.value is not None and r.kind != "baseline"), key=lambda r: r.value or 0
    )
    known.run(trials=2)
    with known.database() as database:
        kept = database.study_attrs(database.find_study("new") or 0)[PRIOR]
    assert kept["sources"] == ["s"]
    assert known.said[0].startswith("--prior s: 12 configurations of use: the search begins where the best of them lie")
    assert [record.kind for record in records(known, "new")] == ["baseline", "sampler"]
    assert records(known, "new")[1].params == best.params
    known.set(prior=())
    asked = []
    for _ in range(2):  # reopened, with nothing tried in between
        with known.open() as study:
            assert study.summaries()[0].startswith("prior: believed after 2 trials: s ")
            asked.append(study._sampler.preview())
    assert asked[0] == asked[1] is not None
    known.set(prior=("s",))
    assert describe_prior(known.plan) == ["study new: it began with the prior s and goes on"]
    known.set(prior=("other",))
    with pytest.raises(StudyError, match=r"the study exists and began with s\. Leave --prior out"):
        describe_prior(known.plan)


HEAD = "val_bpb,X,Y\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "val_bpb,Q\n0.9,2\n0.8,3\n",
            "nothing in it is of use: it has no configuration with a value; not: 2 name no parameter",
        ),
        (
            f"{HEAD}nan,2,0.25\n,1,0.5\n",
            "nothing in it is of use: it has no configuration with a value; not: 2 not complete",
        ),
        (
            f"{HEAD}0.9,2,0.25\n0.9,1,0.25\n",
            "nothing in it is of use: the values of its 2 configurations are all equal",
        ),
        (
            f"{HEAD}0.9,2,0.25\n",
            "1 configuration of use: the search begins where the best of them lie; it says nothing of PAIR",
        ),
        (
            f"{HEAD}0.9,2,0.25\n0.8,2,0.25\n",
            "1 configuration of use: the search begins where the best of them lie; it says nothing",
        ),
        (
            "val_bpb,X,Q,Z\n0.9,2,7,a\n0.8,1,8,b\n",
            "2 configurations of use: the search begins where the best of them lie",
        ),
    ],
    ids=["another space", "failures only", "all equal", "one row", "contradicting itself", "foreign columns"],
)
def test_a_line_says_what_of_a_prior_is_of_use_and_the_study_runs(driver: Driver, text: str, said: str) -> None:
    path = driver.folder / "a.csv"
    path.write_text(text)
    driver.set(prior=(str(path),), sampler="auto")
    with nothing_changes(driver):
        (line,) = describe_prior(driver.plan)
    assert line.startswith(f"--prior {path}: {said}")
    driver.run(trials=3)
    assert line in driver.said
    assert len(records(driver, driver.settings.study)) == 3


def test_all_that_is_wrong_with_priors_is_told_before_anything_is_made(known: Driver, tmp_path: Path) -> None:
    known.set(prior=("s", "nothing", str(tmp_path / "no.csv")), sampler="tpe")
    lines = unknown_prior(known.settings)
    assert [line.split(": ")[1] for line in lines] == [
        "the sampler tpe takes none. Use --sampler auto, or leave --prior out.",
        "there is no such study. There are",
        "does not exist. Check the path; a study is named without a slash.",
    ]
    known.set(runs=tmp_path / "none")  # without a database
    assert [line.split(": ")[1] for line in unknown_prior(known.settings)][1:] == [
        "there is no such study",
        "there is no such study",
        "does not exist. Check the path; a study is named without a slash.",
    ]
    path = tmp_path / "a.csv"
    path.write_text("X,Y\n1,2\n")
    known.set(prior=(str(path),), sampler="auto")
    with pytest.raises(SettingsError, match="has neither val_bpb nor value"):
        describe_prior(known.plan)
