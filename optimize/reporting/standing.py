"""Gathers what the four facts about a study are made of: from its records, or from as little of the database as it takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimize.config.here import SPACE
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.reporting.hints import Flags, begun_flags
from optimize.reporting.study_cost import StudyCost, read_settings_json, replicates_cost, study_cost
from optimize.search import stored_space
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.comparable import ABOUT, SPACE_FILE
from optimize.study.edges import RECENT, Edge, find_edges, is_baseline
from optimize.study.held import is_confirmed_alone
from optimize.study.stopping import COUNTED
from optimize.study.stored import StoredStudy
from optimize.study.worth import equal_values, expected_gain, values_of
from optimize.text import name_after
from optimize.trial import Metric
from storage import Stored, StudyPaths, TrialRecord, first_baseline, holder_of, read_times, read_values

Choices = Mapping[str, Sequence[Stored]]
_NEWEST = 20  # trials that tell the choices: one that Optuna has queued has none


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a study at one moment; `four_facts` puts it into words."""

    name: str
    metric: Metric
    attrs: Mapping[str, object]
    best: BestTrial | None
    baseline: TrialRecord | None  # the completed one
    cost: StudyCost
    verdict: Verdict | None = None
    latest: TrialRecord | None = None  # of the finished trials
    edges: Sequence[Edge] = ()
    running: bool = False
    confirming: bool = False  # its best trials are being trained with other seeds
    no_best: str = ""  # why no trial can be the best
    lasting: bool = False  # while it runs, the words have to stay true: the cost is that up to the best trial
    others: Sequence[str] = field(default_factory=tuple)  # names of studies, which a new one cannot have
    place: Flags = field(default_factory=dict)  # flags that each command gets
    named: Flags = field(
        default_factory=dict
    )  # further flags of the commands that train, to find from here what it began with
    absent: Flags = field(default_factory=dict)  # of those flags, the ones whose files are not here
    frozen: bool = False  # nothing can be written to its database
    exhausted: bool = False  # every configuration has been tried, as far as that is soon counted
    backup: str = ""  # the folder that its last call kept a backup in
    gain: float | None = None  # that ten more trials are expected to bring; None: it cannot be said
    equal: tuple[int, int] = (0, 0)  # how many of how many values are the same, where all are or all but one

    @property
    def is_baseline(self) -> bool:
        return self.best is not None and is_baseline(self.best.record, self.attrs)

    @property
    def begun(self) -> Flags:
        """Return the flags of the commands that train, as the study was begun."""
        about = self.attrs.get(ABOUT)
        command = about.get("command") if isinstance(about, Mapping) else None
        return {**begun_flags(self.name, command), **self.named, **self.place}

    @property
    def trained(self) -> Flags:
        """Return the flags of the commands that go on with its trainings: as it was begun, with the backup that it has."""
        return {**self.begun, **({"backup": self.backup} if self.backup else {})}

    @property
    def successor(self) -> str:
        """Return a name for a study that follows this one."""
        return name_after(self.name, self.others)

    @property
    def wider_file(self) -> Path:
        """Return the file for a wider search space of that study, where this one's lies."""
        return space_beside(self.attrs, f"{self.successor}-{SPACE}")


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
        exhausted=_is_exhausted(attrs, choices, ended),
        gain=expected_gain(values_of(ended), metric.direction),
        equal=equal_values(values_of(ended)),
    )


def read_standing(stored: StoredStudy) -> Standing:
    """Return what is known of a stored study, without reading all of its trials."""
    database, study_id = stored.database, stored.study_id
    attrs, settings = database.study_attrs(study_id), read_settings_json(stored.paths.settings_json)
    named, absent = begun_from_here(stored.name, attrs)
    best, recent = stored.best(), [record for record in stored.latest(RECENT) if record.is_finished]
    choices, values = newest_choices(stored), read_values(database, study_id)
    return Standing(
        stored.name,
        stored.metric,
        attrs,
        best,
        first_baseline(database, study_id),
        study_cost(read_times(database, study_id), settings).with_replicates(replicates_cost(stored, settings)),
        verdict_of(attrs),
        recent[-1] if recent else None,
        find_edges(best, recent, choices, attrs, stored.metric),
        holder_of(database, study_id) is not None,
        is_confirming(stored),
        stored.no_best,
        others=database.study_names(),
        named=named,
        absent=absent,
        frozen=bool(database.read_only),
        exhausted=_is_exhausted(attrs, choices, recent),
        backup=last_backup(stored.paths),
        gain=expected_gain(values, stored.metric.direction),
        equal=equal_values(values),
    )


def _is_exhausted(attrs: Mapping[str, Any], choices: Choices, ended: Sequence[TrialRecord]) -> bool:
    return stored_space(attrs).all_tried(choices, [record for record in ended if record.state in COUNTED])


def space_beside(attrs: Mapping[str, object], name: str) -> Path:
    """Return a search space of this name beside that of a study, else beside its script; here where neither can be written."""
    about = attrs.get(ABOUT)
    told = about if isinstance(about, Mapping) else {}
    space, workload = (str(told.get(key, "")) for key in ("search_space", "workload"))
    folder = Path(space).parent if "/" in space else Path(workload if "/" in workload else ".")
    return Path(folder if os.access(folder.expanduser(), os.W_OK) else ".").expanduser() / name


def last_backup(paths: StudyPaths) -> str:
    """Return the folder in which the last call on a study kept a backup, "" if it kept none or the place is not here.

    A folder that is gone is still named where its parent is there: a network disk may be out of reach for a while.
    """
    backup = read_settings_json(paths.settings_json).get("backup")
    return backup if isinstance(backup, str) and backup and Path(backup).expanduser().parent.is_dir() else ""


def begun_from_here(study: str, attrs: Mapping[str, Any]) -> tuple[Flags, Flags]:
    """Return flags that the commands of the study need here in addition, and of all of its flags those whose files are absent."""
    about = attrs.get(ABOUT)
    told = {name: str(value) for name, value in about.items()} if isinstance(about, dict) else {}
    flags, script = begun_flags(study, told.get("command")), told.get("script", "")
    workload = str(flags.get("workload", told.get("workload", "")))
    named: Flags = {}
    if "workload" not in flags and Path(workload).is_absolute() and Path(workload) != Path.cwd():
        # It was begun in the script's folder; where that has gone, the script in the current one may be the same.
        named = {"workload": workload} if _is_there(workload, script) or not _is_there(".", script) else {}
    absent: dict[str, object] = {}
    for name in ("workload", "space", "profile"):
        value = str({**flags, **named}.get(name, ""))
        kept = name == "space" and SPACE_FILE in attrs and value == told.get("search_space")
        if "/" in value and not kept and not _is_there(value, script if name == "workload" else ""):
            absent[name] = value
    if "workload" in absent and absent.get("space") in (f"{workload}/{SPACE}", str(Path(workload, SPACE))):
        del absent["space"]  # whoever names the folder has it
    return named, absent


def _is_there(path: str, inside: str) -> bool:
    return Path(path, inside).expanduser().exists()


def is_confirming(stored: StoredStudy) -> bool:
    """Return whether `optimize confirm` trains its best trials with other seeds now. A search may do so beside itself."""
    ids = map(stored.database.find_study, stored.children())
    return any(study_id is not None and is_confirmed_alone(stored.database, study_id) for study_id in ids)


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
