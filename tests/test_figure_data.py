"""The numbers behind the figures: they say what the records say, in the order of the search space, and make nothing up."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.reporting.figures.data import cost, curves, history, noise, slices
from optimize.reporting.figures.style import STYLES, in_order, style_of
from optimize.trial import Metric, TrialStatus
from storage import TrialRecord, write_results

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINIMIZE, MAXIMIZE = Metric(), Metric("accuracy", "maximize")
ENDINGS = {"out_of_memory": "PRUNED", "hopeless": "PRUNED", "crashed": "FAIL", "": "PRUNED"}


def trial(number: int, value: float | None, status: str = "complete", **facts: object) -> TrialRecord:
    state = "COMPLETE" if value is not None else ENDINGS[status]
    start = NOON + timedelta(minutes=10 * number)
    given = {"params": {"X": number}, "seconds": 360.0, "started": start, "finished": start + timedelta(minutes=6)}
    return TrialRecord(number, 100 + number, state, status, value=value, **{**given, **facts})  # type: ignore[arg-type]


def bad(number: int, status: str = "out_of_memory", **facts: object) -> TrialRecord:
    return trial(number, None, status, **facts)


def test_the_stairs_are_the_improvements_and_a_failure_is_none() -> None:
    stairs = history([trial(0, 2.0), bad(1), trial(2, 2.5), trial(3, 1.5)], MINIMIZE)
    assert [step.number for step in stairs.steps] == [0, 3]
    assert [each.best for each in stairs.points] == [2.0, 2.0, 2.0, 1.5]
    assert stairs.points[1].value is None
    assert stairs.best is stairs.points[3]


def test_higher_is_better_where_the_metric_says_so() -> None:
    stairs = history([trial(0, 0.5), trial(1, 0.25), trial(2, 0.75)], MAXIMIZE)
    assert [step.number for step in stairs.steps] == [0, 2]


def test_the_stairs_follow_the_order_of_ending_not_of_numbers() -> None:
    slow = trial(0, 1.0, finished=NOON + timedelta(hours=5))
    assert [step.number for step in history([slow, trial(1, 2.0)], MINIMIZE).steps] == [1, 0]


def test_a_step_says_what_changed_since_the_best_before_it() -> None:
    records = [trial(0, 3.0, params={"X": 1, "Y": 5}), trial(1, 9.0, params={"X": 7, "Y": 7}),
               trial(2, 2.0, params={"X": 1, "Y": 6})]  # fmt: skip
    first, second = history(records, MINIMIZE).steps
    assert first.changed == {}
    assert second.changed == {"Y": (5, 6)}


def test_a_study_without_a_value_has_dots_and_no_stairs() -> None:
    stairs = history([bad(0), bad(1, "crashed")], MINIMIZE)
    assert len(stairs.points) == 2
    assert (stairs.steps, stairs.best, stairs.baseline) == ((), None, None)
    assert history([], MINIMIZE).points == ()


def test_the_baseline_is_the_completed_trial_of_the_script_as_it_is() -> None:
    records = [bad(0, "crashed", kind="baseline"), trial(1, 3.0, kind="baseline"), trial(2, 2.0, kind="sampler")]
    assert history(records, MINIMIZE).baseline == 3.0


values = st.none() | st.sampled_from([1.0, 1.5, 2.0]) | st.floats(0.5, 3, allow_nan=False)


@given(st.lists(values, max_size=12), st.sampled_from([MINIMIZE, MAXIMIZE]))
def test_the_improvements_are_those_that_results_tsv_keeps(
    tmp_path_factory: pytest.TempPathFactory, found: list[float | None], metric: Metric
) -> None:
    records = [bad(i) if value is None else trial(i, value) for i, value in enumerate(found)]
    path: Path = tmp_path_factory.getbasetemp() / "results.tsv"
    write_results(path, records, metric=metric.name, direction=metric.direction)
    kept = [line.split("\t")[3] == "keep" for line in path.read_text().splitlines()[1:]]
    assert [each.improved for each in history(records, metric).points] == kept


def test_the_cost_is_told_by_ending_in_device_hours() -> None:
    records = [trial(0, 1.0), trial(1, 2.0), bad(2, seconds=1800.0), bad(3, "crashed", seconds=None)]
    assert [(share.ending, share.trials, share.hours) for share in cost(records, devices=2)] == [
        ("complete", 2, pytest.approx(0.4)), ("out_of_memory", 1, 1.0), ("crashed", 1, 0.0),
    ]  # fmt: skip


def test_what_ran_elsewhere_or_still_runs_has_cost_nothing_here() -> None:
    running = TrialRecord(1, 1, "RUNNING", params={"X": 1}, started=NOON)
    assert cost([trial(0, 1.0, taken_from="old trial 3"), running]) == []


def test_curves_are_finite_sorted_and_of_all_trials() -> None:
    records = [bad(2, curve={50: 2.0, 10: 3.0, 20: math.nan}), trial(0, 1.0, curve={10: 4.0}), trial(1, 1.0)]
    first, second = curves(records)
    assert (first.number, first.ending, first.steps, first.losses) == (0, "complete", (10,), (4.0,))
    assert (second.number, second.ending, second.steps, second.losses) == (2, "out_of_memory", (10, 50), (3.0, 2.0))


def test_choices_keep_the_order_of_the_search_space_and_are_not_sorted_as_text() -> None:
    records = [
        trial(i, float(i), params={"B": b, "W": w}) for i, (b, w) in enumerate([(16, "SL"), (128, "L"), (16, "L")])
    ]
    batch, window = slices(records, {"B": (16, 32, 128), "W": ("SL", "L")})
    assert batch.choices == (16, 32, 128)
    assert [(dot.number, dot.at, dot.value) for dot in batch.dots] == [(0, 0.0, 0.0), (1, 2.0, 1.0), (2, 0.0, 2.0)]
    assert batch.medians == (1.0, None, 1.0)
    assert batch.counts == (2, 0, 1)
    assert [dot.at for dot in window.dots] == [0.0, 1.0, 1.0]


def test_true_and_one_are_different_choices() -> None:
    records = [trial(0, 1.0, params={"X": True}), trial(1, 2.0, params={"X": 1})]
    (only,) = slices(records, {"X": (1, True)})
    assert [dot.at for dot in only.dots] == [1.0, 0.0]


def test_a_parameter_of_another_program_has_an_axis_that_suits_it() -> None:
    rates = [trial(i, 1.0, params={"lr": 10 ** -(i / 3), "n": i % 3, "kind": f"k{i % 2}"}) for i in range(15)]
    lr, n, kind = slices(rates, {"lr": ()})
    assert (lr.choices, lr.logarithmic) == ((), True)
    assert lr.dots[3].at == pytest.approx(0.1)
    assert (n.choices, n.medians) == ((0, 1, 2), (1.0, 1.0, 1.0))
    assert kind.choices == ("k0", "k1")


def test_only_completed_trials_are_on_a_slice() -> None:
    assert slices([bad(0)], {"X": (0, 1)})[0].dots == ()
    assert slices([], {}) == []


def test_noise_is_what_equal_parameters_differ_by() -> None:
    same = {"params": {"X": 1}}
    found = noise([trial(0, 1.0, **same), trial(1, 3.0, **same), trial(2, 9.0), bad(3, **same)])  # type: ignore[arg-type]
    assert found is not None
    assert (found.deviation, found.groups, found.trials) == (pytest.approx(math.sqrt(2)), 1, 2)
    assert noise([trial(0, 1.0), trial(1, 2.0)]) is None


def contrast(one: str, other: str) -> float:
    """WCAG's ratio: 1 is invisible, 21 black on white."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_ending_has_a_look_of_its_own() -> None:
    assert {status.value for status in TrialStatus} <= set(STYLES)
    ours = [STYLES[status.value] for status in TrialStatus]
    assert len({look.colour for look in ours}) == len({look.marker for look in ours}) == len(ours)
    for colour in (look.colour for look in STYLES.values()):
        assert min(contrast(colour, "#ffffff"), contrast(colour, "#1b1f24")) > 2.2, colour
    assert style_of("exploded_twice").label == "exploded twice"
    assert in_order(["zzz", "crashed", "complete", "crashed"]) == ["complete", "crashed", "zzz"]


def test_noise_is_pooled_over_all_parameters_that_were_tried_more_than_once() -> None:
    tried = [(1, 1.0), (1, 3.0), (2, 5.0), (2, 7.0)]
    found = noise([trial(n, value, params={"X": x}) for n, (x, value) in enumerate(tried)])
    assert found is not None
    assert (found.deviation, found.groups, found.trials) == (pytest.approx(math.sqrt(2)), 2, 4)
