"""Says once when a trial's summary contradicts a constant that the study has set: the script does not use it.

A summary is the script's own words, so only what can hardly mean anything else counts: `contradicts` says what.
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
# A script may say under such a name what it reached, or what a schedule came to, not what it was told.
_MOVING = re.compile(
    r"(?:^|_)(?:steps?|iters?|iterations?|epochs?|tokens?|samples?|seconds?|minutes?|hours?|time|best|lr|rate|decay|momentum)(?:_|$)"
)


class IgnoredConstants(Callback):
    """Compares each trial's summary with the parameters and the profile's constants that it was trained with."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._said: set[str] = set()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Say what this trial contradicts for the first time."""
        for key, found in record.summary.items():
            name = self._name(key)
            if not name or name in self._said or name == self._plan.workload.metric.name:
                continue
            value, choices = self._trained_with(name, record)
            if contradicts(key, value, found, choices):
                self._said.add(name)
                self._say(self._line(name, value, key, found, record.number))

    def _name(self, key: str) -> str:
        """Return the constant of this name, in whatever case; "" if the study sets none."""
        wanted = re.sub(r"[ ./-]", "_", key).casefold()
        names = (*self._plan.space.names, *self._plan.settings.constants)
        return next((name for name in names if name.casefold() == wanted), "")

    def _trained_with(self, name: str, record: TrialRecord) -> tuple[Value, Sequence[Value]]:
        if name in self._plan.space.names and name in record.params:
            parameter = self._plan.space[name]
            return parameter.decode(record.params[name]), parameter.choices
        return self._plan.constants.get(name), ()

    def _line(self, name: str, value: Value, key: str, found: float | str, number: int) -> str:
        plan = self._plan
        where = plan.space.path if name in plan.space.names else f"[constants] of profile {plan.settings.profile}"
        shown = f"{found:.15g}" if isinstance(found, float) else found
        return (
            f"{plan.workload.file_of(name)}: {name} was {value}, the summary of trial {number} says {key} {shown}: the script does "
            f"not use the constant. Leave it out of {where} and begin a new study, or correct the script."
        )


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
