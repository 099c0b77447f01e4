"""Ten thousand spoilt scripts and logs each: only our own errors, no hang. TOML files and rules have theirs beside them."""

from __future__ import annotations

import contextlib
import math
import random

import pytest

from optimize.errors import RenderError
from optimize.runner.diagnosis import Exit, diagnose
from optimize.script.constants import render
from optimize.trial import Metric, TrialStatus
from tests.chance import ten_thousand_times
from tests.test_constants import SCRIPT

pytestmark = pytest.mark.slow
SPOILERS = "=()[]{}'\"\\\n\r\t #:,.0aX\x00\u2028é"
PIECES = ["---", "\n", "\r", "val_bpb:", " ", "1.5", "nan", "inf", "1e999", "FAIL", "\x00", "é", ":", "Error: x"]


def render_spoilt(draw: random.Random) -> None:
    text = SCRIPT
    for _ in range(draw.randint(0, 6)):
        at = draw.randint(0, len(SCRIPT))
        text = text[:at] + draw.choice(SPOILERS) + text[at:]
    with contextlib.suppress(RenderError):
        assert "DEPTH" in render(text, {"DEPTH": 4}, "s.py")


def diagnose_nonsense(draw: random.Random) -> None:
    log, code = "".join(draw.choices(PIECES, k=draw.randint(0, 20))), draw.choice((0, 0, 1, -9, None))
    outcome = diagnose(log, Exit(code, 1.0), Metric())
    assert "\n" not in outcome.reason
    if outcome.status is TrialStatus.COMPLETE:
        assert math.isfinite(float(outcome.summary["val_bpb"]))
        assert code == 0


def test_ten_thousand_spoilt_scripts_raise_nothing_but_our_error() -> None:
    ten_thousand_times(render_spoilt)


def test_ten_thousand_logs_are_judged_and_none_raises() -> None:
    ten_thousand_times(diagnose_nonsense)
