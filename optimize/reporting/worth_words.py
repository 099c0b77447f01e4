"""What ten more trials are expected to bring, in words: the same in `status`, the report, the notes and the live view."""

from __future__ import annotations

from optimize.reporting.standing import Standing
from optimize.study.worth import AHEAD
from optimize.text import value_text


def worth_words(of: Standing) -> str:
    """Return it for the end of a line, with the noise of one training and what they cost, where these are known.

    "" if it cannot be said.
    """
    if of.gain is None or of.best is None:
        return ""
    noise = f" (another seed: {value_text(of.verdict.noise)})" if of.verdict and of.verdict.noise else ""
    cost = of.cost.of_more(AHEAD)
    return f"; {ten_more(of.gain)}{noise}{f' for {cost}' if cost else ''}"


def ten_more(gain: float) -> str:
    """Return `10 more may bring 0.0012`."""
    return f"{AHEAD} more may bring {value_text(gain)}"
