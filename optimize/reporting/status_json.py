"""The state of studies as one JSON document for programs: `optimize status --json`.

Trials are counted in the database; it reads only the latest ones, those at the top and the baseline. `docs/take-away.md` lists
the keys, on which programs rely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from optimize.confirm.verdict import Verdict
from optimize.reporting.four_facts import four_facts
from optimize.reporting.standing import read_standing
from optimize.study.comparable import device_batch_of
from optimize.study.stored import StoredStudy
from storage import TrialRecord, count_statuses, first_baseline, holder_of, parent_of

SCHEMA = 1  # goes up when a key changes its meaning or is removed; a new key does not change it
LATEST = 20  # trials, where nobody says how many


def document(where: str, studies: Sequence[StoredStudy], last: int) -> dict[str, Any]:
    """Return the document about these studies, with the `last` trials of each."""
    return {"schema": SCHEMA, "database": where, "studies": [_study(study, last) for study in studies]}


def _study(stored: StoredStudy, last: int) -> dict[str, Any]:
    database, study_id = stored.database, stored.study_id
    holder = holder_of(database, study_id)
    best, baseline = stored.best(), first_baseline(database, study_id)
    batch = device_batch_of(database.study_attrs(study_id))
    return {
        "name": stored.name,
        "metric": stored.metric.name,
        "direction": stored.metric.direction,
        "states": database.counts(study_id),
        "statuses": count_statuses(database, study_id),
        "baseline": None if baseline is None else trial_json(baseline),
        "device_batch": None if batch is None else asdict(batch),
        "best": None if best is None else trial_json(best.record),
        "best_confirmed": None if best is None else best.confirmed,
        "best_verdict": None if best is None else best.state,
        "best_why": (stored.no_best or None) if best is None else best.why,
        "best_single_value": None if best is None else trial_json(best.luckiest),
        **({} if parent_of(stored.name) else _facts(stored)),
        "confirmation": confirmation_json(stored.verdict()),
        "driver": None if holder is None else {"host": holder.host, "pid": holder.pid, "since": _utc(holder.since)},
        "latest": [trial_json(record) for record in stored.latest(last)],
    }


def _facts(stored: StoredStudy) -> dict[str, Any]:
    """Return the four facts, what they are made of, and the commands of the last one."""
    standing = read_standing(stored)
    facts, cost = four_facts(standing), standing.cost
    named = zip(("what_won", "how_sure", "what_it_cost", "what_next"), facts.all, strict=True)
    edges = [
        {"name": e.parameter.name, "value": e.value, "choices": e.parameter.choices, "further": e.further}
        for e in standing.edges
    ]
    return {
        "facts": {key: [fact.answer, *fact.more] for key, fact in named},
        "next_commands": [{"why": why, "command": command} for why, command in facts.commands],
        "cost": {**asdict(cost), "seconds": as_json(cost.seconds)},
        "edges": edges,
        "ten_more": {"expected_gain": standing.gain, "noise": standing.verdict.noise if standing.verdict else None},
    }


def confirmation_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return what the repeats of a study have found."""
    if verdict is None:
        return None
    told = asdict(verdict)
    for each, finalist in zip(told["finalists"], verdict.finalists, strict=True):
        each["verdict"] = finalist.state
    return {"winner": verdict.winner and verdict.winner.number, **told}


def trial_json(record: TrialRecord) -> dict[str, Any]:
    """Return what every document says of a trial."""
    return {
        "number": record.number,
        "state": record.state,
        "status": record.status or None,
        "value": as_json(record.value),
        "params": {name: as_json(value) for name, value in record.params.items()},
        "kind": record.kind or None,
        "reason": record.reason or None,
        "seconds": as_json(record.seconds),
        "started": _moment(record.started),
        "finished": _moment(record.finished),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def as_json(value: object) -> object:
    """Return a value that JSON can hold: it has no NaN and no infinity, and another program's parameter may be anything."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
