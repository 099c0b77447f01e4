"""Why a trial's value may not be comparable with the others'. A caveat is shown beside the value; it never drops a trial."""

from __future__ import annotations

from collections.abc import Mapping

from optimize.config.plan import Plan
from optimize.confirm.replicates import budget_of
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


def trial_caveats(plan: Plan, record: TrialRecord, baseline: TrialRecord | None) -> list[str]:
    """Return the caveats about a trial of the plan's study that may be a winner: also those of what it has tuned."""
    names = ("EVAL_TOKENS", plan.workload.val_split, *plan.workload.budget)
    tuned = [plan.space[name] for name in names if name in plan.space.names]  # a gain by these is none of the model
    other = [p.name for p in tuned if record.params[p.name] != p.encode(plan.baseline[p.name])]
    return [
        *caveats(record, baseline, limits_of(plan)),
        *(f"{name} {record.params[name]}, the baseline's was {plan.baseline[name]}" for name in other),
    ]


def limits_of(plan: Plan) -> dict[str, float]:
    """Return what a training may use, by the names that our script and autoresearch's print it under."""
    name, value = budget_of(plan)
    printed = "charged_flops" if plan.workload.budget_is_work(plan.constants) else "training_seconds"
    return {printed: float(value)} if name else {}


def _fact(record: TrialRecord, key: str) -> object:
    return (key == "device" and record.device) or record.summary.get(key)
