"""One study, one device model: under a time budget a faster device trains more, and its values are not comparable.

It says which slots a study uses and why others stay idle; it finds none (`executors/slots.py`) and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimize.errors import StudyMismatchError
from optimize.plan import Plan
from optimize.trial import Slot
from storage import TrialRecord


def model_of(records: Sequence[TrialRecord]) -> str:
    """The model that a study's values come from; "" if it has none, or they do not tell."""
    return next((record.device for record in records if record.value is not None and record.device), "")


def other_model(plan: Plan, slots: Sequence[Slot], records: Sequence[TrialRecord]) -> str:
    """The model that values come from, where no slot is one and they could not stand beside what these give; else ""."""
    known = model_of(records)
    here = known in ("", *(slot.device for slot in slots)) or not slots
    return "" if here or plan.settings.mixed_devices or plan.workload.budget_is_work(plan.constants) else known


def slots_of_one_model(
    plan: Plan, slots: Sequence[Slot], records: Sequence[TrialRecord], say: Callable[[str], None]
) -> tuple[Slot, ...]:
    """Those that the study may use. Raises StudyMismatchError if its values would not be comparable."""
    study, known = plan.settings.study, model_of(records)
    if plan.settings.mixed_devices or not slots:
        return tuple(slots)
    here = [slot.device for slot in slots]
    if known and known not in here:
        _compare(plan, known, here[0], say)
    model = known if known in here else here[0]
    for slot in slots:
        if slot.device != model:
            say(f"{slot.name} ({slot.device}): idle, because study {study} runs on {model}. Use it: --mixed-devices")
    return tuple(slot for slot in slots if slot.device == model)


def _compare(plan: Plan, known: str, here: str, say: Callable[[str], None]) -> None:
    where = f"study {plan.settings.study}: its trials ran on {known}, here is {here}"
    if not plan.workload.budget_is_work(plan.constants):
        raise StudyMismatchError(
            f"{where}: under a time budget their values are not comparable. Start a new study with "
            "STUDY=another-name, or go on with --mixed-devices, which marks the values."
        )
    say(f"{where}: the budget is one of work, so values differ by rounding only; they are marked")
