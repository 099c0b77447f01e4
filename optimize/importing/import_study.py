"""Imports a file or another database as a study: all of it, or nothing.

Such a study can be shown, exported, compared, and give another study its starts. It can never go on: its script is unknown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from optimize.errors import OptimizeError, SettingsError
from optimize.importing.csv_table import read_table
from optimize.importing.json_lines import read_lines
from optimize.importing.rows import TableReading, trials_from_rows
from optimize.text import amount
from optimize.trial import BASELINE, TrialStatus
from storage import (
    Database,
    ForeignStudy,
    StorageError,
    StudyPaths,
    WholeTrial,
    add_trials,
    one_line,
    origin_attrs,
    read_foreign,
    refuse_results_of_another,
    shown_address,
)

IMPORTED = "imported"  # study attribute: where it came from, and the attributes that it had there
_SQLITE = b"SQLite format 3\0"
_DATABASES = (".db", ".sqlite", ".sqlite3")
_LINES = (".jsonl", ".ndjson", ".json")
_STATUS = {"COMPLETE": TrialStatus.COMPLETE, "PRUNED": TrialStatus.HOPELESS, "FAIL": TrialStatus.CRASHED}


@dataclass(frozen=True, slots=True)
class Request:
    """What to import, and what the user says about it."""

    source: str  # a file, or a URL
    study: str  # its new name
    source_study: str | None = None
    metric: str | None = None
    direction: str | None = None
    params: Sequence[str] = ()  # columns that are parameters, whatever they are called
    zone: str | None = None  # for times that name none


@dataclass(frozen=True, slots=True)
class _ImportedStudy:
    """A study as it is written into our database."""

    name: str
    metric: str
    direction: str
    trials: Sequence[WholeTrial]
    about: Mapping[str, Any]
    noticed: Counter[str] = field(default_factory=Counter)
    notices: Sequence[str] = ()  # about the database that it comes from

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the study: where it came from, and its baseline."""
        first = next((t for t in self.trials if t.attrs.get("origin", {}).get("kind") == "baseline"), None)
        return {IMPORTED: dict(self.about), BASELINE: dict(first.params) if first else {}}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a source, and what is wrong with it or with what the user says about it."""

    request: Request
    studies: Sequence[_ImportedStudy]
    problems: Sequence[str]


def read(request: Request) -> Reading:
    """Read the source. Problems are in the result; no database of ours is opened."""
    problems = _problems_of(request)
    zone, studies = None, list[_ImportedStudy]()
    try:
        zone = _zone(request.zone)
    except (ValueError, OSError, LookupError):
        problems.append(
            f"--zone: {one_line(str(request.zone), 60)!r} is not a time zone. Use a name such as Europe/Berlin, or UTC."
        )
    try:
        studies = _read(request, zone)
    except OptimizeError as error:
        problems += error.problems
    except StorageError as error:
        problems.append(f"import {error}")
    return Reading(request, studies, problems)


def bring_in(database: Database, runs: Path, reading: Reading, say: Callable[[str], None]) -> list[str]:
    """Write the studies. Return their names. Raises SettingsError with all problems; then nothing was written."""
    names = [each.name for each in reading.studies] or [reading.request.study]
    problems = [line for name in dict.fromkeys(names) for line in _bad_name(name, database, runs)]
    problems += [
        f"study {name}: two would have this name. Choose one of them with --source-study." for name in _twice(names)
    ]
    problems += reading.problems
    if problems:
        raise SettingsError(*problems)
    with database.transaction():
        for each in reading.studies:
            study_id = database.create_study(each.name, each.direction, each.metric, each.attrs)
            add_trials(database, study_id, each.trials)
    for line in dict.fromkeys(line for each in reading.studies for line in each.notices):
        say(line)
    for each in reading.studies:
        for line in _lines(reading.request.source, each):
            say(line)
    return names


def _problems_of(request: Request) -> list[str]:
    problems = []
    if request.direction not in (None, "minimize", "maximize"):
        problems.append(f"--direction: {request.direction!r} is neither minimize nor maximize. Use one of them.")
    if _is_database(request.source):
        given = {"direction": request.direction, "params": request.params}
        problems += [f"--{name}: a database holds that itself. Leave it out." for name, value in given.items() if value]
    elif request.source_study is not None:
        problems.append("--source-study: is for a database; a table or JSON lines are one study. Leave it out.")
    return problems


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _bad_name(name: str, database: Database, runs: Path) -> list[str]:
    if "/" in name:
        return [f"study {one_line(name, 60)!r}: a name with a slash is for confirmations. Leave the / out."]
    if database.find_study(name) is not None:
        return [f"study {name}: {database.where} has one of this name. Choose another --study."]
    try:
        refuse_results_of_another(StudyPaths(runs, name), database.where)
    except StorageError as error:
        return [str(error)]
    return []


def _read(request: Request, zone: tzinfo | None) -> list[_ImportedStudy]:
    if _is_database(request.source):
        found = read_foreign(request.source, request.source_study, zone)
        return [_from_database(each, request, len(found)) for each in found]
    source = Path(request.source).name
    what = f"import {one_line(request.source, 200)}"
    read = read_lines if _is_lines(request.source) else read_table
    contents = read(request.source, what, request.metric, request.params)
    known = {name for row in contents.rows for name in row.params}
    if missing := [name for name in request.params if name not in known]:
        raise SettingsError(*(f"{what}: no row has {one_line(name, 60)} (--params). Correct it." for name in missing))
    direction = request.direction or "minimize"
    trials, noticed = trials_from_rows(contents.rows, TableReading(source, direction, zone))
    about = {"from": one_line(source), "at": _now()}
    return [_ImportedStudy(request.study, contents.metric, direction, trials, about, noticed)]


def _from_database(found: ForeignStudy, request: Request, of: int) -> _ImportedStudy:
    """Return a study of another database. Of several, each adds its own name to the new one."""
    suffix = re.sub(r"[^A-Za-z0-9._-]+", "-", found.name)[:60]
    source = shown_address(request.source)
    about = {"from": source, "study": one_line(found.name), "made_by": f"Optuna {found.made_by}", "at": _now()}
    noticed: Counter[str] = Counter()
    trials = [_moved(trial, found.name, noticed) for trial in found.trials]
    return _ImportedStudy(
        request.study if of == 1 else f"{request.study}-{suffix}",
        request.metric or found.metric,
        found.direction,
        trials,
        {**about, "attributes": dict(found.attrs)},
        noticed,
        found.notices,
    )


def _moved(trial: WholeTrial, study: str, noticed: Counter[str]) -> WholeTrial:
    """Return the trial with its origin. One that still runs there, or is complete without a value, is failed here."""
    state, attrs = trial.state, dict(trial.attrs)
    if state == "RUNNING":
        noticed["still running there, kept as failed"] += 1
        state = "FAIL"
        attrs |= {"status": TrialStatus.LOST, "reason": "was still running when it was brought in"}
    elif state == "COMPLETE" and not trial.values:
        noticed["complete without a value, kept as failed"] += 1
        state = "FAIL"
    if state in _STATUS and not isinstance(attrs.get("status"), str):
        attrs["status"] = _STATUS[state]
    origin = attrs.get("origin")
    kind = origin.get("kind") if isinstance(origin, dict) else ""
    ran = origin_attrs(str(kind or ""), taken_from=f"study {study}, trial {trial.number}")
    return replace(trial, state=state, attrs={**attrs, **ran})


def _lines(source: str, each: _ImportedStudy) -> list[str]:
    states = Counter(trial.state for trial in each.trials)
    names = {name for trial in each.trials for name in trial.params}
    naming = sum(bool(trial.params) for trial in each.trials)
    known = ", ".join(f"{count} {state.lower()}" for state, count in states.most_common())
    where = one_line(shown_address(source), 120)
    lines = [
        f"import {where}: study {each.name}: {amount(len(each.trials), 'trial')} ({known or 'none'}), "
        f"{each.metric} {each.direction}d; "
        f"{naming} name parameters ({len(names)} different)"
    ]
    return lines + [f"import {where}: {count} {what}" for what, count in each.noticed.most_common(8)]


def _is_database(source: str) -> bool:
    if "://" in source or source.lower().endswith(_DATABASES):
        return True
    return _begins(source, len(_SQLITE)) == _SQLITE


def _is_lines(source: str) -> bool:
    return source.lower().endswith(_LINES) or _begins(source, 200).lstrip()[:1] == b"{"


def _begins(source: str, count: int) -> bytes:
    try:
        path = Path(source).expanduser()
        if not path.is_file():  # reading a pipe would block for ever
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, ValueError, RuntimeError):  # the reader reports it
        return b""


def _zone(name: str | None) -> tzinfo | None:
    return None if name is None else UTC if name.upper() == "UTC" else ZoneInfo(name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
