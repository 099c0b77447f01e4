"""What a study has cost: its trials, the time that devices spent on them, and the trainings that confirmed winners.

It counts; `four_facts.py` and the report say it. Trials that were copied from another study cost this one nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimize.study.stored import StoredStudy
from optimize.text import amount, duration
from storage import TrialRecord, read_times

_TIME_OF = {"core": "wall time on cores", "GPU": "GPU time"}  # of what trials took, added up


@dataclass(frozen=True, slots=True)
class StudyCost:
    """What trials cost that have ended here."""

    trials: int = 0
    without_value: int = 0
    seconds: float = 0.0  # of a device: a GPU, or a core
    unit: str = "device"  # core, GPU or device
    copied: int = 0  # from another study
    replicates: int = 0  # trainings with other seeds
    replicate_seconds: float = 0.0

    @property
    def text(self) -> str:
        """Return `24 trials, 3 min 20 s of GPU time`; trainings with other seeds are counted as well."""
        if not self.replicates:
            return f"{amount(self.trials, 'trial')}, {self._time(self.seconds)}"
        trainings = amount(self.trials + self.replicates, "training")
        return f"{trainings}, {self._time(self.seconds + self.replicate_seconds)}"

    @property
    def more(self) -> Sequence[str]:
        """Return what else there is to say, a line each."""
        lines = [f"{self.without_value} of them without a value"] if self.without_value else []
        if self.replicates:
            trainings = amount(self.replicates, "training")
            lines.append(f"{amount(self.trials, 'trial')}: {self._time(self.seconds)}")
            lines.append(f"{trainings} with other seeds: {self._time(self.replicate_seconds)}")
        if self.copied:
            lines.append(f"{amount(self.copied, 'trial')} copied from another study cost nothing here")
        return lines

    def of_more(self, trials: int) -> str:
        """Return how long so many more trials take a device, such as `50 min`; "" while none has ended."""
        return duration(trials * self.seconds / self.trials) if self.trials and self.seconds else ""

    def with_replicates(self, replicates: StudyCost) -> StudyCost:
        """Return it with what trials of the child study cost."""
        return replace(self, replicates=replicates.trials, replicate_seconds=replicates.seconds)

    def _time(self, seconds: float) -> str:
        return f"{duration(seconds)} of {_TIME_OF.get(self.unit, 'device time')}"


def study_cost(records: Iterable[TrialRecord], settings: Mapping[str, Any]) -> StudyCost:
    """Return what these trials cost; `settings` are those of settings.json, {} where there is none."""
    finished = [record for record in records if record.is_finished]
    here = [record for record in finished if not record.taken_from]
    unit, devices = devices_of(settings, finished)
    return StudyCost(
        len(here),
        sum(record.state != "COMPLETE" for record in here),
        devices * sum(record.seconds or 0.0 for record in here),
        unit,
        len(finished) - len(here),
    )


def replicates_cost(stored: StoredStudy, settings: Mapping[str, Any]) -> StudyCost:
    """Return what the trainings of a study's confirmations cost."""
    ids = (stored.database.find_study(name) for name in stored.children())
    records = [each for study_id in ids if study_id is not None for each in read_times(stored.database, study_id)]
    return study_cost(records, settings)


def devices_of(settings: Mapping[str, Any], records: Sequence[TrialRecord]) -> tuple[str, float]:
    """Return the kind of device whose time a trial takes, and how many devices it occupies."""
    of, one = settings.get("gpus_per_trial"), settings.get("trials_per_gpu")
    kind = settings.get("device") or next((r.slot.split(":")[0] for r in records if r.slot), "")
    if kind == "cpu":
        return "core", 1.0
    share = of / one if isinstance(of, int | float) and isinstance(one, int | float) and one > 0 else 1.0
    return ("GPU" if kind else "device"), float(share)


def read_settings_json(path: Path) -> Mapping[str, Any]:
    """Return what settings.json says of the last call; {} where it says nothing that can be read."""
    try:
        found = json.loads(path.read_text(errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
