"""The dashboard's figures: plotly reads them, they show no value that is none, and they stay small."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go
import pytest

from optimize.confirm.verdict import Finalist, Verdict
from optimize.reporting.figures.interactive import MOST_DOTS, interactive_figures, thinned
from optimize.trial import Metric
from storage import TrialRecord

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def trial(number: int, value: float | None = None, **more: Any) -> TrialRecord:
    state, status = ("PRUNED", "diverged") if value is None else ("COMPLETE", "complete")
    record = TrialRecord(
        number, number + 1, state, status, {"X": number}, value, kind="sampler" if number else "baseline",
        started=BEGAN, finished=BEGAN + timedelta(seconds=number + 1), seconds=10.0,
    )  # fmt: skip
    return replace(record, **more)


RECORDS = [trial(0, 2.0), trial(1), trial(2, 1.5), trial(3, 1.75), trial(4, 1.0, params={"X": "<b>&"})]


def figures(records: list[TrialRecord], direction: str = "minimize", verdict: Verdict | None = None) -> dict[str, Any]:
    made = interactive_figures(records, Metric("val_bpb", direction), verdict)
    for text in made.values():
        go.Figure(json.loads(text))  # plotly itself finds nothing wrong with it
    return {name: json.loads(text) for name, text in made.items()}


def traces(figure: dict[str, Any]) -> dict[str, Any]:
    return {trace.get("name", ""): trace for trace in figure["data"]}


@pytest.mark.parametrize(("direction", "steps"), [("minimize", [2.0, 1.5, 1.0]), ("maximize", [2.0])])
def test_the_staircase_goes_down_with_each_improvement(direction: str, steps: list[float]) -> None:
    shown = traces(figures(RECORDS, direction)["best-so-far"])
    assert shown["better"]["y"] == steps
    assert shown["best so far"]["y"] == [*steps, steps[-1]]


def test_a_trial_without_a_value_stands_at_no_value() -> None:
    shown = traces(figures(RECORDS)["best-so-far"])
    assert shown["no value"]["yaxis"] == "y2"
    assert [point[0] for point in shown["no value"]["customdata"]] == [1]
    assert 1 not in shown["no better"]["customdata"]


def test_texts_of_a_script_are_no_markup() -> None:
    text = json.dumps(figures(RECORDS)["best-so-far"])
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_cost_counts_every_ending() -> None:
    bars = figures(RECORDS)["cost"]["data"][0]
    assert bars["y"] == ["complete", "diverged"]
    assert bars["x"] == pytest.approx([40.0, 10.0])


def test_a_verdict_has_a_figure_and_without_one_there_is_none() -> None:
    finalists = (Finalist(4, 3, 0.5, 0.4, 0.6, confirmed=True), Finalist(2, 3, 0.1, -0.1, 0.3, confirmed=False))
    shown = traces(figures(RECORDS, verdict=Verdict(finalists, 0.95, 0.01, 0.02))["confirmation"])
    assert shown["confirmed"]["error_x"]["array"] == pytest.approx([0.1])
    assert shown["candidate"]["y"] == ["trial 2"]
    assert "confirmation" not in figures(RECORDS)


def test_a_study_in_which_nothing_has_ended_has_no_figure() -> None:
    assert figures([]) == {}
    assert list(figures([trial(0)])) == ["best-so-far", "cost"]


def test_far_worse_values_do_not_flatten_the_others() -> None:
    records = [trial(n, 1.0 + n / 1000) for n in range(40)] + [trial(40, 900.0)]
    assert figures(records)["best-so-far"]["layout"]["yaxis"]["range"][1] < 2


def test_ten_thousand_trials_draw_no_more_than_some_hundreds() -> None:
    records = [trial(n, None if n % 3 else 2.0 + n) for n in range(10_000)]
    text = interactive_figures(records, Metric(), None)["best-so-far"]
    assert len(text) < 50_000
    assert len(traces(json.loads(text))["no better"]["x"]) == MOST_DOTS


def test_thinning_keeps_the_last_one_and_the_order() -> None:
    assert thinned(range(10), 4) == [0, 3, 6, 9]
    assert thinned([1, 2], 4) == [1, 2]
