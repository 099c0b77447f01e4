"""However much there is to say, an answer to an agent has a bounded size, and is JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.mcp.answers import MOST_CHARS, answer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=5))
def test_what_is_small_enough_is_whole(document: dict[str, Any]) -> None:
    assert json.loads(answer(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        {"patch": "x" * 10**6},
        {"patch": "\u2028" * 10**6},
        {"latest": [{"number": number, "params": {"A": "x" * 99}} for number in range(9_999)]},
        {"params": {str(number): number for number in range(99_999)}},
        {"deep": [[["x" * 99] * 9] * 9] * 99},
        {"k" * 10**6: 1},
    ],
)
def test_what_is_too_long_is_cut_and_says_so(document: dict[str, Any]) -> None:
    text = answer({"study": "s", **document})
    assert len(text) <= MOST_CHARS
    assert json.loads(text)["clipped"]


def test_the_newest_of_a_long_list_stay() -> None:
    found = json.loads(answer({"latest": [{"number": number, "why": "x" * 300} for number in range(200)]}))
    assert found["latest"][-1]["number"] == 199
