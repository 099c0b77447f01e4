"""What a trial's note says of how it came about, and of what it changed."""

from __future__ import annotations

from optimize.reporting.baseline_words import baseline_words
from optimize.reporting.markdown import block, code, folded
from optimize.text import duration
from storage import TrialRecord

WIDTH = 88  # characters of a line: a trial's page in the dashboard is as wide as the longest


def what_changed(record: TrialRecord, changed: str) -> str:
    """Return the changed lines of a patch, and what it is against."""
    if record.kind == "baseline":
        return (
            f"What the profile changes in the script:\n{block(changed, 'diff')}"
            if changed
            else "The script ran unchanged."
        )
    return f"Against the baseline:\n{block(changed, 'diff')}" if changed else "The baseline's script ran unchanged."


_KINDS = {
    "sampler": "proposed by the sampler",
    "advisor": "proposed by an advisor",
    "start": "a start",
    "proposal": "proposed by",
    "repeat": "a repeat of",
    "replicate": "a replicate of",
}


def circumstances(record: TrialRecord, profile: str) -> str:
    """Return when, where and why a trial ran; `profile` is what the profile changes in the script."""
    took = f"after {duration(record.seconds)}" if record.seconds is not None else ""
    where = f"on {code(record.device, 40)}" if record.device else ""
    slot = f"(slot {code(record.slot, 40)})" if record.slot else ""
    ran, what = " ".join(filter(None, (took, where, slot))), _KINDS.get(record.kind, "")
    if record.kind == "baseline":
        what = baseline_words(bool(profile))
    source = f"{'from ' if record.kind == 'start' else ''}{code(record.source, 60)}" if record.source else ""
    again = f"attempt {record.attempt}" if record.attempt > 1 else ""
    taken = f"copied from {code(record.taken_from, 60)}" if record.taken_from else ""
    line = folded(list(filter(None, (ran, f"{what} {source}".strip(), again, taken))), ", ", WIDTH)
    return line[:1].upper() + line[1:]
