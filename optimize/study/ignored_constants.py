"""Says once when summaries contradict a constant that the study has set: the script may not use it.

A summary is the script's own words, so only what can hardly mean anything else counts: `contradicts` says what. Of a parameter,
two trials with different values must have shown the same. A constant of the profile never varies, so `_may_differ` asks for more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from optimize.config.plan import Plan
from optimize.study.callback import Callback
from optimize.trial import Value
from storage import TrialRecord

# Factors between a constant and the same quantity in another unit: percent, thousands, kibi, minutes.
UNITS = tuple(map(Decimal, (100, 10**3, 10**6, 10**9, 2**10, 2**20, 2**30, 60, 3600)))
CLOSE = Decimal("0.01")  # of the value: what was measured, or rounded to whole batches, is no contradiction
SURE = Decimal("0.1")  # of the value: how much a rounded number in another unit may be off
PADDED = 0.05  # of the value: a vocabulary is padded to a multiple of 64 or 128
# A script may say under such a name what it reached, or what a schedule came to, not what it was told.
_MOVING = re.compile(
    r"(?:^|_)(?:steps?|iters?|iterations?|epochs?|tokens?|samples?|seconds?|minutes?|hours?|time|best|lr|rate|decay|momentum)(?:_|$)"
)


class IgnoredConstants(Callback):
    """Compares each trial's summary with the parameters and the profile's constants that it was trained with."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._said: set[str] = set()
        # Entry of a summary -> the values that showed it -> the first trial of each.
        self._shown: dict[tuple[str, float | str], dict[Value, int]] = {}

    def on_trial_end(self, record: TrialRecord) -> None:
        """Say what is contradicted for the first time."""
        for key, found in record.summary.items():
            name = self._name(key)
            if not name or name in self._said or name == self._plan.workload.metric.name:
                continue
            is_parameter = name in self._plan.space.names
            why = (
                self._varied(name, key, found, record) if is_parameter else self._fixed(name, key, found, record.number)
            )
            if why:
                self._said.add(name)
                self._say(self._line(name, why))

    def _name(self, key: str) -> str:
        """Return the constant of this name, in whatever case; "" if the study sets none."""
        wanted = re.sub(r"[ ./-]", "_", key).casefold()
        names = (*self._plan.space.names, *self._plan.settings.written)
        return next((name for name in names if name.casefold() == wanted), "")

    def _varied(self, name: str, key: str, found: float | str, record: TrialRecord) -> str:
        """Return which two trials show that a parameter changes nothing; "" if none do yet."""
        parameter = self._plan.space[name]
        if name not in record.params:
            return ""
        trials = self._shown.setdefault((key, found), {})
        trials.setdefault(parameter.decode(record.params[name]), record.number)
        wrong = [value for value in trials if contradicts(key, value, found, parameter.choices)]
        others = [value for value in trials if value not in wrong[:1]]
        if not wrong or not others:
            return ""
        one, two = sorted((wrong[0], others[0]), key=trials.__getitem__)
        return f"was {one} in trial {trials[one]} and {two} in trial {trials[two]}, and both summaries say {_said(key, found)}"

    def _fixed(self, name: str, key: str, found: float | str, number: int) -> str:
        """Return what a summary says of a constant of the profile, if that contradicts it; else ""."""
        value = self._plan.constants.get(name)
        if not contradicts(key, value, found) or _may_differ(key, value, found):
            return ""
        return f"was {value}, the summary of trial {number} says {_said(key, found)}"

    def _line(self, name: str, why: str) -> str:
        plan = self._plan
        where = plan.space.path if name in plan.space.names else f"[constants] of profile {plan.settings.profile}"
        return (
            f"{plan.workload.file_of(name)}: {name} {why}: the script may not use the constant. If so, leave it out of {where} "
            "and begin a new study, or correct the script."
        )


def _said(key: str, found: float | str) -> str:
    return f"{key} {found:.15g}" if isinstance(found, float) else f"{key} {found}"


def _may_differ(key: str, value: Value, found: float | str) -> bool:
    """Return whether a script that uses a constant may print this: of all devices, padded, or as it is in evaluation."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(found, float) or not value:
        return False
    words = key.casefold()
    if "batch" in words and found >= value and found % value == 0:
        return True
    return ("vocab" in words and abs(found - value) < PADDED * abs(value)) or ("dropout" in words and not found)


def contradicts(key: str, value: Value, found: float | str, choices: Sequence[Value] = ()) -> bool:
    """Return whether a summary says something else of a constant than its value.

    A number does if no rounding and no usual unit makes them equal. Anything else does if the summary names another choice.
    """
    if isinstance(found, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return not _MOVING.search(key.casefold()) and not _same_number(Decimal(repr(value)), Decimal(repr(found)))
    said = _plain(found)
    return said != _plain(value) and said in {_plain(choice) for choice in choices}


def _same_number(value: Decimal, found: Decimal) -> bool:
    if not found.is_finite() or abs(value - found) <= CLOSE * abs(value):
        return True
    step = _step(found)
    if abs(value - found) < step:
        return True
    scaled = [(found * unit, step * unit) for unit in UNITS] + [(found / unit, step / unit) for unit in UNITS]
    return any(abs(value - other) < min(step, SURE * abs(value)) for other, step in scaled)


def _step(found: Decimal) -> Decimal:
    """Return the unit of the last digit that was printed; zeros at the end of a small whole number count as digits."""
    _, digits, exponent = found.normalize().as_tuple()
    assert isinstance(exponent, int)
    whole = len(digits) + exponent
    return Decimal(1).scaleb(min(exponent, whole - 2 if whole >= 5 else 0))


def _plain(value: Value) -> str:
    """Return a value as a summary may show it: without case, quotes and blanks; a whole number without its fraction."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        return str(int(value))
    text = re.sub(r"[\s'\"()\[\]]", "", str(value)).casefold()
    return {"true": "1", "false": "0"}.get(text, text)
