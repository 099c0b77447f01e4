"""The lines that go on after a confirmation, and in a report that a notebook has made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimize.commands.run import _more_seeds
from optimize.confirm.replicates import MOST_SEEDS
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.study.stored import StoredStudy
from tests.conftest import Driver
from tests.test_four_facts import LUCKY, REAL, at_the_edge, of

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
