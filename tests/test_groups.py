"""Tests that share what is dear stay in one process: the scheduler reads the group behind the last @ of a test's name."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def dear() -> str:
    return "made once"


def has(request: pytest.FixtureRequest, group: str) -> bool:
    in_groups: Any = request.config.getoption("loadgroup", False)
    return not in_groups or request.node.nodeid.rpartition("@")[2] == group


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("value", ["a@b", "]"])
def test_a_mark_names_the_group(request: pytest.FixtureRequest, value: str) -> None:
    assert has(request, "browser")


def test_a_module_that_shares_a_fixture_is_a_group(request: pytest.FixtureRequest, dear: str) -> None:
    assert has(request, "test_groups")


def test_what_shares_nothing_is_alone(request: pytest.FixtureRequest) -> None:
    assert "@" not in request.node.nodeid
