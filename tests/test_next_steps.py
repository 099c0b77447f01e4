"""The lines that go on after a confirmation, and in a report that a notebook has made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from optimize.commands.run import _more_seeds
from optimize.confirm.replicates import MOST_SEEDS
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.reporting.next_steps import beyond_choices
from optimize.reporting.run_end import RunResult, end_report
from optimize.reporting.standing import standing_of
from optimize.study.edges import Edge
from optimize.study.stored import StoredStudy
from optimize.trial import Metric
from search_spaces import Parameter
from tests.conftest import Driver
from tests.test_four_facts import LUCKY, REAL, at_the_edge, of, told
from tests.test_notes import ATTRS, BASE, BETTER

__all__ = ["at_the_edge"]  # a fixture


def test_a_confirmation_that_is_not_sure_ends_with_the_line_that_goes_on(driver: Driver) -> None:
    (line,) = _more_seeds(driver.plan, of(LUCKY))
    assert line.startswith("be surer, with 6 seeds in all: optimize confirm ")
    assert line.endswith(" --seeds 6")
    most = replace(LUCKY, pairs=MOST_SEEDS)
    for verdict in (of(REAL), of(replace(LUCKY, low=-0.1, high=-0.02, rejected=True)), of(most), of()):
        assert _more_seeds(driver.plan, verdict) == []


def test_a_report_of_a_notebook_says_how_its_commands_are_given(
    at_the_edge: StoredStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "In a cell of a notebook, put a ! before a command."
    assert told not in render_page(gather(at_the_edge), {})
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert render_page(gather(at_the_edge), {}).count(told) == 1


SAME = [replace(BASE, number=number, kind="" if number else "baseline", params={"X": number}) for number in range(4)]


@pytest.mark.parametrize(
    ("summary", "more", "given"),
    [
        ({"val_bpb": 1.25, "acc": 0.5, "device": "cpu"}, "It prints acc as well", "--metric acc"),
        ({"val_bpb": 1.25}, "Another number that it prints may tell more", "--metric NAME"),
    ],
)
def test_a_metric_that_hardly_changes_is_told_with_other_numbers(
    summary: dict[str, float | str], more: str, given: str
) -> None:
    about = {"workload": "/mine", "script": "train.py"}
    records = [replace(record, summary=summary) for record in SAME]
    found = told(*records, about=about)
    assert found.next.answer == "Look at another metric, or change what may vary"
    assert found.next.more == (f"val_bpb hardly changes: all 4 values are the same. {more}",)
    assert f"init /mine/train.py {given} --to DIR" in found.commands[-1][1]
    found = told(*records, replace(BETTER, number=9, summary=summary), about=about)
    assert f"val_bpb hardly changes: 4 of 5 values are the same. {more}" in found.next.more
    assert not any("hardly" in line for line in told(*records, about=about, running=True).next.more)


def test_a_metric_that_changes_is_not() -> None:
    for records in (SAME[:2], [*SAME[:2], BETTER], [*SAME, BETTER, replace(BETTER, number=8, value=0.9)]):
        found = told(*records, about={"workload": "/mine", "script": "train.py"})
        assert not any("hardly changes" in line for line in found.next.more)
        assert not any(" init " in line for _, line in found.commands)
    assert not any(
        " init " in line for _, line in told(*SAME, about={"workload": "gpt", "script": "train.py"}).commands
    )


def test_the_end_of_a_run_tells_of_a_metric_that_hardly_changes(driver: Driver) -> None:
    page = io.StringIO()
    Console(file=page, width=200).print(end_report(driver.plan, RunResult("done", SAME)), crop=False)
    assert "hardly changes: all 4 values are the same" in page.getvalue()


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("abc", "c is at an end of its choices as well"),
        ("abcd", "c, d are at an end of their choices as well"),
        ("abcdefghij", "And 8 more parameters are at an end of their choices"),
        (["a", "b", "c" * 99], "And another parameter is at an end of its choices"),
    ],
)
def test_further_parameters_at_an_end_of_their_choices_are_named(names: Sequence[str], line: str) -> None:
    standing = standing_of("s", Metric(), ATTRS, [BASE, BETTER], {})
    edges = [Edge(Parameter(name, (1, 2)), 2, (4,), Parameter(name, (1, 2, 4))) for name in names]
    assert beyond_choices(replace(standing, edges=edges))[2:] == (line,)


def test_a_gain_on_average_is_told_as_one() -> None:
    """The difference of the two values that are shown may be another."""
    found = told(BASE, BETTER, verdict=of(replace(REAL, gain=0.125)))
    assert found.won.answer == "Trial 3: val_bpb 1.000000, with other seeds on average 10.0 % better than the baseline"
    assert told(BASE, BETTER).won.answer == "Trial 3: val_bpb 1.000000, 20.0 % better than the baseline"
