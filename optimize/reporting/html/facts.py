"""Everything that a report shows of a study, gathered once from the database, its artifacts and its settings.json.

What is missing is left empty and is no error: a report can be made of any study at any moment. It draws and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optimize.config.versions import machine
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.reporting.figures.data import (
    EndingCost,
    History,
    LearningCurve,
    Noise,
    Slice,
    cost,
    curves,
    history,
    noise,
    slices,
)
from optimize.reporting.figures.importance import Importances, importances
from optimize.reporting.standing import Standing, is_confirming, standing_of
from optimize.reporting.study_cost import devices_of, read_settings_json, replicates_cost
from optimize.study.best import BestTrial, baseline_of
from optimize.study.comparable import CONSTANTS, FINGERPRINT, is_confirmable
from optimize.study.left_files import PATCH, PROFILE_PATCH
from optimize.study.stored import StoredStudy
from optimize.trial import Metric
from storage import StorageError, Stored, TrialRecord, holder_of


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a report shows of one study at one moment."""

    name: str
    metric: Metric
    now: datetime
    ours: bool  # made by this program, so that curves are over percents of a budget
    confirmable: bool  # by the command confirm
    driver: str  # the process that runs it now, "" if there is none
    records: Sequence[TrialRecord]
    standing: Standing  # what the four facts are made of
    best_trial: BestTrial | None  # the best trial, and how sure that is
    baseline: TrialRecord | None  # the completed one
    default: Mapping[str, object]  # the baseline's parameters, as stored
    choices: Mapping[str, Sequence[Stored]]
    constants: Mapping[str, object]
    verdict: Verdict | None
    history: History
    curves: Sequence[LearningCurve]
    slices: Sequence[Slice]
    costs: Sequence[EndingCost]
    unit: str  # of the cost: GPU, core or device
    noise: Noise | None
    importances: Importances
    patch: str  # from the baseline to the best trial
    profile_patch: str  # from the script to the baseline
    settings: Mapping[str, Any]  # as settings.json has them
    machine: Mapping[str, str]  # that drove it last, as far as settings.json says
    devices: Mapping[str, int]  # model -> number of trials
    no_best: str = ""  # why no trial can be the best

    @property
    def best(self) -> TrialRecord | None:
        """Return the best trial."""
        return self.best_trial.record if self.best_trial else None


def gather(stored: StoredStudy) -> ReportFacts:
    """Read the whole study."""
    records, attrs = stored.records(), stored.database.study_attrs(stored.study_id)
    best_trial, settings = stored.best(records), read_settings_json(stored.paths.settings_json)
    holder, constants = holder_of(stored.database, stored.study_id), attrs.get(CONSTANTS)
    patches = _patches(stored, best_trial.record if best_trial else None)
    choices, unit, devices = stored.choices(), *devices_of(settings, records)
    return ReportFacts(
        name=stored.name,
        metric=stored.metric,
        now=datetime.now(UTC),
        ours=FINGERPRINT in attrs,
        confirmable=is_confirmable(attrs),
        driver=str(holder) if holder else "",
        records=records,
        standing=standing_of(
            stored.name,
            stored.metric,
            attrs,
            records,
            choices,
            settings=settings,
            replicates=replicates_cost(stored, settings),
            running=bool(holder),
            confirming=is_confirming(stored),
            no_best=stored.no_best,
            others=stored.database.study_names(),
        ),
        best_trial=best_trial,
        baseline=baseline_of(records),
        default=stored.baseline or next((r.params for r in records if r.kind == "baseline"), {}),
        choices=choices,
        constants=constants if isinstance(constants, dict) else _mapping(settings.get("constants")),
        verdict=verdict_of(attrs),
        history=history(records, stored.metric),
        curves=curves(records),
        slices=slices(records, choices),
        costs=cost(records, devices),
        unit=unit,
        noise=noise(records),
        importances=importances(stored.database.trials(stored.study_id), stored.metric.direction),
        patch=patches.get(PATCH, ""),
        profile_patch=patches.get(PROFILE_PATCH, ""),
        settings=settings,
        machine={str(key): str(value) for key, value in _mapping(settings.get("machine")).items()},
        no_best=stored.no_best,
        devices=Counter(str(r.device or r.summary.get("device") or r.slot) for r in records if r.is_finished),
    )


def here() -> Mapping[str, str]:
    """Return facts about the machine that makes the report."""
    return machine()


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _patches(stored: StoredStudy, best: TrialRecord | None) -> Mapping[str, str]:
    try:
        return stored.texts(best) if best else {}
    except StorageError:  # a study that was copied without its artifacts
        return {}
