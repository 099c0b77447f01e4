"""Ten thousand spoilt scripts and logs each: only our own errors, no hang. TOML files and rules have theirs beside them."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.runner.diagnosis import Exit, diagnose
from optimize.script.constants import render
from optimize.trial import Metric, TrialStatus
from tests.test_constants import SCRIPT

pytestmark = pytest.mark.slow
SPOILERS = "=()[]{}'\"\\\n\r\t #:,.0aX\x00\u2028é"
PIECES = ["---", "\n", "\r", "val_bpb:", " ", "1.5", "nan", "inf", "1e999", "FAIL", "\x00", "é", ":", "Error: x"]


@given(st.lists(st.tuples(st.integers(0, len(SCRIPT)), st.sampled_from(SPOILERS)), max_size=6))
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_spoilt_scripts_raise_nothing_but_our_error(edits: list[tuple[int, str]]) -> None:
    text = SCRIPT
    for at, character in edits:
        text = text[:at] + character + text[at:]
    with contextlib.suppress(RenderError):
        assert "DEPTH" in render(text, {"DEPTH": 4}, "s.py")


@given(st.lists(st.sampled_from(PIECES)))
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_logs_are_judged_and_none_raises(parts: list[str]) -> None:
    log = "".join(parts)
    for code in (0, 1, -9, None):
        outcome = diagnose(log, Exit(code, 1.0), Metric())
        assert "\n" not in outcome.reason
        if outcome.status is TrialStatus.COMPLETE:
            assert math.isfinite(float(outcome.summary["val_bpb"]))
            assert code == 0
