"""Why a trial's value may not be comparable with the others'. A caveat is shown beside the value; it never drops a trial."""

from __future__ import annotations

from collections.abc import Mapping

from storage import TrialRecord

TOLERANCE = 0.05  # a last step may begin within the budget and end after it


def caveats(record: TrialRecord, baseline: TrialRecord | None, budget: Mapping[str, float] | None = None) -> list[str]:
    """Return a few words for each caveat, from what the script printed; [] if there is none.

    `budget` is what a training may use, by the summary key under which the script prints what it used.
    """
    found = []
    epochs = record.summary.get("epochs")
    if isinstance(epochs, float) and epochs > 1:
        found.append(f"saw its data {epochs:g} times")
    for key, allowed in (budget or {}).items():
        used = record.summary.get(key)
        if isinstance(used, int | float) and used > allowed * (1 + TOLERANCE):
            found.append(f"{key} {used:g}, its budget is {allowed:g}")
    for key in ("device", "dtype", "data_fingerprint", "eval_tokens"):
        here, there = _fact(record, key), _fact(baseline, key) if baseline else None
        if here and there and here != there:
            found.append(f"{key} {here}, the baseline's was {there}")
    return found


def _fact(record: TrialRecord, key: str) -> object:
    return (key == "device" and record.device) or record.summary.get(key)
