"""What programs read of a study beside its state, as JSON: one trial, which parameters matter, the noise, the best one's files.

`status_json.py` has the state. Texts of scripts are cut at fixed lengths, so that every document has a bounded size.
`docs/agents.md` lists the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optimize.confirm.caveats import caveats
from optimize.reporting.figures.data import noise
from optimize.reporting.hints import training_command
from optimize.reporting.status_json import SCHEMA, as_json, trial_json
from optimize.study.left_files import LOG, PATCH, PROFILE_PATCH
from optimize.study.stored import Overview, StoredStudy
from optimize.text import short, visible
from storage import TrialRecord, first_baseline

LOG_CHARS = 4_000  # of a log's end
PATCH_CHARS = 8_000  # of a patch's beginning


def trial_document(stored: StoredStudy, number: int) -> dict[str, Any]:
    """Return everything about one trial: its patch against the baseline and the end of its log too.

    Raises StudyError if there is no such trial.
    """
    record = stored.record(number)
    texts = stored.texts(record)
    baseline = first_baseline(stored.database, stored.study_id)
    return {
        **_head(stored),
        "trial": trial_json(record),
        "source": record.source or None,
        "taken_from": record.taken_from or None,
        "attempt": record.attempt,
        "changed": _changed(record, stored),
        "caveats": list(caveats(record, baseline)) if record.value is not None else [],
        "summary": {name: as_json(value) for name, value in record.summary.items()},
        "curve": {str(percent): as_json(loss) for percent, loss in record.curve.items()},
        "patch": _beginning(texts.get(PATCH, "")),
        "profile_patch": _beginning(texts.get(PROFILE_PATCH, "")) if record.kind == "baseline" else "",
        "log_end": _end(texts.get(LOG, "")),
        "files": sorted(texts),
    }


def overview_document(where: str, studies: Sequence[Overview]) -> dict[str, Any]:
    """Return a few facts about each of the studies in the database at `where`."""
    return {"schema": SCHEMA, "database": where, "studies": [_overview(each) for each in studies]}


def importance_document(stored: StoredStudy) -> dict[str, Any]:
    """Return how much each parameter matters for being among the best trials, as the report shows it."""
    from optimize.reporting.figures.importance import importances  # slow: with scikit-learn, where that is installed

    found = importances(stored.database.trials(stored.study_id), stored.metric.direction)
    return {
        **_head(stored),
        "trials": found.trials,
        "top": found.top,
        "why_not": found.why_not or None,
        "parameters": [{**asdict(each), "beyond_luck": each.share > each.luck} for each in found.of],
    }


def noise_document(stored: StoredStudy) -> dict[str, Any]:
    """Return how far the values of equal parameters are apart: with other seeds, as a confirmation found, and in the search."""
    verdict, repeats = stored.verdict(), noise(stored.records())
    told = verdict is not None and bool(verdict.finalists)
    return {
        **_head(stored),
        "confirmation": None
        if verdict is None or not told
        else {"deviation": as_json(verdict.noise), "smallest_gain": as_json(verdict.floor), "level": verdict.level},
        "repeats": None if repeats is None else {**asdict(repeats), "deviation": as_json(repeats.deviation)},
        "why_not": None
        if told or repeats
        else "nothing was trained twice: a confirmation measures the noise between seeds",
    }


def best_document(stored: StoredStudy, written: Sequence[Path]) -> dict[str, Any]:
    """Return what lies in best/ and how sure it is; `written` are the files and folders that were just written."""
    best = stored.best()
    texts = stored.texts(best.record) if best else {}
    return {
        **_head(stored),
        "written": [str(path.absolute()) for path in written],
        "folder": str(stored.paths.best.absolute()) if best else None,
        "command": training_command(texts) if best else None,
        "best": trial_json(best.record) if best else None,
        "confirmed": best.confirmed if best else None,
        "why": best.why if best else stored.no_best or "no trial has a value yet",
        "patch": _beginning(texts.get(PATCH, "")),
        "profile_patch": _beginning(texts.get(PROFILE_PATCH, "")),
    }


def written_document(study: str, written: Sequence[Path], **more: object) -> dict[str, Any]:
    """Return which files and folders a command has written."""
    return {"schema": SCHEMA, "study": study, "written": [str(path.absolute()) for path in written], **more}


def _overview(study: Overview) -> dict[str, Any]:
    best = study.best
    return {
        "name": study.name,
        "states": {state: count for state, count in study.counts.items() if count},
        "best_number": best.record.number if best else None,
        "best_value": best.record.value if best else None,
        "best_confirmed": best.confirmed if best else None,
        "driver": study.driver or None,
    }


def _head(stored: StoredStudy) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "study": stored.name,
        "metric": stored.metric.name,
        "direction": stored.metric.direction,
    }


def _changed(record: TrialRecord, stored: StoredStudy) -> dict[str, Any]:
    """Return the parameters in which it differs from the baseline; compared as text, because a stored tuple is text."""
    baseline = stored.baseline
    return {
        name: {"from": as_json(baseline.get(name)), "to": as_json(value)}
        for name, value in record.params.items()
        if short(value) != short(baseline.get(name))
    }


def _beginning(text: str) -> str:
    left = len(text) - PATCH_CHARS
    return text if left <= 0 else f"{text[:PATCH_CHARS]}\n... {left:,} more characters"


def _end(log: str) -> str:
    text = visible(log).rstrip("\n")
    return text if len(text) <= LOG_CHARS else f"... {text[-LOG_CHARS:]}"
