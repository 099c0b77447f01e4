"""Describes what a trial was as one value; writes and reads our attributes in Optuna's tables.

A trial has at most six attributes of ours: `origin` from its creation, `condemned` if it was found hopeless while it
ran, and `status`, `reason`, `summary`, `ending` from its end. Which status means which state is not decided here.
Trials of other programs have none of these, and can be read as well.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from storage.database import Database
from storage.sql import Stored
from storage.text import encodable, one_line

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
_MOST_KEYS, _LONGEST_KEY, _LONGEST_TEXT, _LONGEST_REASON = 40, 60, 200, 300


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as the database knows it; what is not known is None or empty."""

    number: int
    trial_id: int
    state: str  # COMPLETE, PRUNED, FAIL, RUNNING or WAITING
    status: str = ""  # how it ended, in our words
    params: Mapping[str, Stored] = field(default_factory=dict)
    value: float | None = None  # of COMPLETE trials only
    reason: str = ""
    kind: str = ""  # baseline, sampler, advisor, proposal, start, replicate or repeat
    requeue_of: int | None = None
    attempt: int = 1  # 2: the same parameters once more, after a crash
    alone: bool = False  # it had its device for itself: beside another trial these parameters ran out of memory
    owner: str = ""  # who asked for it
    source: str = ""  # a start's origin, an advisor's model, what a replicate repeats
    taken_from: str = ""  # the study and trial that it was, if it did not run in this study
    started: datetime | None = None  # aware, UTC
    finished: datetime | None = None
    seconds: float | None = None
    slot: str = ""
    device: str = ""  # the slot's model
    script: str = ""  # hash of the rendered script
    summary: Mapping[str, float | str] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)  # percent of the budget -> train loss
    condemned: str = ""  # why it was found hopeless while it ran, whether it was cut or not

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


def origin_attrs(
    kind: str,
    *,
    requeue_of: int | None = None,
    attempt: int = 1,
    owner: str = "",
    alone: bool = False,
    source: str = "",
    taken_from: str = "",
) -> dict[str, Any]:
    """Return what is written when a trial is created."""
    texts = {"owner": one_line(owner), "source": one_line(source), "taken_from": one_line(taken_from)}
    known = {"kind": kind, "requeue_of": requeue_of, "attempt": attempt, "alone": alone or None, **texts}
    return {"origin": {key: value for key, value in known.items() if value not in (None, "")}}


def condemned_attrs(reason: str) -> dict[str, Any]:
    """Return what is written when a running trial is found hopeless."""
    return {"condemned": one_line(reason, _LONGEST_REASON)}


def ending_attrs(
    status: str,
    *,
    reason: str = "",
    seconds: float | None = None,
    slot: str = "",
    script: str = "",
    summary: Mapping[str, float | str] | None = None,
    device: str = "",
) -> dict[str, Any]:
    """Return what is written when a trial ends; text from a script is cut and cleaned. `seconds` is how long it took."""
    ending = {"seconds": _storable(seconds), "slot": one_line(slot), "device": one_line(device), "script": script}
    return {
        "status": status,
        "reason": one_line(reason, _LONGEST_REASON),
        "summary": _small(summary or {}),
        "ending": {key: value for key, value in ending.items() if value not in (None, "")},
    }


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Return the record of any trial of any Optuna study."""
    origin, ending = _mapping(trial, "origin"), _mapping(trial, "ending")
    started, finished = _utc(trial.datetime_start), _utc(trial.datetime_complete)
    return TrialRecord(
        number=trial.number,
        trial_id=trial._trial_id,
        state=trial.state.name,
        status=_text(trial.user_attrs.get("status")),
        params=trial.params,
        value=_value(trial),
        reason=one_line(_text(trial.user_attrs.get("reason")) or _several(trial), _LONGEST_REASON),
        kind=_text(origin.get("kind")),
        requeue_of=_whole(origin.get("requeue_of")),
        attempt=_whole(origin.get("attempt")) or 1,
        alone=origin.get("alone") is True,
        owner=_text(origin.get("owner")),
        source=_text(origin.get("source")),
        taken_from=_text(origin.get("taken_from")),
        started=started,
        finished=finished,
        seconds=_seconds(ending.get("seconds"), started, finished),
        slot=_text(ending.get("slot")),
        device=_text(ending.get("device")),
        script=_text(ending.get("script")),
        summary=_small(_mapping(trial, "summary")),
        curve=dict(sorted(trial.intermediate_values.items())),
        condemned=one_line(_text(trial.user_attrs.get("condemned")), _LONGEST_REASON),
    )


def time_record(
    number: int,
    trial_id: int,
    state: TrialState,
    started: datetime | None,
    finished: datetime | None,
    ending: object,
    origin: object,
) -> TrialRecord:
    """Return a record that has what a trial took, where it ran and where it is from."""
    ended, begun = (each if isinstance(each, dict) else {} for each in (ending, origin))
    return TrialRecord(
        number,
        trial_id,
        state.name,
        taken_from=_text(begun.get("taken_from")),
        seconds=_seconds(ended.get("seconds"), started, finished),
        slot=_text(ended.get("slot")),
    )


def read_records(database: Database, study_id: int) -> list[TrialRecord]:
    """Return all trials by number."""
    return [record_of(trial) for trial in database.trials(study_id)]


def read_choices(database: Database, study_id: int) -> dict[str, tuple[Stored, ...]]:
    """Return the choices of every parameter, in the search space's order; none where it is a range."""
    found: dict[str, tuple[Stored, ...]] = {}
    for trial in database.trials(study_id):
        for name, distribution in trial.distributions.items():
            found.setdefault(name, tuple(getattr(distribution, "choices", ())))
    return found


def best_record(records: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """Return the best COMPLETE trial, the earliest of equals; the train loss of a pruned trial never counts."""
    sign = 1.0 if direction == "minimize" else -1.0
    complete = [(sign * record.value, record.number, record) for record in records if record.value is not None]
    return min(complete, key=lambda entry: entry[:2])[2] if complete else None


def _value(trial: FrozenTrial) -> float | None:
    # Optuna itself stores the last intermediate value as the value of a PRUNED trial: a train loss, not the metric.
    if trial.state is not TrialState.COMPLETE or not trial.values or len(trial.values) > 1:
        return None
    value = float(trial.values[0])
    return value if math.isfinite(value) else None


def _several(trial: FrozenTrial) -> str:
    """Return the values of a trial of several objectives: none of them alone says which trial is better."""
    values = trial.values or ()
    return f"values {', '.join(f'{value:.6g}' for value in values)}" if len(values) > 1 else ""


def _utc(moment: datetime | None) -> datetime | None:
    # Optuna stores UTC and hands out naive local time; in the hour that a summer's end repeats it may be one hour off.
    return None if moment is None else moment.astimezone(UTC)


def _seconds(stored: object, started: datetime | None, finished: datetime | None) -> float | None:
    if isinstance(stored, int | float) and not isinstance(stored, bool):
        return float(stored)
    return (finished - started).total_seconds() if started and finished else None


def _small(summary: Mapping[str, Any]) -> dict[str, float | str]:
    kept = [(key, value) for key, value in summary.items() if value is not None][:_MOST_KEYS]
    return {one_line(str(key), _LONGEST_KEY): _storable(value) for key, value in kept}


def _storable(value: Any) -> Any:
    """Return a number that JSON has, or short text: NaN in a database breaks its other readers."""
    if isinstance(value, int | float) and abs(value) <= sys.float_info.max:  # of a NaN it is not
        return value
    return one_line(encodable(str(value)), _LONGEST_TEXT)


def _mapping(trial: FrozenTrial, key: str) -> Mapping[str, Any]:
    found = trial.user_attrs.get(key)
    return found if isinstance(found, dict) else {}


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _whole(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None
