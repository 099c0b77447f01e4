"""What each ending of a trial means for the sampler and for its parameters: one table, and nothing else.

How a trial ended is found out in `runner/diagnosis.py`. `study/study.py` acts on what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from optimize.trial import Outcome, TrialStatus


class Again(IntEnum):
    """How often parameters are tried before a status stands. Until then they go back into the queue."""

    NEVER = 1
    ONCE = 2  # a second one stands
    OFTEN = 10  # not for ever: these parameters may be what kills the driver
    ALWAYS = 1_000_000  # the parameters are not the cause


@dataclass(frozen=True, slots=True)
class Consequence:
    """The state that Optuna is told, and whether the parameters are tried again."""

    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    again: Again = Again.NEVER


# PRUNED teaches the sampler that the *parameters* are bad; FAIL teaches nothing, because the *world* may be.
CONSEQUENCES: Mapping[TrialStatus, Consequence] = {
    TrialStatus.COMPLETE: Consequence("COMPLETE"),
    TrialStatus.OUT_OF_MEMORY: Consequence("PRUNED"),
    TrialStatus.DIVERGED: Consequence("PRUNED"),
    TrialStatus.INFEASIBLE: Consequence("PRUNED"),
    TrialStatus.TIMED_OUT: Consequence("PRUNED"),
    TrialStatus.HOPELESS: Consequence("PRUNED"),
    TrialStatus.SILENT: Consequence("FAIL", Again.ONCE),
    TrialStatus.CRASHED: Consequence("FAIL", Again.ONCE),
    TrialStatus.ENVIRONMENT: Consequence("FAIL", Again.ALWAYS),
    TrialStatus.DEVICE_FAILED: Consequence("FAIL", Again.OFTEN),
    TrialStatus.BUSY: Consequence("FAIL", Again.ALWAYS),
    TrialStatus.CANCELLED: Consequence("FAIL", Again.ALWAYS),
    TrialStatus.LOST: Consequence("FAIL", Again.OFTEN),
}
CROWDED = Consequence("FAIL", Again.ALWAYS)  # out of memory beside another trial: tried again alone

NEEDS_ANOTHER = Consequence("FAIL", Again.ONCE)  # environment, where only this configuration ends so


def consequence_of(outcome: Outcome) -> Consequence:
    """Return what an outcome means for the sampler and the parameters."""
    crowded = outcome.status is TrialStatus.OUT_OF_MEMORY and outcome.shared
    return CROWDED if crowded else CONSEQUENCES[outcome.status]
