"""A value in a table that a person has rounded is still the trial's."""

from __future__ import annotations

import pytest

from storage.lost_results import _same


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.04", 1.0433), ("93.1", 93.12), ("123", 123.4), ("1.04e-5", 1.0433e-5), ("1.2E+2", 123.4), ("", None)],
)
def test_any_rounding_is_the_same_value_where_the_trial_is_known(text: str, value: float | None) -> None:
    assert _same(text, value, known=True)
    assert _same(text, value, known=False) == (text in ("", "1.04e-5"))


@pytest.mark.parametrize("text", ["1.05", "94", "x", "nan", "inf", "1e999999999", "-1.04", ""])
def test_another_value_is_none_that_was_rounded(text: str) -> None:
    assert not _same(text, 1.0433, known=True)
