"""What the benchmark of real training counts, and the file that it plays back."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    with mock.patch.dict(os.environ):  # benchmarks keep this process to one thread
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def figures(load) -> ModuleType:  # type: ignore[no-untyped-def]
    return load("real_figures")


@pytest.fixture
def trainings(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:  # type: ignore[no-untyped-def]
    module = load("trainings")
    monkeypatch.setattr(module, "FILE", tmp_path / "trainings.jsonl.gz")
    return module


def falling(seeds: int, rng: np.random.Generator) -> np.ndarray:
    return np.minimum.accumulate(rng.normal(2.0, 0.1, size=(seeds, 400)), axis=1)


@pytest.mark.parametrize("seeds", [3, 8, 16, 33])
def test_a_search_needs_what_it_needs_itself(figures: ModuleType, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    curves = falling(seeds, rng)
    found = figures.ratio_at(20, curves, curves, rng)
    assert found.ratio == 1
    assert (found.resampled == 1).all()
    assert found.trainings <= 20


def test_a_faster_search_shows_and_swaps_do_not(figures: ModuleType) -> None:
    rng = np.random.default_rng(0)
    slow = np.linspace(3.0, 2.0, 400) + rng.normal(0, 0.01, size=(8, 1))
    fast = np.concatenate([slow[:, ::2], np.repeat(slow[:, -1:], 200, axis=1)], axis=1)
    found = figures.ratio_at(40, slow, fast, rng)
    assert found.ratio == pytest.approx(2, abs=0.02)
    assert found.p < 0.05


@pytest.mark.parametrize(
    ("shares", "values", "cut"), [((1, 0.2, 1), (3, 1, 2), 1), ((1, 0.2, 1), (1, 3, 2), 0), ((1,), (None,), 0)]
)
def test_what_is_cut_of_the_best_tenth_is_counted(figures: ModuleType, shares, values, cut: int) -> None:  # type: ignore[no-untyped-def]
    spent = [figures.Spent(s, v if s == 1 else None, v) for s, v in zip(shares, values, strict=True)]
    assert figures.top_tenth_cut(spent) == cut


def row(**more: object) -> str:
    key = {"task": "gpt", "budget": 8, "processor": "some", "fingerprint": "f"}
    return json.dumps({**key, **more}) + "\n"


def trained(params: dict[str, object], value: float | None) -> str:
    return row(params=json.dumps(params, sort_keys=True), value=value, curve=[[0.1, 4.0]])


def test_recordings_come_back_as_they_were_packed(trainings: ModuleType, tmp_path: Path) -> None:
    new = tmp_path / "new.jsonl"
    new.write_text(trained({"A": 1, "B": [0.6, 0.95]}, 2.5) + trained({"A": 2, "B": [0.8, 0.95]}, None) + row(seed=3))
    before = trainings.recordings(new)
    trainings.pack(new)
    assert trainings.recordings() == before
    assert [each.seeds for each in before.values()] == [{3}]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [(({"A": 1}, 2.5), ({"A": 1}, 2.6), "two values"), (({"A": 1}, 2.5), ({"A": 1, "B": 2}, 2.6), "in another")],
)
def test_trainings_that_contradict_are_refused(trainings: ModuleType, tmp_path: Path, one, other, said: str) -> None:  # type: ignore[no-untyped-def]
    new = tmp_path / "new.jsonl"
    new.write_text(trained(*one) + trained(*other))
    with pytest.raises(ValueError, match=said):
        trainings.pack(new)
    assert not trainings.FILE.exists()


def test_every_recording_of_the_repository_can_be_read(load) -> None:  # type: ignore[no-untyped-def]
    known = load("trainings").recordings()
    assert {key.task for key in known} == {"gpt", "nanogpt"}
    assert all(recording.trained for recording in known.values())
