"""The files of a trial that has ended, with its patches: what the profile changes in the script, and what the search changes.

`profile.patch` leads from the script to the baseline, `train.patch` from the baseline to the trial. Earlier releases kept one
patch of both, so it is made again from the scripts. A trial that another program told has no scripts of its own: they are rendered
from the baseline's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from optimize.errors import OptimizeError
from optimize.script.command import RUN, RUN_BESIDE, plain_script
from optimize.script.workload import Workload
from optimize.search.whole import decoded
from optimize.trial import Metric
from storage import TrialRecord, make_patch, params_text

PATCH, PROFILE_PATCH, PARAMS, LOG, CURVE = "train.patch", "profile.patch", "params.toml", "log.txt", "curve.csv"
BESIDE = frozenset({PATCH, PROFILE_PATCH, PARAMS, LOG, CURVE, RUN})

Texts = Mapping[str, str]
"""Files by name."""


def scripts_in(texts: Texts) -> dict[str, str]:
    """Return the scripts among a trial's files; a `run.sh` of the workload's own is one of them."""
    ours = BESIDE - {RUN} | {RUN_BESIDE} if RUN_BESIDE in texts else BESIDE
    return {name: text for name, text in texts.items() if name not in ours}


def to_take_away(texts: Texts, record: TrialRecord) -> dict[str, str]:
    """Return a trial's files for a folder of its own: each patch says what it is applied to. Programs skip such a line.

    A run.sh that trains it again is always among them.
    """
    if "train.py" in texts and RUN not in texts:
        texts = {**texts, RUN: plain_script(record.number, texts, record.slot, record.value)}
    if not texts.get(PROFILE_PATCH):
        return dict(texts)
    first = f"What the profile changes in the script, which makes the baseline. {PATCH} comes after it.\n"
    then = f"What the search changed in the baseline. {PROFILE_PATCH} comes before it.\n"
    found = {**texts, PROFILE_PATCH: first + texts[PROFILE_PATCH]}
    return {**found, PATCH: then + texts[PATCH]} if texts.get(PATCH) else found


@dataclass(frozen=True, slots=True)
class BaselineFiles:
    """What the baseline of a study has left; nothing, where it has not completed or its files are gone."""

    record: TrialRecord | None = None
    texts: Texts = field(default_factory=dict)

    @property
    def profile_patch(self) -> str:
        """What the profile changes in the script; "" if nothing. The baseline of an earlier release has it as its one patch."""
        return self.texts.get(PROFILE_PATCH) or self.texts.get(PATCH, "")

    def patched(self, texts: Texts) -> dict[str, str]:
        """Return a trial's files with both patches, each as it is meant."""
        if PATCH not in texts or PATCH not in self.texts:
            return dict(texts)
        started = re.split(r"(?m)^--- ", texts[PATCH])[0]  # a line about the process stands before the first file
        found = {**texts, PATCH: started + make_patch(scripts_in(self.texts), scripts_in(texts))}
        return {**found, PROFILE_PATCH: self.profile_patch} if self.profile_patch else found

    def render(self, record: TrialRecord, script: str) -> dict[str, str]:
        """Return the files that a whole configuration would have left; {} if its values cannot be written into the scripts."""
        if self.record is None or PATCH not in self.texts or record.params.keys() != self.record.params.keys():
            return {}
        before = self.record.params
        values = {name: decoded(value) for name, value in record.params.items()}
        changed = {name: values[name] for name in values if values[name] != decoded(before[name])}
        with suppress(OptimizeError):  # such as a parameter that is no constant of a script
            workload = self._workload(script, {name: decoded(before[name]) for name in changed})
            if workload is None:
                return {}
            scripts = workload.render(changed)
            return self.patched(
                {**self._again(record), **scripts, PATCH: "", PARAMS: params_text(values, record.number)}
            )
        return {}

    def _again(self, record: TrialRecord) -> dict[str, str]:
        mine = f"trial {self.record.number if self.record else 0} "
        name = RUN_BESIDE if RUN_BESIDE in self.texts else RUN
        return {name: self.texts[name].replace(mine, f"trial {record.number} ", 1)} if name in self.texts else {}

    def _workload(self, script: str, before: Mapping[str, object]) -> Workload | None:
        """Return the baseline's scripts as a workload whose constants have these values.

        Which file's constants win over the script's is not stored, but those that win have the baseline's values.
        """
        files = scripts_in(self.texts)
        for overrides in ("", *(name for name in files if name.endswith(".py") and name != script)):
            workload = Workload(
                "", Path(), script, files, (), (), Metric(), overrides=overrides, named=frozenset(before)
            )
            constants = workload.constants()
            if all(name in constants and constants[name] == value for name, value in before.items()):
                return workload
        return None
