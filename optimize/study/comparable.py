"""What makes the values of a study comparable: scripts, search space, constants, data, metric and the model of the device.

The parts of the fingerprint are hashed one by one. They are compared before a study is reopened and before its trials go into
another one. A faster device trains more under a time budget, so a study stays with one model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from shlex import join, quote
from typing import Any

from optimize.config.plan import AGAIN, SEED, Plan
from optimize.errors import StudyMismatchError
from optimize.script.device_batch import DeviceBatch
from optimize.script.workload import Workload
from optimize.search import rules_attr
from optimize.text import name_after
from optimize.trial import BASELINE, Metric, Slot, Value
from search_spaces import SearchSpace
from storage import TrialRecord, parent_of

FINGERPRINT, CONSTANTS = "fingerprint", "constants"  # attributes of a study
DEVICE_BATCH = "device_batch"  # of a study whose baseline did not fit with its own
SPACE_FILE = "space_file"  # the text of a search space of the user's own
ABOUT = "about"  # and what it is called: workload, script, search space, profile, the command that goes on with it

_ADVICE = {
    "script": "the scripts have changed (comments and layout do not count)",
    "search space": "the choices or rules have changed",
    "constants": "the profile's constants have changed",
    "data": "the prepared data or the tokenizer is another",
    "metric": "the metric or its direction is another",
}


def fingerprint(workload: Workload, space: SearchSpace, constants: Mapping[str, Value], data: str) -> dict[str, str]:
    """Return a short text for each part of a study; equal parts mean comparable values."""
    return {
        "script": workload.fingerprint(),
        "search space": space.fingerprint(),
        "constants": constants_fingerprint(constants),
        "data": data,
        "metric": _metric(workload.metric),
    }


def constants_fingerprint(constants: Mapping[str, Value]) -> str:
    """Return the part of a fingerprint that is about the profile's constants."""
    return hashlib.sha256(repr(sorted(constants.items())).encode()).hexdigest()[:16]


def _metric(metric: Metric) -> str:
    lines = f", the {metric.take} of {metric.regex}" if metric.regex else ""
    file = f", the {metric.take} in {metric.file}" if metric.file else ""
    return f"{metric.direction} {metric.name}{lines}{file}"


def check_fingerprint(
    study: str, attrs: Mapping[str, Any], wanted: Mapping[str, str], names: Callable[[], Sequence[str]]
) -> None:
    """Raise StudyMismatchError with a line for each part that differs, or one line if no script of the study is known.

    `attrs` are the study's. `names` returns those of all studies, of which a proposed one has none.
    """
    stored = attrs.get(FINGERPRINT, {})
    if not stored or not isinstance(stored, dict):
        raise StudyMismatchError(
            f"study {study}: it was imported or made by another program, so its script is not known. "
            f"Begin a new study with it: {_another(study, names(), '--from', study)}"
        )
    differing = [part for part in wanted if stored.get(part) != wanted[part]]
    if differing:
        how = f"begin another study: {_another(study, names())}"
        if differing == ["search space"] and not parent_of(study):
            how = f"take its trials along: `optimize migrate {quote(study)} --to {name_after(study, names())}`"
        where = f"study {study}: "
        back = dict.fromkeys(differing, "Go back to what it was")
        if "search space" in back and SPACE_FILE in attrs:
            back["search space"] += f" (`optimize space export --study {quote(study)}` writes its own)"
        end = ": its values would not be comparable. "
        raise StudyMismatchError(*(f"{where}{_ADVICE[part]}{end}{back[part]}, or {how}" for part in differing))


def _another(study: str, names: Sequence[str], *words: str) -> str:
    """Return the command that begins another study, of a name that is free.

    Where it is shown, it gets this call's flags of place, profile, workload, search space and devices, but no others.
    """
    return f"`optimize run {join([*words, '--study', name_after(parent_of(study) or study, names)])}`"


def changed_before_any_value(
    attrs: Mapping[str, Any], wanted: Mapping[str, str], baseline: Mapping[str, object], direction: str
) -> str:
    """Return what has changed in a study that has no value yet, if it may go on all the same; else "".

    The search space, the baseline's parameters and the direction may not change: its trials have them already.
    """
    stored = attrs.get(FINGERPRINT)
    if not stored or not isinstance(stored, dict) or attrs.get(BASELINE) != baseline:
        return ""
    changed = [part for part in wanted if stored.get(part) != wanted[part]]
    if "search space" in changed or not str(stored.get("metric")).startswith(f"{direction} "):
        return ""
    return ", ".join(_ADVICE[part] for part in changed)


def describe_study(plan: Plan, parts: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of a new study; `parts` is its fingerprint."""
    stored = plan.space.encode(plan.baseline)
    return {
        FINGERPRINT: dict(parts),
        BASELINE: stored,
        CONSTANTS: dict(plan.settings.written),
        ABOUT: plan.about(),
        **device_batch_attrs(plan.settings.device_batch),
        **rules_attr(plan.space, plan.constants),
        **space_file_attr(plan),
    }


def space_file_attr(plan: Plan) -> dict[str, str]:
    """Return the attribute that keeps the text of a search space of the user's own, {} for one of ours."""
    return {SPACE_FILE: plan.space.text} if "/" in plan.settings.search_space and plan.space.text else {}


def device_batch_attrs(batch: DeviceBatch | None) -> dict[str, Any]:
    """Return the attribute that keeps the device batch of a study, {} where it has its own."""
    return {} if batch is None else {DEVICE_BATCH: asdict(batch)}


def device_batch_of(attrs: Mapping[str, Any]) -> DeviceBatch | None:
    """Return the device batch that a study with these attributes has in the place of its own, None if it has that."""
    try:
        kept = attrs[DEVICE_BATCH]
        return DeviceBatch(
            str(kept["name"]), int(kept["value"]), (int(kept["too_large"][0]), *map(int, kept["too_large"][1:]))
        )
    except (KeyError, IndexError, TypeError, ValueError):  # another program's may be anything
        return None


def is_confirmable(attrs: Mapping[str, Any]) -> bool:
    """Tell whether `optimize confirm` can work on a study with these attributes: its scripts are known and have a seed."""
    about = attrs.get(ABOUT)
    return bool(attrs.get(FINGERPRINT)) and not (isinstance(about, dict) and about.get(SEED) == "")


def differs_again(attrs: Mapping[str, Any]) -> str | None:
    """Return why training the same again gives another value, "" if it does not; None where a study does not say it."""
    about = attrs.get(ABOUT)
    found = about.get(AGAIN) if isinstance(about, dict) else None
    return found if isinstance(found, str) else None


def constants_of(attrs: Mapping[str, Any], workload: Workload, otherwise: Mapping[str, Value]) -> dict[str, Value]:
    """Return all constants of the scripts in a study with these attributes; its scripts are those of `workload`."""
    profile = attrs.get(CONSTANTS)
    mine = {name: _tuples(value) for name, value in profile.items()} if isinstance(profile, dict) else dict(otherwise)
    return {**workload.constants(), **mine}


def differences(
    attrs: Mapping[str, Any], workload: Workload, space: SearchSpace, constants: Mapping[str, Value], data: str | None
) -> list[str]:
    """Return why values of a study with these attributes are not comparable with those of a new one; [] if they are.

    The search space may differ. So may constants that are a parameter in one of the two: each trial tells its value.
    """
    stored = attrs.get(FINGERPRINT, {})
    if not stored:
        return ["it was imported or made by another program"]
    if workload.has_fingerprint(stored.get("script")):
        workload = replace(workload, known_as=stored["script"])
    wanted = fingerprint(workload, space, constants, data or "")
    parts = ("script", "metric", *(() if data is None else ("data",)))
    lines = [_ADVICE[part] for part in parts if stored.get(part) != wanted[part]]
    if not isinstance(attrs.get(CONSTANTS), dict):  # then only their hash is known
        return lines + ([_ADVICE["constants"]] if stored.get("constants") != wanted["constants"] else [])
    if _ADVICE["script"] in lines:  # what its constants were cannot be told
        return lines
    before, now = constants_of(attrs, workload, {}), {**workload.constants(), **constants}
    fixed = [name for name in {**before, **now} if name not in {*attrs.get(BASELINE, {}), *space.names}]
    return lines + [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in fixed
        if repr(before.get(name)) != repr(now.get(name))
    ]


def _tuples(value: object) -> Any:
    """JSON knows no tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def model_of(records: Sequence[TrialRecord]) -> str:
    """Return the model of the device that a study's values come from; "" if it has no value or none tells."""
    return next((record.device for record in records if record.value is not None and record.device), "")


def required_model(plan: Plan, records: Sequence[TrialRecord]) -> str:
    """Return the model of the device without which values would not be comparable with these; "" if any will do."""
    any_will_do = plan.settings.mixed_devices or plan.workload.budget_is_work(plan.constants)
    return "" if any_will_do else model_of(records)


def other_model(plan: Plan, slots: Sequence[Slot], records: Sequence[TrialRecord]) -> str:
    """Return the model that the values come from, if no slot is of it and values would not be comparable; else ""."""
    known = required_model(plan, records)
    return "" if not slots or known in [slot.device for slot in slots] else known


def slots_of_one_model(
    plan: Plan,
    slots: Sequence[Slot],
    records: Sequence[TrialRecord],
    say: Callable[[str], None],
    names: Callable[[], Sequence[str]],
) -> tuple[Slot, ...]:
    """Return the slots that the study may use. Raises StudyMismatchError if its values would not be comparable.

    Those of a cluster are all returned: its nodes tell their models when they are asked (`Cluster.model`). `names` returns
    those of all studies, of which a proposed one has none.
    """
    if plan.settings.executor == "ray":
        return tuple(slots)
    study, known = plan.settings.study, model_of(records)
    if plan.settings.mixed_devices or not slots:
        return tuple(
            sorted(slots, key=lambda slot: slot.memory_mb)
        )  # the first has the baseline, which has to fit them all
    here = [slot.device for slot in slots]
    if known and known not in here:
        _compare(plan, known, here[0], say, names)
    model = known if known in here else here[0]
    for slot in slots:
        if slot.device != model:
            say(
                f"{slot.name} ({slot.device}): idle, because study {study} runs on {model}. Use it: `optimize ... --mixed-devices`"
            )
    return tuple(slot for slot in slots if slot.device == model)


def _compare(plan: Plan, known: str, here: str, say: Callable[[str], None], names: Callable[[], Sequence[str]]) -> None:
    where = f"study {plan.settings.study}: its trials ran on {known}, here is {here}"
    if not plan.workload.budget_is_work(plan.constants):
        raise StudyMismatchError(
            f"{where}: under a time budget their values are not comparable. Begin another study: "
            f"{_another(plan.settings.study, names())}, or go on and have the values marked: `optimize ... --mixed-devices`"
        )
    say(f"{where}: the budget is one of work, so values differ by rounding only; they are marked")
