"""No finite value that a script can print stops a command, and each is shown as people read numbers."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.confirm.agreement import agreement
from optimize.confirm.significance import judge
from optimize.text import amount, gain_text, value_text

ANY = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e217, -1e217, sys.float_info.max, 5e-324])
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000000"), (1.0, "1.000000"), (-0.25, "-0.250000"), (0.00003, "0.000030"), (9.99e-07, "9.99e-07"),
     (1e217, "1e+217"), (-1.7976931348623157e308, "-1.79769e+308"), (123456789.5, "123456789.500000"), (None, "")],
)  # fmt: skip
def test_a_value_has_six_decimals_or_six_digits(value: float | None, text: str) -> None:
    assert value_text(value) == text


def test_a_gain_has_its_sign() -> None:
    assert [gain_text(value) for value in (0.5, -0.5, 0.0, 1e-9)] == ["+0.500000", "-0.500000", "+0.000000", "+1e-09"]


@given(ANY)
def test_a_text_is_short_and_near_its_value(value: float) -> None:
    assert len(value_text(value)) < 24
    assert math.isclose(float(value_text(value)), value, rel_tol=1e-5, abs_tol=1e-6 if abs(value) >= 1e-5 else 0.0)


@given(st.dictionaries(st.integers(1, 3), st.lists(st.one_of(st.none(), ANY), min_size=3, max_size=3), min_size=1))
def test_no_finite_gain_stops_a_verdict(gains: dict[int, list[float | None]]) -> None:
    findings = judge(gains, 3)
    if findings is not None:
        numbers = [findings.noise, findings.floor]
        numbers += [number for each in findings.intervals.values() for number in (each.gain, each.low, each.high)]
        assert all(map(math.isfinite, numbers))


@given(st.lists(st.tuples(ANY, ANY), min_size=2, max_size=9))
def test_no_finite_value_stops_a_comparison_of_orders(pairs: list[tuple[float, float]]) -> None:
    assert -1 <= agreement([one for one, _ in pairs], [other for _, other in pairs]).tau <= 1


@pytest.mark.parametrize(("count", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1000, "1,000 trials")])
def test_an_amount_is_of_one_thing_or_of_several(count: int, said: str) -> None:
    assert amount(count, "trial") == said
