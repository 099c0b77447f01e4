"""Reads studies of another program's database, and cleans them: nothing in it is changed, trusted or run.

A SQLite file is copied first, so that neither locks nor a version check touch the original. Into the same columns
Optuna 4 wrote the local times of its machine and Optuna 5 writes UTC. For the trials of a table, the ranges of their
parameters are found here as well. Where trials go is not decided here.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from storage.database import Database, open_database
from storage.errors import StorageError
from storage.queries import count_objectives, library_version
from storage.sql import Stored
from storage.sqlite_copies import copy_foreign
from storage.study_copy import WholeTrial, read_whole_trials
from storage.text import exact_line, one_line
from storage.url import parse_address

_LONGEST_TEXT, _LONGEST_VALUE, _MOST, _DEEPEST = 2_000, 20_000, 1_000, 8
_LONGEST_NAME, _LONGEST_CHOICE = 100, 200
_STRANGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class ForeignStudy:
    """One study as it was found; `trials` by number, times naive UTC, texts cleaned, without system attributes."""

    name: str
    metric: str
    direction: str
    attrs: Mapping[str, Any]
    trials: Sequence[WholeTrial]
    made_by: str  # the version of Optuna that made the database
    notices: Sequence[str] = ()  # what the user should know of the database


def read_foreign(where: str, study: str | None, zone: tzinfo | None) -> list[ForeignStudy]:
    """Return the study of this name, or all studies if it is None.

    `zone` is that of the times; None means UTC from Optuna 5 on, and this machine's before it. Raises StorageError for
    what is no database of Optuna's, and for a study of several objectives.
    """
    with _opened(where) as (database, shown):
        names = database.study_names()
        if study is not None and study not in names:
            there = ", ".join(one_line(name, 60) for name in sorted(names)[:20]) or "none"
            raise StorageError(f"{shown}: there is no study {one_line(study, 60)!r}. There are: {there}")
        if not names:
            raise StorageError(f"{shown}: holds no study")
        made_by = library_version(database)
        local = zone if zone is not None or _major(made_by) < 5 else UTC
        try:
            with warnings.catch_warnings():  # Optuna 5's, about choices that Optuna 4 took
                warnings.simplefilter("ignore")
                found = [_read(database, name, made_by, local) for name in names if study in (None, name)]
            notices = [notice.replace(database.where, shown) for notice in database.notices if database.read_only]
            return [replace(each, notices=notices) for each in found]
        except (StorageError, *_STRANGE) as error:
            strange = error.__cause__ if isinstance(error, StorageError) else error
            if not isinstance(strange, _STRANGE):
                raise
            raise StorageError(f"{shown}: holds what Optuna never writes: {one_line(str(strange), 120)}") from error


def naive_utc(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return a time as our tables have it. A time without a zone is of `zone`; None means this machine's."""
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC).replace(tzinfo=None)


def clean(value: Any, depth: int = 0) -> Any:
    """Return a stranger's JSON as every reader can hold it: no NaN, no control characters, limited in size and depth."""
    if isinstance(value, str):
        return _text(value, _LONGEST_TEXT)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)[:_LONGEST_NAME]
    if depth == _DEEPEST or (depth == 0 and len(json.dumps(value, default=str)) > _LONGEST_VALUE):
        return _text(json.dumps(value, default=str), _LONGEST_TEXT)
    if isinstance(value, Mapping):
        some = list(value.items())[:_MOST]
        return {_text(str(key), _LONGEST_NAME): clean(each, depth + 1) for key, each in some}
    if isinstance(value, list | tuple):
        return [clean(each, depth + 1) for each in value[:_MOST]]
    return _text(str(value), _LONGEST_TEXT)


def _text(text: str, longest: int) -> str:
    """Cut a text and remove what a terminal or a page would obey; lines stay lines."""
    lines = text[: 2 * longest].replace("\r\n", "\n").split("\n")
    safe = "\n".join(one_line(line, longest) if not line.isprintable() else line for line in lines)
    return safe if len(safe) <= longest else f"{safe[: longest - 3]}..."


@contextmanager
def _opened(where: str) -> Iterator[tuple[Database, str]]:
    """Open the database, and say how messages name it."""
    address = parse_address(where)
    if address.path is None:
        with closing(open_database(where, create=False, read_only=True)) as database:
            yield database, address.shown
        return
    with tempfile.TemporaryDirectory(prefix="optimize-import-") as folder:
        copy = Path(folder) / "copy.db"
        copy_foreign(address.path, copy)
        try:
            with closing(open_database(copy, create=False, read_only=True)) as database:
                yield database, address.shown
        except StorageError as error:  # it names the copy, which is nobody's business
            raise StorageError(str(error).replace(str(copy), address.shown)) from error


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 5


def _read(database: Database, name: str, made_by: str, zone: tzinfo | None) -> ForeignStudy:
    study_id = database.find_study(name)
    assert study_id is not None
    if (objectives := count_objectives(database, study_id)) != 1:
        raise StorageError(
            f"{database.where}: study {one_line(name, 60)!r} has {objectives} objectives, studies here have one. "
            "Name another with --source-study"
        )
    metric, direction = database.objective(study_id)
    trials = [_cleaned(trial, zone) for trial in read_whole_trials(database, study_id)]
    attrs = {_text(key, _LONGEST_NAME): clean(value) for key, value in database.study_attrs(study_id).items()}
    direction = direction if direction in ("minimize", "maximize") else "minimize"
    return ForeignStudy(name, one_line(metric, _LONGEST_NAME) or "value", direction, attrs, trials, made_by)


def _cleaned(trial: WholeTrial, zone: tzinfo | None) -> WholeTrial:
    rows = [_cleaned_row(row) for row in trial.rows]
    attrs = {_text(key, _LONGEST_NAME): clean(value) for key, value in list(trial.attrs.items())[:_MOST]}
    params = {
        row["param_name"]: json_to_distribution(row["distribution_json"]).to_external_repr(row["param_value"])
        for row in rows
    }
    started = None if trial.started is None else naive_utc(trial.started, zone)
    finished = None if trial.finished is None else naive_utc(trial.finished, zone)
    return replace(trial, rows=rows, params=params, attrs=attrs, system_attrs={}, started=started, finished=finished)


def _cleaned_row(row: Mapping[str, Any]) -> dict[str, Any]:
    within = json_to_distribution(row["distribution_json"])
    if isinstance(within, CategoricalDistribution):
        within = CategoricalDistribution(tuple(map(_choice, within.choices)))
    return {
        "param_name": one_line(row["param_name"], _LONGEST_NAME),
        "param_value": float(row["param_value"]),
        "distribution_json": distribution_to_json(within),
    }


def _choice(choice: Any) -> Any:
    """Return a choice as Optuna 5 has them: Optuna 4 took anything of JSON, such as a list, with a warning."""
    if choice is None or isinstance(choice, bool | int | float):
        return choice
    return exact_line(choice if isinstance(choice, str) else json.dumps(choice), _LONGEST_CHOICE)


_WIDE = 100  # largest over smallest: from here on a plot of the numbers is logarithmic
_EXACT = 2**53  # larger whole numbers are not stored exactly


def spanning_rows(trials: Sequence[Mapping[str, Stored]]) -> list[list[dict[str, Any]]]:
    """Return for each trial the rows of its parameters, with ranges that span the values of all trials."""
    seen: dict[str, dict[tuple[type, Stored], None]] = {}
    for params in trials:
        for name, value in params.items():
            seen.setdefault(name, {})[type(value), value] = None
    ranges = {name: _range(value for _, value in values) for name, values in seen.items()}
    texts = {name: distribution_to_json(each) for name, each in ranges.items()}
    return [[_row(name, value, ranges[name], texts[name]) for name, value in params.items()] for params in trials]


def _row(name: str, value: Stored, within: BaseDistribution, text: str) -> dict[str, Any]:
    stored = within.to_internal_repr(_nearest_choice(value, within))
    return {"param_name": name, "param_value": float(stored), "distribution_json": text}


def _range(values: Iterable[Stored]) -> BaseDistribution:
    known = list(values)
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(known) or any(abs(number) > _EXACT for number in numbers if isinstance(number, int)):
        return CategoricalDistribution(_choices(known))
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= _WIDE
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _choices(known: Sequence[Stored]) -> tuple[Stored, ...]:
    """Return choices as they are if all are of one kind, else as texts: to Optuna 1, 1.0 and True are the same choice."""
    kinds = {type(value) for value in known if value is not None}
    if len(kinds) == 1:
        return tuple(sorted(known, key=lambda value: (value is None, "" if value is None else value)))
    return tuple(sorted({str(value) for value in known}))


def _nearest_choice(value: Stored, within: BaseDistribution) -> Stored:
    if not isinstance(within, CategoricalDistribution):
        return value
    return value if any(type(each) is type(value) and each == value for each in within.choices) else str(value)
