"""A study decides as its policy does: real studies over the simulated executor end as the walk of the policy alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("verdict")
    for name in [name for name in sys.modules if name == "verdict" or name.startswith("verdict_")]:
        del sys.modules[name]


def test_real_studies_end_as_the_policy_alone_does(verdict: ModuleType) -> None:
    worlds = verdict.equal(gain=3.0), verdict.worse(10, gain=4.0, failing=0.2), verdict.equal("stray")
    for make, trainings, studies in zip(worlds, (40, 20, 20), (1, 2, 1), strict=True):
        found, differing = verdict.driven(make, trainings, studies, seed=5)
        assert found == verdict.walk(make, trainings, studies, seed=5)
        assert differing == 0


def test_the_last_trial_of_a_search_says_something_of_the_verdict_as_well(verdict: ModuleType, tmp_path: Path) -> None:
    *_, rng = verdict.worlds(20, 110, 1)
    world = verdict.equal(gain=2.5)(rng, 20)  # confirmed before the last trial, and no longer after it
    walk = verdict.Walk(world, 20)
    assert walk.run().best is None
    driving = importlib.import_module("verdict_driving")
    found = driving.drive(driving.plan_in(tmp_path), "s", world.value, 20)
    assert (found.best, found.ever) == (None, walk.ever) == (None, {world.better})
