"""What is kept of a trial that has ended: its files as artifacts, and its outcome as attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from optimize.script.byte_order_marks import without_boms
from optimize.script.command import RUN, shell_script
from optimize.trial import Job, Outcome
from storage import StorageError, ending_attrs, make_patch, params_text, revert_patch

PATCH = "train.patch"
BESIDE_SCRIPTS = frozenset((RUN, PATCH, "params.toml", "log.txt", "curve.csv"))


def files_to_keep(job: Job, outcome: Outcome, originals: Mapping[str, str]) -> dict[str, str]:
    """Return the artifacts of a trial by file name: scripts, patch against `originals`, parameters, log and curve."""
    again = shell_script(job)
    kept = {
        **({RUN: again} if again else {}),
        **job.files,
        PATCH: make_patch(originals, job.files),
        "params.toml": params_text(job.params, job.number),
        "log.txt": outcome.log,
    }
    curve = "".join(f"{fraction:.4f},{loss:.6f}\n" for fraction, loss in outcome.curve)
    return kept | ({"curve.csv": "fraction,train_loss\n" + curve} if curve else {})


def originals_of(kept: Mapping[str, str]) -> dict[str, str]:
    """Return the workload's own files, of which a trial that left these artifacts had its scripts; {} if some are missing."""
    scripts = {name: text for name, text in kept.items() if name not in BESIDE_SCRIPTS}
    try:
        return revert_patch(scripts, kept[PATCH]) if PATCH in kept else {}
    except StorageError:
        return {}


def outcome_attrs(job: Job, outcome: Outcome) -> Mapping[str, Any]:
    """Return the attributes that the database keeps of an outcome."""
    started = repr(job.started) if job.started else ""  # of a script with constants alone the hash is that of its files
    files = sorted(without_boms(job.files).items())  # as earlier releases hashed them
    script = hashlib.sha256((repr(files) + started).encode()).hexdigest()[:16]
    return ending_attrs(
        outcome.status,
        reason=outcome.reason,
        seconds=outcome.seconds,
        slot=outcome.slot,
        script=script,
        summary=outcome.summary,
        device=outcome.device,
    )
