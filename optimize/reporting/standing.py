"""Gathers what the four facts about a study are made of: from its records, or from as little of the database as it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimize.confirm.verdict import verdict_of
from optimize.reporting.four_facts import Standing
from optimize.reporting.hints import Flags
from optimize.reporting.study_cost import StudyCost, read_settings_json, replicates_cost, study_cost
from optimize.search import stored_space
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.edges import RECENT, find_edges
from optimize.study.stored import StoredStudy
from optimize.trial import Metric
from storage import Stored, TrialRecord, first_baseline, holder_of, read_times

Choices = Mapping[str, Sequence[Stored]]
_NEWEST = 20  # trials that tell the choices: one that Optuna has queued has none


def standing_of(
    name: str,
    metric: Metric,
    attrs: Mapping[str, object],
    records: Sequence[TrialRecord],
    choices: Choices,
    *,
    settings: Mapping[str, Any] | None = None,
    replicates: StudyCost | None = None,
    running: bool = False,
    confirming: bool = False,
    no_best: str = "",
    lasting: bool = False,
    others: Sequence[str] = (),
    place: Flags | None = None,
) -> Standing:
    """Return what is known from all of a study's records. See `Standing` for the rest."""
    verdict = verdict_of(attrs)
    best = None if no_best else find_best(records, metric.direction, verdict, stored_space(attrs))
    ended = [record for record in records if record.is_finished]
    counted = _ended_by(best, ended) if running and lasting and best else ended
    return Standing(
        name,
        metric,
        attrs,
        best,
        baseline_of(records),
        study_cost(counted, settings or {}).with_replicates(replicates or StudyCost()),
        verdict,
        ended[-1] if ended else None,
        find_edges(best, counted, choices, attrs, metric),
        running,
        confirming,
        no_best,
        lasting,
        others,
        place or {},
    )


def read_standing(stored: StoredStudy) -> Standing:
    """Return what is known of a stored study, without reading all of its trials."""
    database, study_id = stored.database, stored.study_id
    attrs, settings = database.study_attrs(study_id), read_settings_json(stored.paths.settings_json)
    best, recent = stored.best(), [record for record in stored.latest(RECENT) if record.is_finished]
    return Standing(
        stored.name,
        stored.metric,
        attrs,
        best,
        first_baseline(database, study_id),
        study_cost(read_times(database, study_id), settings).with_replicates(replicates_cost(stored, settings)),
        verdict_of(attrs),
        recent[-1] if recent else None,
        find_edges(best, recent, newest_choices(stored), attrs, stored.metric),
        holder_of(database, study_id) is not None,
        is_confirming(stored),
        stored.no_best,
        others=database.study_names(),
    )


def is_confirming(stored: StoredStudy) -> bool:
    """Return whether a process trains its best trials with other seeds now."""
    ids = map(stored.database.find_study, stored.children())
    return any(study_id is not None and holder_of(stored.database, study_id) is not None for study_id in ids)


def newest_choices(stored: StoredStudy) -> Choices:
    """Return the parameters of the newest trials with their choices; () for a range. No other trial is read."""
    newest = stored.database.latest_trials(stored.study_id, _NEWEST)
    return {name: getattr(each, "choices", ()) for trial in newest for name, each in trial.distributions.items()}


def _ended_by(best: BestTrial, ended: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that had ended when the best one did: they stay the same while others go on."""
    until = best.record

    def before(record: TrialRecord) -> bool:
        if until.finished is None or record.finished is None:
            return record.number <= until.number
        return record.finished <= until.finished

    return [record for record in ended if before(record)]
