"""Finds what a study began with, where scripts, a search space or a profile of ours have changed since: it goes on with its own.

Only what we have shipped is replaced by what we had shipped before. Whoever edits our files, or has a script of his own, is told
that it has changed (`comparable.py`): his edit is never passed over. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from optimize.config.plan import Parts, Plan, load_parts, plan_of, without_foreign_constants
from optimize.config.released import (
    is_our_profile,
    is_our_space,
    is_our_workload,
    released_profiles,
    released_spaces,
    released_workloads,
)
from optimize.config.settings import Settings
from optimize.config.space_fit import with_baselines
from optimize.errors import SettingsError, StudyMismatchError
from optimize.script.load_workload import ours
from optimize.script.workload import Workload
from optimize.study.begun import opened_to_go_on, told_of
from optimize.study.comparable import (
    FINGERPRINT,
    changed_before_any_value,
    constants_fingerprint,
    device_batch_of,
    fingerprint,
)
from optimize.study.kept import originals_of
from optimize.study.kept_space import lost_space, with_space_of
from optimize.study.named_sources import is_file
from optimize.study.stored import StoredStudy
from optimize.text import name_after
from optimize.trial import Value
from search_spaces import SearchSpace
from storage import StorageError, TrialRecord, first_baseline, record_of

LOOKED_AT = 20  # trials at either end of a study whose scripts may have been kept whole


def plan_for_study(settings: Settings, stored: StoredStudy | None, also: Sequence[str] = ()) -> Plan:
    """Make the plan of a call about a study: with what it began with, where that was ours and has changed since.

    Raises SettingsError with every problem, StudyMismatchError if its scripts are others, or have changed and are not kept.
    """
    parts = load_parts(settings) if stored is None else _load_parts(settings, stored)
    if stored is not None:
        parts = _recognised(_with_device_batch(parts, stored), stored)
        parts = parts if _takes_what_is_new(parts, stored) else _own(parts, stored)
    elif (source := settings.start_from) and not is_file(source):
        with opened_to_go_on(settings, source) as begins:
            parts = _with_device_batch(parts, begins) if begins else parts  # which the values of its trials come from
    return plan_of(parts, also)


def _load_parts(settings: Settings, stored: StoredStudy) -> Parts:
    """Load workload and search space as they lie there, a search space whose file has gone from the study."""
    if "/" in settings.workload and not Path(settings.workload).expanduser().exists():
        return _without_folder(load_parts(settings), stored)
    space = lost_space(settings, stored)
    if space is None:
        return load_parts(settings)
    line = (
        f"study {stored.name}: {space.path} is not there, so it goes on with the search space that it keeps. Write it as a file: "
        f"`optimize space export --study {quote(stored.name)}`"
    )
    return replace(load_parts(with_space_of(settings, stored, space), space), earlier=(line,))


def _without_folder(parts: Parts, stored: StoredStudy) -> Parts:
    """Return the parts of a workload whose folder has gone, with a line on what the study keeps of it."""
    baseline = first_baseline(stored.database, stored.study_id)
    folder = parts.settings.workload
    if baseline is None or told_of(stored).get("workload") != folder or not stored.paths.artifacts.is_dir():
        return parts
    line = (
        f"study {stored.name}: it keeps the scripts of its trials. Write those of its baseline: "
        f"`optimize export --study {quote(stored.name)} --trial {baseline.number} --to {quote(folder)}`. Then put data and "
        "workload.toml there again"
    )
    return replace(parts, problems=(*parts.problems, line))


def plan_to_move(settings: Settings, old: StoredStudy | None, also: Sequence[str] = ()) -> Plan:
    """Make the plan of a new study for the trials of an old one: its scripts and constants, as above, and today's choices."""
    parts = load_parts(settings)
    if old is not None:
        parts = _moved(_recognised(_with_device_batch(parts, old), old), old)
    return plan_of(parts, also)


def _with_device_batch(parts: Parts, stored: StoredStudy) -> Parts:
    """Return the parts with the device batch that the study has found. The plan takes it in the place of the same one only."""
    batch = device_batch_of(stored.database.study_attrs(stored.study_id))
    return replace(parts, settings=replace(parts.settings, device_batch=batch))


def _began_with(stored: StoredStudy) -> Mapping[str, Any]:
    """Return the study's fingerprint."""
    found: Mapping[str, Any] = stored.database.study_attrs(stored.study_id)[FINGERPRINT]
    return found


def _recognised(parts: Parts, stored: StoredStudy) -> Parts:
    """Return the parts with the fingerprint that the study has of the same scripts: another Python may have computed it."""
    script = str(_began_with(stored).get("script"))
    if parts.workload is None or not parts.workload.has_fingerprint(script):
        return parts
    return replace(parts, workload=replace(parts.workload, known_as=script))


def _takes_what_is_new(parts: Parts, stored: StoredStudy) -> bool:
    """Tell whether no trial has a value yet, so that the study may go on with today's scripts and constants."""
    counts = stored.database.counts(stored.study_id)
    if any(counts[state] for state in ("COMPLETE", "PRUNED", "RUNNING")):
        return False
    try:
        plan = plan_of(parts)
    except SettingsError:
        return False
    wanted = fingerprint(plan.workload, plan.space, plan.settings.constants, "")
    del wanted["data"]
    attrs, direction = stored.database.study_attrs(stored.study_id), plan.workload.metric.direction
    return bool(changed_before_any_value(attrs, wanted, plan.space.encode(plan.baseline), direction))


def _own(parts: Parts, stored: StoredStudy) -> Parts:
    """Return the parts with all that the study has of an earlier version."""
    before = _before(parts, stored)
    if before is None or parts.space is None:
        return parts
    (workload, settings), began = before, _began_with(stored)
    space = _space(parts, workload, settings, began)
    what = [
        *(["our scripts"] if workload is not parts.workload else []),
        *([f"profile {settings.profile}"] if settings is not parts.settings else []),
        *([f"search space {settings.search_space}"] if space.fingerprint() != parts.space.fingerprint() else []),
    ]
    if not what:
        return parts
    constants, whole = _constants(settings, workload), _whole(space, workload, settings)
    is_whole = fingerprint(workload, whole, constants, began.get("data", "")) == began  # else it does not go on
    return Parts(
        settings, workload, space, parts.problems, (*parts.earlier, *((_goes_on(stored, what),) if is_whole else ()))
    )


def _moved(parts: Parts, stored: StoredStudy) -> Parts:
    """Return the parts with the scripts and the constants that the study has of an earlier version."""
    before = _before(parts, stored)
    if before is None or parts.space is None or before == (parts.workload, parts.settings):
        return parts
    workload, settings = before
    space = _of_today(parts, workload, settings)[-1]
    lacking = [name for name in parts.space.names if name not in space.names]
    left_out = f"; without {', '.join(lacking)}, which they do not have" if lacking else ""
    line = f"study {settings.study}: it keeps the earlier scripts and constants of study {stored.name}{left_out}"
    return Parts(settings, workload, space, parts.problems, (line,))


def _before(parts: Parts, stored: StoredStudy) -> tuple[Workload, Settings] | None:
    """Return the workload and the settings that the study has of an earlier version, or those of today; None without any."""
    if parts.workload is None:
        return None
    workload = _workload(parts.settings.workload, parts.workload, stored)
    return workload, _settings(parts.settings, workload, _began_with(stored))


def _goes_on(stored: StoredStudy, what: Sequence[str]) -> str:
    parts = " and ".join([", ".join(what[:-1]), what[-1]] if len(what) > 1 else what)
    old, new = quote(stored.name), _free_name(stored)
    return (
        f"study {stored.name}: it began with an earlier version of {parts}, and goes on with that. Begin another one with its "
        f"best trials: `optimize run --from {old} --study {new}`. Or take its trials to today's choices: "
        f"`optimize migrate {old} --to {new}`"
    )


def _free_name(stored: StoredStudy) -> str:
    return name_after(stored.name, stored.database.study_names())


def _workload(name: str, today: Workload, stored: StoredStudy) -> Workload:
    """Return the workload that the study began with, if it is ours of today or of an earlier version; else today's."""
    script, trained = str(_began_with(stored).get("script")), str(told_of(stored).get("workload", name))
    if today.fingerprint() == script or not is_our_workload(name, today):
        return today
    is_kept = False
    for files in _kept_scripts(stored):
        for workload in released_workloads(name, files):
            if workload.has_fingerprint(script):
                return replace(workload, known_as=script)
        is_kept = is_kept or files.keys() == today.files.keys()
    if trained not in ours():
        raise StudyMismatchError(
            f"study {stored.name}: trains the script in {trained}, and this call takes ours, {name}. Go to its folder, or name it: "
            "--workload DIR, in a notebook's form WORKLOAD"
        )
    if is_kept:
        return today  # it began with an edited copy
    raise StudyMismatchError(
        f"study {stored.name}: our scripts have changed since it began, and {stored.paths.artifacts} has not kept its own. Put "
        "that folder back, or begin another study with its best trials: "
        f"`optimize run --from {quote(stored.name)} --study {_free_name(stored)}`"
    )


def _kept_scripts(stored: StoredStudy) -> Iterator[dict[str, str]]:
    """Yield the scripts that trials of the study were rendered from, each different set once."""
    seen: list[dict[str, str]] = []
    for record in _ended(stored) if stored.paths.artifacts.is_dir() else ():
        with suppress(StorageError):  # a file is missing
            files = originals_of(stored.texts(record))
            if files and files not in seen:
                seen.append(files)
                yield files


def _ended(stored: StoredStudy) -> Iterator[TrialRecord]:
    """Yield the baseline, then some of the newest trials, then some of the oldest."""
    baseline = first_baseline(stored.database, stored.study_id)
    oldest = (stored.database.find_trial(stored.study_id, number) for number in range(LOOKED_AT))
    yield from filter(None, [baseline])
    yield from (record for record in stored.latest(LOOKED_AT) if record.is_finished)
    yield from (record_of(trial) for trial in oldest if trial is not None and trial.state.is_finished())


def _settings(settings: Settings, workload: Workload, began: Mapping[str, Any]) -> Settings:
    """Return the settings with the profile that the study began with, if that is ours; else as they are."""

    def fit(each: Settings) -> bool:
        return constants_fingerprint(_constants(each, workload)) == began.get("constants")

    if fit(settings) or not is_our_profile(settings.profile):
        return settings
    return next(filter(fit, released_profiles(settings)), settings)


def _space(parts: Parts, workload: Workload, settings: Settings, began: Mapping[str, Any]) -> SearchSpace:
    """Return the search space that the study began with, if that is ours; else today's."""
    today = _of_today(parts, workload, settings)
    earlier: list[SearchSpace] = []
    if is_our_space(settings.search_space):
        for each in released_spaces(settings.search_space):
            earlier += [each, _without_unknown(each, workload, settings)]
    found = (
        each
        for each in (*today, *earlier)
        if _whole(each, workload, settings).fingerprint() == began.get("search space")
    )
    return next(found, today[-1])


def _of_today(parts: Parts, workload: Workload, settings: Settings) -> Sequence[SearchSpace]:
    """Return today's search space, and for earlier scripts what of it they can have, if it is ours."""
    assert parts.space is not None
    if workload is parts.workload or not is_our_space(settings.search_space):
        return [parts.space]
    return [parts.space, _without_unknown(parts.space, workload, settings)]


def _without_unknown(space: SearchSpace, workload: Workload, settings: Settings) -> SearchSpace:
    """Return what is left of a search space for scripts that lack some names: no rule or condition speaks of one of them."""
    constants = _known(space, workload, settings)
    parameters = tuple(
        each if each.when is None or each.when.expression.names <= constants.keys() else replace(each, when=None)
        for each in space.parameters
        if each.name in constants
    )
    names = {each.name for each in parameters}
    rules = tuple(rule for rule in space.rules if rule.expression.names <= constants.keys())
    starts = [
        replace(start, params={name: start.params[name] for name in start.params if name in names})
        for start in space.starts
    ]
    return replace(space, parameters=parameters, rules=rules, starts=tuple(each for each in starts if each.params))


def _whole(space: SearchSpace, workload: Workload, settings: Settings) -> SearchSpace:
    """Return the search space as a plan has it."""
    return with_baselines(space, _known(space, workload, settings))


def _known(space: SearchSpace, workload: Workload, settings: Settings) -> Mapping[str, Value]:
    """Return every value that a plan with these parts knows."""
    return {**workload.with_space(space).constants(), **_constants(settings, workload)}


def _constants(settings: Settings, workload: Workload) -> Mapping[str, Value]:
    return without_foreign_constants(settings, workload)[0].constants
