"""What is kept of a trial that has ended: its files as artifacts, and its outcome as attributes."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimize.script.byte_order_marks import without_boms
from optimize.script.command import name_of_script, shell_script
from optimize.study.left_files import CURVE, LOG, PARAMS, PATCH, PROFILE_PATCH, scripts_in
from optimize.trial import Job, Outcome
from storage import StorageError, ending_attrs, make_patch, params_text, revert_patch


@dataclass(frozen=True, slots=True)
class Scripts:
    """What patches are against: the workload's files, and the baseline's, which have the profile's constants."""

    originals: Mapping[str, str]
    baseline: Mapping[str, str]
    started: tuple[str, ...] = ()  # how the baseline's process is started, as far as parameters say it


def files_to_keep(job: Job, outcome: Outcome, scripts: Scripts) -> dict[str, str]:
    """Return the artifacts of a trial by file name: scripts, patch against the baseline, parameters, log and curve.

    The baseline has a patch against the workload's files as well, where the profile changes them.
    """
    value = outcome.summary.get(job.metric.name)
    again = shell_script(job, outcome.slot, value if isinstance(value, float) else None)
    profile = make_patch(scripts.originals, scripts.baseline)
    kept = {
        **({name_of_script(job.files): again} if again else {}),
        **job.files,
        **({PROFILE_PATCH: profile} if profile and job.files == scripts.baseline else {}),
        PATCH: started_words(job.started, scripts.started) + make_patch(scripts.baseline, job.files),
        PARAMS: params_text(job.params, job.number),
        LOG: outcome.log,
    }
    curve = "".join(f"{fraction:.4f},{loss:.6f}\n" for fraction, loss in outcome.curve)
    return kept | ({CURVE: "fraction,train_loss\n" + curve} if curve else {})


def started_words(started: tuple[str, ...], baseline: tuple[str, ...]) -> str:
    """Return the line of a patch that says how the process is started, "" if as that of the baseline. `patch` skips it."""
    changed = [word for word in started if word not in baseline]
    return f"How the process is started: {shlex.join(changed)}\n" if changed else ""


def originals_of(kept: Mapping[str, str]) -> dict[str, str]:
    """Return the workload's own files, of which a trial that left these artifacts had its scripts; {} if some are missing."""
    try:
        baseline = revert_patch(scripts_in(kept), kept[PATCH]) if PATCH in kept else {}
        return revert_patch(baseline, kept[PROFILE_PATCH]) if PROFILE_PATCH in kept else baseline
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
