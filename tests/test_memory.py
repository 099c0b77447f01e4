"""What fits the device: learned from trials, and stated with its uncertainty."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest

from optimize.search import Footprint, Memory, footprint
from optimize.search.memory_models import Affine
from optimize.trial import TrialStatus, Value
from search_spaces import parse_space

SPACE = parse_space(
    """
    [parameters]
    DEPTH = [1, 2, 3, 4, 6, 8, 12]
    BATCH = [4, 8, 16, 32, 64]
    RATE = [0.01, 0.02, 0.04, 0.08]
    DECAY = [0.0, 0.1, 0.2]
    PATTERN = ["L", "SL", "SSL"]
    """,
    "space.toml",
)
LIMIT = 128.0  # of DEPTH * BATCH
GPU_MB = 10_000.0


def number(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)


def size(params: Mapping[str, Value]) -> float:
    return number(params["DEPTH"]) * number(params["BATCH"])


def of(depth: float, batch: float = 1, rate: float = 0.01) -> dict[str, Value]:
    return {"DEPTH": depth, "BATCH": batch, "RATE": rate, "DECAY": 0.0, "PATTERN": "L"}


def peak_mb(params: Mapping[str, Value], noise: float = 0.0) -> float:
    """A fifth of what can be used is fixed; 96 % of the device can be used."""
    return 0.96 * GPU_MB * (0.2 + 0.8 * size(params) / LIMIT) * (1 + noise)


def seen(params: Mapping[str, Value], peaks: bool = False) -> Footprint:
    fits = size(params) <= LIMIT
    return Footprint(fits, peak_mb(params) if fits and peaks else 0.0)


def some(count: int, seed: int = 0) -> list[dict[str, Value]]:
    rng = random.Random(seed)
    return [{p.name: rng.choice(p.choices) for p in SPACE.parameters} for _ in range(count)]


def trained(
    trials: list[dict[str, Value]], *, peaks: bool = False, known: bool = True, device_mb: float = GPU_MB
) -> Memory:
    memory = Memory(SPACE, size if known else None, device_mb)
    for params in trials:
        memory.learned(params, seen(params, peaks))
    return memory


# --- what an ending shows -----------------------------------------------------------------------------------------------


def test_only_running_out_of_memory_and_completing_show_anything() -> None:
    shown = {status: footprint("PRUNED", status, {}) for status in TrialStatus}
    assert shown.pop(TrialStatus.OUT_OF_MEMORY) == Footprint(fitted=False)
    assert shown.pop(TrialStatus.COMPLETE) == Footprint(fitted=True)
    assert set(shown.values()) == {None}


@pytest.mark.parametrize("printed", [0.0, -1.0, float("nan"), float("inf"), "n/a"])
def test_a_peak_that_says_nothing_is_none(printed: float | str) -> None:
    assert footprint("COMPLETE", "complete", {"peak_vram_mb": printed}) == Footprint(fitted=True)


def test_what_ran_out_of_memory_beside_another_trial_shows_nothing() -> None:
    assert footprint("FAIL", TrialStatus.OUT_OF_MEMORY, {}) is None


def test_a_peak_is_printed_in_mebibytes_as_torch_counts() -> None:
    found = footprint("COMPLETE", "complete", {"peak_vram_mb": 1000.0})
    assert found is not None
    assert found.peak_mb == pytest.approx(1048.576)


# --- with an expression -------------------------------------------------------------------------------------------------


def test_labels_alone_find_the_limit() -> None:
    memory = trained([of(d) for d in (20, 60, 100, 125, 135, 160, 300)], device_mb=0.0)
    assert not memory.unlikely_to_fit(of(120))
    assert memory.unlikely_to_fit(of(140))
    assert memory.probability(of(129)) == pytest.approx(0.5, abs=0.2)


def test_nothing_is_doubted_before_anything_points_to_a_limit() -> None:
    memory = trained([of(1), of(2), of(3)], device_mb=0.0)
    assert memory.probability(of(10_000)) == 1.0
    assert str(memory) == "memory: 0 of 3 trials ran out of it; nothing has come near the limit"
    assert str(Memory(SPACE, size, GPU_MB)) == ""


def test_peaks_tell_the_limit_before_any_trial_ran_out() -> None:
    memory = trained([of(d) for d in (8, 16, 32, 48, 64)], peaks=True)
    assert memory.unlikely_to_fit(of(150))
    assert not memory.unlikely_to_fit(of(110))


def test_without_the_devices_size_peaks_say_nothing_and_labels_suffice() -> None:
    trials = [of(d) for d in (8, 16, 32, 48, 64)]
    assert not trained(trials, peaks=True, device_mb=0.0).unlikely_to_fit(of(150))
    assert trained([*trials, of(140), of(200)], peaks=True, device_mb=0.0).unlikely_to_fit(of(150))


def test_peaks_beyond_the_device_are_counted_in_some_other_way_and_ignored() -> None:
    assert not trained([of(d) for d in (8, 16, 32, 48, 64)], peaks=True, device_mb=GPU_MB / 100).unlikely_to_fit(
        of(150)
    )


def test_a_single_peak_does_not_pretend_to_know_the_slope() -> None:
    memory = trained([of(64)], peaks=True)  # at 60 %: the limit lies at 107 if nothing of it is fixed, else above
    assert not memory.unlikely_to_fit(of(120))


def test_one_label_that_lies_does_not_move_the_limit() -> None:
    trials = [of(d) for d in (20, 40, 60, 80, 100, 120, 125, 140, 160, 200, 250, 300)]
    memory = trained(trials)
    memory.learned(of(40), Footprint(fitted=False))  # a neighbour had taken the memory
    assert not memory.unlikely_to_fit(of(100))
    memory.learned(of(300), Footprint(fitted=True))
    assert memory.unlikely_to_fit(of(160))


def test_a_limit_that_was_wrong_is_given_up_when_trials_beyond_it_complete() -> None:
    memory = trained([of(d) for d in (8, 16, 32, 48, 64)], peaks=True)
    assert memory.unlikely_to_fit(of(160))
    for depth in (150, 160, 170, 180):  # the script holds less in memory than its peaks suggested
        memory.learned(of(depth), Footprint(fitted=True))
    assert not memory.unlikely_to_fit(of(160))


@pytest.mark.parametrize("peaks", [False, True])
def test_the_stated_interval_holds_the_limit_as_often_as_it_says(peaks: bool) -> None:
    held = []
    for seed in range(60):
        rng = random.Random(seed)
        model, limit = Affine(1.0), math.exp(rng.uniform(-1, 2))
        fixed, usable = rng.uniform(0, 0.6), rng.gauss(0.96, 0.02)
        scores = [1.0, *(rng.lognormvariate(0.5, 1) for _ in range(12))]
        for score in scores:
            fits = score * (1 + rng.gauss(0, 0.02)) < limit
            share = usable * (fixed + (1 - fixed) * score / limit) * (1 + rng.uniform(-0.03, 0.03))
            model.learned((score,), fits, share if peaks and fits else 0.0)
        low, high = model.interval(0.9)
        if max(scores) > limit or peaks:
            held.append(low <= limit <= high)
    assert len(held) > 40
    assert 0.8 * len(held) <= sum(held) < len(held)


def test_peaks_narrow_the_interval() -> None:
    trials = [of(d) for d in (20, 40, 60, 80, 300)]
    assert trained(trials).probability(of(200)) > 0.2 > trained(trials, peaks=True).probability(of(200))


def test_what_is_known_is_said_in_a_line() -> None:
    memory = trained([of(d) for d in (64, 100, 120, 125, 132, 160, 300)], peaks=True)
    line = str(memory)
    assert line.startswith("memory: 3 of 7 trials ran out of it; it is full at 1.9")
    assert line.endswith("times what the first trial needed (90 % sure)")


def test_parameters_without_a_score_are_neither_learned_from_nor_doubted() -> None:
    memory = Memory(SPACE, lambda params: None, GPU_MB)
    memory.learned(of(4), Footprint(fitted=False))
    assert memory.probability(of(4)) == 1.0


# --- without an expression ----------------------------------------------------------------------------------------------


def judged(memory: Memory, trials: list[dict[str, Value]]) -> tuple[float, float]:
    """The share of what does not fit that is doubted, and of what fits."""
    doubted = {
        fits: [memory.unlikely_to_fit(p) for p in trials if (size(p) <= LIMIT) is fits] for fits in (True, False)
    }
    return tuple(sum(doubted[fits]) / len(doubted[fits]) for fits in (False, True))  # type: ignore[return-value]


def test_without_an_expression_less_is_foreseen_but_what_fits_is_hardly_ever_doubted() -> None:
    new = some(400, seed=99)
    for peaks in (False, True):
        caught, wrong = judged(trained(some(60), peaks=peaks, known=False), new)
        assert caught > (0.6 if peaks else 0.4)
        assert wrong <= 0.01


def test_without_an_expression_more_trials_tell_more() -> None:
    few, many = (judged(trained(some(n), known=False), some(400, seed=99))[0] for n in (15, 120))
    assert few < many > 0.7


def test_without_an_expression_nothing_is_doubted_before_anything_points_to_a_limit() -> None:
    memory = trained([of(1, 4), of(2, 4), of(3, 4)], known=False)
    assert memory.probability(of(12, 64)) == 1.0
    assert "an expression `memory` in workload.toml" in str(memory)


def test_a_space_without_numbers_teaches_nothing_without_an_expression() -> None:
    memory = Memory(parse_space('[parameters]\nP = ["a", "b"]\nQ = [true, false]', "words.toml"), None, GPU_MB)
    memory.learned({"P": "a", "Q": True}, Footprint(fitted=False))
    assert memory.probability({"P": "a", "Q": True}) == 1.0


def test_a_peak_far_above_the_devices_memory_was_counted_in_another_way_and_says_nothing() -> None:
    memory = Memory(SPACE, size, GPU_MB)
    memory.learned(of(1), Footprint(True, 2 * GPU_MB))
    assert memory.probability(of(12, 64)) == 1.0
