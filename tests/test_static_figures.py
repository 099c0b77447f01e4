"""The figures: in the order of the search space, labels that cover nothing, importance that luck does not bring."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import optuna
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from optimize.reporting.figures.data import history, slices
from optimize.reporting.figures.importance import FEWEST, importances
from optimize.reporting.figures.static import better, parameter, progress, shown_range, step_text
from optimize.reporting.figures.style import draw, draw_grid, png_of, svg_of
from optimize.trial import Metric
from storage import TrialRecord
from tests.test_figure_data import bad, trial

pytestmark = pytest.mark.slow  # matplotlib alone takes most of a second
MINIMIZE, MAXIMIZE = Metric(), Metric("accuracy", "maximize")


def improving(count: int, metric: Metric) -> list[TrialRecord]:
    """Ever better ones among others, each with other parameters."""
    chance, sign, records = random.Random(1), 1 if metric is MINIMIZE else -1, []
    for i in range(count):
        value = 2 + sign * (1 / (i + 1) if i % 3 == 0 else chance.uniform(0.5, 1.5))
        records.append(trial(i, value, params={"MATRIX_LR": i / 100, "DEPTH": i, "WINDOW_PATTERN": "SL" * (1 + i % 2)}))
    return records


def axes_of(*args: object, **kwargs: object) -> Axes:
    return draw(*args, **kwargs).axes[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [MINIMIZE, MAXIMIZE])
@pytest.mark.parametrize("size", [(9.6, 5.0), (4.6, 4.8)])
def test_labels_cover_neither_each_other_nor_a_trial(metric: Metric, size: tuple[float, float]) -> None:
    records = improving(60, metric)
    axes = axes_of(progress(history(records, metric), metric, labels=12), *size)
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    for text in labels:
        text.update_positions(renderer)
    boxes = [Text.get_window_extent(text, renderer) for text in labels]  # without the lines to their steps
    assert boxes
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    points = [axes.transData.transform((i + 1, record.value)) for i, record in enumerate(records)]
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_a_label_says_what_changed_and_how_much_more() -> None:
    records = [trial(0, 3.0, params={"A": 1, "B": 1, "C": 0.1}), trial(1, 2.0, params={"A": 2, "B": 2, "C": 0.25})]
    first, second = history(records, MINIMIZE).steps
    assert step_text(first, 2, {}) == "trial 0"
    assert step_text(second, 2, {"C": 0.9, "B": 0.5}) == "C 0.1→0.25\nB 1→2\nand 1 more"


def test_the_axis_shows_the_best_the_baseline_and_most_trials_but_no_outlier() -> None:
    low, high = shown_range([1.0, 1.1, 1.2, 1.3] * 5 + [900.0], MINIMIZE, baseline=1.5)
    assert low < 1.0 < 1.5 < high < 2
    low, high = shown_range([1.0, 1.1, 1.2, 1.3] * 5 + [-900.0], MAXIMIZE)
    assert 0 < low < 1.0 < 1.3 < high < 2


@pytest.mark.parametrize(("values", "below"), [((0.5, 0.1, 0.01), False), ((0.5, 0.1, -0.2), True)])
def test_an_axis_of_values_above_zero_has_no_ticks_below(values: tuple[float, ...], below: bool) -> None:
    records = [trial(number, value) for number, value in enumerate(values)]
    (axes,) = draw(progress(history(records, MINIMIZE), MINIMIZE, labels=2), 9, 5).axes
    assert any(tick < 0 for tick in axes.get_yticks()) is below
    assert axes.get_ylim()[0] < min(values)


def test_outliers_are_marked_at_the_edge_and_counted() -> None:
    records = [trial(i, 1 + i / 100) for i in range(20)] + [trial(20, 900.0), trial(21, 901.0)]
    figure = draw(progress(history(records, MINIMIZE), MINIMIZE, labels=0), 9, 5)
    assert "beyond the axis (2)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_endings_without_a_value_have_their_own_marks() -> None:
    records = [trial(0, 1.0), bad(1), bad(2), bad(3, "crashed"), trial(4, 2.0)]
    figure = draw(progress(history(records, MINIMIZE), MINIMIZE, labels=0), 9, 5)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"out of memory (2)", "crashed (1)", "no improvement (1)", "improvement (1)"} <= set(texts)


def test_a_slice_has_its_choices_in_order_and_the_baselines_is_bold() -> None:
    records = [trial(i, float(i), params={"B": b}) for i, b in enumerate([128, 16, 32, 16])]
    (one,) = slices(records, {"B": (128, 16, 32)})
    axes = axes_of(parameter(one, MINIMIZE, (0, 4), best=0, baseline=16), 3, 2)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["128", "16", "32"]
    assert [label.get_fontweight() == "bold" for label in axes.get_xticklabels()] == [False, True, False]


def test_every_axis_says_which_way_is_better() -> None:
    assert better(MINIMIZE) == "val_bpb, bits per byte (lower is better)"
    assert better(MAXIMIZE) == "accuracy (higher is better)"


def test_a_figure_is_an_element_in_the_pages_colours_with_ids_of_its_own() -> None:
    what = progress(history([trial(0, 1.0), trial(1, 2.0)], MINIMIZE), MINIMIZE, labels=3)
    one, other = (svg_of(draw(what, 4, 3), name, {"#1f2328": "var(--ink)"}) for name in ("a", "b"))
    assert one.startswith("<svg viewBox=")
    assert "var(--ink)" in one
    assert "#1f2328" not in one
    assert one.replace('"a-', '"b-').replace("#a-", "#b-") == other


def test_a_thousand_dots_are_pixels() -> None:
    few, many = (history([trial(i, 1 + i % 7) for i in range(count)], MINIMIZE) for count in (100, 1_000))
    small, large = (svg_of(draw(progress(stairs, MINIMIZE, labels=0), 9, 5), "x", {}) for stairs in (few, many))
    assert "data:image/png;base64," not in small
    assert "data:image/png;base64," in large
    assert len(large) < 300_000


def test_a_grid_has_a_place_for_each() -> None:
    what = progress(history([trial(0, 1.0)], MINIMIZE), MINIMIZE, labels=0)
    figure = draw_grid([what] * 5, 3, 9, 6, "a title", "a label")
    assert len(figure.axes) == 5
    assert png_of(figure).startswith(b"\x89PNG")


def frozen(number: int, value: float, params: dict[str, object], choices: list[int]) -> optuna.trial.FrozenTrial:
    of = optuna.distributions.CategoricalDistribution(choices)
    return optuna.trial.create_trial(params=params, distributions=dict.fromkeys(params, of), value=value)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_parameter_that_matters_passes_what_luck_brings(direction: str) -> None:
    chance, trials, sign = random.Random(3), [], 1 if direction == "minimize" else -1
    for i in range(120):
        params = {name: chance.randrange(4) for name in ("strong", "idle", "luck")}
        trials.append(frozen(i, sign * (params["strong"] + chance.gauss(0, 0.3)), dict(params), [0, 1, 2, 3]))
    found = importances(trials, direction)
    assert (found.top, found.trials) == (12, 120)
    assert [each.name for each in found.of if each.share > each.luck] == ["strong"]
    assert sum(each.share for each in found.of) == pytest.approx(1)
    assert all(one.share >= other.share for one, other in pairwise(found.of))


def test_few_trials_or_none_that_varied_say_nothing() -> None:
    few = [frozen(i, float(i), {"x": i % 4}, [0, 1, 2, 3]) for i in range(FEWEST - 1)]
    assert importances(few, "minimize").why_not.startswith(f"{FEWEST - 1} trials have completed")
    alike = [frozen(i, float(i), {"x": 1}, [0, 1]) for i in range(FEWEST)]
    assert importances(alike, "minimize").of == ()
    assert "varied" in importances(alike, "minimize").why_not
