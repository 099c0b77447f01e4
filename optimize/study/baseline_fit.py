"""Decides what is done about a baseline that ran out of memory: its device batch is made smaller, or the study stops and says why.

The device batch is then the same for the whole study, and the total batch stays what it was, by accumulation. It writes nothing:
`Study.tell` does, together with the ending.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from optimize.config.plan import Plan
from optimize.config.settings import profiles
from optimize.runner.out_of_memory import others_on_gpu, ran_out_on_gpu
from optimize.script.device_batch import TOTAL, DeviceBatch, smaller_batch
from optimize.search.endings import CROWDED, Again, Consequence
from optimize.search.memory import Score
from optimize.study.comparable import ABOUT, FINGERPRINT, describe_study
from optimize.trial import Outcome, TrialStatus, Value
from search_spaces import SearchSpaceError
from storage import parent_of

SMALLEST = "colab"  # the profile for the smallest GPUs
_AGAIN = Consequence("FAIL", Again.ALWAYS)
_SMALLER = Consequence("FAIL")  # this GPU is too small for it; its parameters are not bad ones


@dataclass(frozen=True, slots=True)
class BaselineEnding:
    """What follows from a baseline that ran out of memory."""

    number: int  # of its trial
    line: str  # what is done about it, or what a person has to do
    consequence: Consequence
    plan: Plan | None = None  # that the study goes on with; None: it stops
    device_batch: str = ""  # that it had, where the study goes on with a smaller one
    attrs: Mapping[str, Any] = field(default_factory=dict)  # of the study, from now on


@dataclass(frozen=True, slots=True)
class BaselineFit:
    """The judge of one study's baseline, which is trained as `plan` says."""

    plan: Plan

    def judge(
        self, number: int, kind: str, outcome: Outcome, usual: Consequence, has_values: bool
    ) -> BaselineEnding | None:
        """Return what follows from the ending of trial `number`; None if it is no baseline that ran out of memory alone on its GPU.

        `usual` is the consequence otherwise. `has_values`: another trial has completed.
        """
        if kind != "baseline" or outcome.status is not TrialStatus.OUT_OF_MEMORY or usual is CROWDED:
            return None
        plan, name = self.plan, self.plan.device_batch
        if not ran_out_on_gpu(outcome.reason):
            return BaselineEnding(number, _OF_THE_MACHINE, usual)
        if others := others_on_gpu(outcome.log):
            return BaselineEnding(number, f"The GPU is not its own: {others}. {_END_THAT}", _AGAIN)
        if not name:
            return BaselineEnding(number, f"Make its batch or its model smaller, {_IN_THE_PROFILE}. {_NAME_IT}", usual)
        batch = None if parent_of(plan.settings.study) else self._smaller(name)
        if batch is None or (has_values and name not in plan.space.names):
            return BaselineEnding(number, self._what_to_do(name, batch is not None), usual)
        fitted = plan.with_device_batch(batch)
        kept = describe_study(fitted, {})
        attrs = {key: value for key, value in kept.items() if key not in (FINGERPRINT, ABOUT)}
        had = f"{name} {batch.too_large[-1]}"
        return BaselineEnding(number, _line(number, fitted, batch), _SMALLER, fitted, had, attrs)

    def _smaller(self, name: str) -> DeviceBatch | None:
        plan = self.plan
        value, before = smaller_batch(name, plan.space, plan.constants, plan.baseline), plan.settings.device_batch
        now = plan.constants[name]
        assert isinstance(now, int)
        return None if value is None else DeviceBatch(name, value, (*(before.too_large if before else ()), now))

    def _what_to_do(self, name: str, can_be_smaller: bool) -> str:
        """Return what a person has to do where the device batch cannot be made smaller."""
        plan, now = self.plan, self.plan.constants[name]
        if parent_of(plan.settings.study):
            return (
                f"It has the {name} of the study that is confirmed. Free the GPU, or confirm on the one that it ran on."
            )
        if can_be_smaller:
            return f"Other trials have values with {name} {now}, so it stays. Begin another study with a smaller one."
        smallest = (
            f"{plan.space.path} has no smaller {name} that divides {now} and keeps the rules: begin another study with a space "
            "that has one"
            if name in plan.space.names and now != 1
            else f"{name} is {now} already"
        )
        return f"{smallest}. Or give the baseline a smaller {_size_of(plan)} {_IN_THE_PROFILE}{_other_profile(plan)}."


def _line(number: int, fitted: Plan, batch: DeviceBatch) -> str:
    total = f", and {TOTAL} stays {fitted.constants[TOTAL]}" if TOTAL in fitted.constants else ""
    return (
        f"trial {number}: the baseline does not fit the GPU's memory with {batch.name} {batch.too_large[-1]}: "
        f"study {fitted.settings.study} goes on with {batch.value}{total}"
    )


def _size_of(plan: Plan) -> str:
    return "DEPTH" if "DEPTH" in plan.constants else "model"


def _other_profile(plan: Plan) -> str:
    ours = plan.settings.profile in profiles() and plan.settings.profile not in ("cpu", SMALLEST)
    return ", or take that for small GPUs: `optimize run --profile colab`" if ours else ""


_IN_THE_PROFILE = "under [constants] in a profile of your own"
_OF_THE_MACHINE = (
    "By its words that is the memory of the machine, not of a GPU: end other programs, take fewer slots (--slots), or make the "
    f"baseline's batch or model smaller, {_IN_THE_PROFILE}."
)
_END_THAT = (
    "End that, and give the same command again: its parameters are queued. If it has to stay, leave this GPU out with --gpus, or "
    f"give the baseline a smaller batch {_IN_THE_PROFILE}."
)
_NAME_IT = (
    "If the script has a constant for the batch on the device, and accumulates up to a fixed total, name it in workload.toml: "
    'device_batch = "...". It is then halved until it fits.'
)


def too_large(plan: Plan, score: Score | None) -> list[dict[str, Value]]:
    """Return the baseline with each device batch that did not fit, where the device batch tells anything of memory."""
    batch = plan.settings.device_batch
    found = [{**plan.baseline, batch.name: value} for value in batch.too_large] if batch else []
    return [
        each
        for each in found
        if (score(each) != score(plan.baseline) if score else each.keys() == plan.baseline.keys())
    ]


def with_device_batch(params: Mapping[str, Value], plan: Plan) -> Mapping[str, Value]:
    """Return parameters with the study's device batch, if theirs is larger and no rule forbids it; else as they are."""
    batch = plan.settings.device_batch
    own = params.get(batch.name) if batch else None
    if batch is None or not isinstance(own, int) or own <= batch.value:
        return params
    lowered = {**params, batch.name: batch.value}
    with suppress(SearchSpaceError):  # a rule cannot be computed
        return lowered if plan.space.feasible(lowered, plan.constants) else params
    return params
