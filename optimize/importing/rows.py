"""Turns rows of an imported file into trials: their state, value, parameters, times and attributes.

It reads no file. It leaves no row out: a row with little in it becomes a trial with little in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Any

from optimize.importing.cells import is_cut, params_from
from optimize.search.endings import CONSEQUENCES
from optimize.trial import TrialStatus
from storage import Stored, WholeTrial, clean, ending_attrs, naive_utc, one_line, origin_attrs, spanning_rows

MOST_TEXTS = 200  # different texts of one parameter; more is prose, not a parameter
MOST_ATTRIBUTES, LONGEST_NAME = 40, 60
_GIGABYTE_MB = 1024
_EPOCH = re.compile(r"1[0-9]{9}([0-9]{3})?(\.[0-9]{1,9})?")  # seconds or milliseconds, from 2001 to 2033
_FAILED = {"crash", "crashed", "fail", "failed", "failure", "error", "timeout", "killed", "fatal"}
_COMPLETE = {
    "keep", "kept", "discard", "discarded", "complete", "completed", "ok", "success", "done", "finished", "baseline",
}  # fmt: skip
_WORDS = {status.value for status in TrialStatus}
_OURS = ("origin", "status", "reason", "summary", "ending", "condemned")  # attributes with a meaning here


@dataclass(frozen=True, slots=True)
class Row:
    """What a file says of one trial: `known` by the meaning of its columns, with values as they stand in the file."""

    line: int  # of the file
    known: Mapping[str, object] = field(default_factory=dict)
    value: object = None
    params: Mapping[str, object] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_cut(self) -> bool:
        """Whether its parameters are unknown because its description, which had them, lacks its end."""
        return not self.params and is_cut(self.text("description"))

    def text(self, what: str) -> str:
        """Return what is known under this meaning, stripped; "" if nothing is."""
        found = self.known.get(what)
        return "" if found is None else str(found).strip()


@dataclass(frozen=True, slots=True)
class TableReading:
    """How the rows of one file are read."""

    source: str  # the file's name, kept with every trial
    direction: str
    zone: tzinfo | None  # for times that name none; None: this machine's


def trials_from_rows(rows: Sequence[Row], reading: TableReading) -> tuple[list[WholeTrial], Counter[str]]:
    """Return a trial for each row, in their order, and what was noticed: a few words -> how often."""
    noticed: Counter[str] = Counter()
    named = [params_from(row.params.items()) for row in rows]
    prose = _prose(named, noticed)
    params = [{name: value for name, value in each.items() if name not in prose} for each in named]
    texts = [{name: value for name, value in each.items() if name in prose} for each in named]
    trials = [
        replace(_trial(row, text, reading, noticed), params=each, rows=stored)
        for row, text, each, stored in zip(rows, texts, params, spanning_rows(params), strict=True)
    ]
    return trials, noticed


def value_in(row: Row, direction: str) -> float | None:
    """Return the value of a row that becomes a complete trial, None for any other."""
    value = number_of(row.value)
    return value if _ended(row, value, direction, Counter())[0] == "COMPLETE" else None


def number_of(given: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        value = float(given)
    except (ValueError, OverflowError):
        return None
    return value if isfinite(value) else None


def moment_of(given: object, zone: tzinfo | None) -> datetime | None:
    """Return the naive UTC time of ISO text, or of seconds or milliseconds since 1970; None for anything else."""
    if isinstance(given, str) and _EPOCH.fullmatch(given.strip()):
        given = float(given)
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return datetime.fromtimestamp(given / 1000 if given > 1e11 else given, UTC).replace(tzinfo=None)
        return (
            naive_utc(datetime.fromisoformat(given.strip()), zone) if isinstance(given, str) and given.strip() else None
        )
    except (ValueError, OverflowError, OSError):
        return None


def _trial(row: Row, texts: Mapping[str, Stored], reading: TableReading, noticed: Counter[str]) -> WholeTrial:
    """Return the trial of a row, without its parameters. `texts` are columns of prose, kept as attributes."""
    value = number_of(row.value)
    state, status, why = _ended(row, value, reading.direction, noticed)
    memory_gb = number_of(row.known.get("memory_gb"))
    peak = {"peak_vram_mb": memory_gb * _GIGABYTE_MB} if memory_gb else {}
    times = {what: moment_of(row.known.get(what), reading.zone) for what in ("started", "finished")}
    if any(row.text(what) and moment is None for what, moment in times.items()):
        noticed["with a time that cannot be read, kept without it"] += 1
    if row.is_cut:
        noticed["with a description that lacks its end, kept without parameters (trials.csv has all of them)"] += 1
    number = row.text("number")
    ran = f"{reading.source} line {row.line}" + (f" (trial {number})" if number else "")
    ending = ending_attrs(
        status,
        reason=why or row.text("reason") or row.text("description"),
        seconds=number_of(row.known.get("seconds")),
        slot=row.text("slot"),
        device=row.text("device"),
        script=one_line(row.text("commit"), 40),
        summary={**peak, **{name: clean(each) for name, each in row.summary.items()}},
    )
    rest = _rest(row, texts, value if state != "COMPLETE" else None)
    return WholeTrial(
        state=state,
        params={},
        rows=(),
        attrs={**rest, **origin_attrs(_kind(row), taken_from=ran), **ending},
        values=(value,) if state == "COMPLETE" and value is not None else (),
        curve=row.curve,
        started=times["started"],
        finished=times["finished"],
    )


def _ended(row: Row, value: float | None, direction: str, noticed: Counter[str]) -> tuple[str, str, str]:
    """Return state, status, and a reason of ours if there is one."""
    state = row.text("state").rpartition(".")[2].upper()  # TrialState.COMPLETE
    word = row.text("status").lower()
    if state == "WAITING":
        return state, "", ""
    if state == "RUNNING" or word == "running":
        noticed["still running there, kept as failed"] += 1
        return "FAIL", TrialStatus.LOST, "was still running when it was brought in"
    if state in ("PRUNED", "FAIL"):
        otherwise = TrialStatus.HOPELESS if state == "PRUNED" else TrialStatus.CRASHED
        return state, word if word in _WORDS else otherwise, ""
    if word in _WORDS and word != TrialStatus.COMPLETE:
        return CONSEQUENCES[TrialStatus(word)].state, word, ""
    if word in _FAILED:
        return "FAIL", TrialStatus.CRASHED, ""
    if word and word not in _COMPLETE:
        noticed[f"with the status {one_line(word, 30)}, judged by their value"] += 1
    zero_is_none = direction == "minimize" and not state  # 0.000000 is how autoresearch writes a crash
    if value is not None and not (value == 0 and zero_is_none):
        return "COMPLETE", TrialStatus.COMPLETE, ""
    if word in ("discard", "discarded"):
        return "PRUNED", TrialStatus.HOPELESS, ""
    noticed["without a value, kept as failed"] += 1
    has_text = row.value not in (None, "")
    return "FAIL", TrialStatus.CRASHED, f"has no value: {one_line(str(row.value), 40)!r}" if has_text else ""


def _kind(row: Row) -> str:
    kind = row.text("kind").lower()
    said = row.text("description").lower() == "baseline" or row.text("status").lower() == "baseline"
    return (
        "baseline"
        if said
        else kind
        if kind in ("baseline", "sampler", "advisor", "proposal", "start", "requeue")
        else ""
    )


def _rest(row: Row, texts: Mapping[str, Stored], value: float | None) -> dict[str, Any]:
    """Return all other columns as attributes, cleaned. Names that have a meaning here get another."""
    known: dict[str, Any] = {
        "description": row.text("description"),
        "commit": row.text("commit"),
        "status_there": row.text("status"),
    }
    if value:
        known["value_there"] = value  # of a trial that has none here
    found = {**{key: text for key, text in known.items() if text}, **row.rest, **texts}
    kept = {}
    for key, each in list(found.items())[:MOST_ATTRIBUTES]:
        name = one_line(str(key), LONGEST_NAME) or "unnamed"
        kept[f"{name}_there" if name in _OURS else name] = clean(each)
    return kept


def _prose(named: Sequence[Mapping[str, Stored]], noticed: Counter[str]) -> set[str]:
    """Return names of prose: a column with more than MOST_TEXTS different texts is no parameter."""
    different: dict[str, set[str]] = {}
    wordy = set()
    for params in named:
        for name, value in params.items():
            different.setdefault(name, set()).add(str(value))
            if isinstance(value, bool) or not isinstance(value, int | float):
                wordy.add(name)
    prose = {name for name in wordy if len(different[name]) > MOST_TEXTS}
    for name in sorted(prose):
        noticed[f"with {name}, which has more than {MOST_TEXTS} texts and is kept as an attribute"] += sum(
            name in params for params in named
        )
    return prose
