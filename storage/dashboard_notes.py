"""Stores notes and plots as optuna-dashboard reads them: system attributes of the study, cut into parts.

What stands in them is not decided here. What a person has written in the dashboard is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy

from storage import sql
from storage.sql import STUDY_SYSTEM_ATTRS
from storage.text import encodable

if TYPE_CHECKING:
    from storage.database import Database

PART = 2045  # characters of an attribute; the dashboard's, from when a column was that short
# The dashboard looks through all of a study's attributes once for each trial that it shows: notes cost its page their
# number times that of the trials. This product adds less than a second to it; a note for each of 10,000 trials, over a minute.
MOST_NOTES, _MOST_LOOKS = 1_000, 2_000_000
_VERSION, _OF_STUDY = "dashboard:note_ver", "dashboard:note_str:"
_WRITTEN = "optimize:note"  # version and digest of what we wrote into the study's note last
_UNTOUCHED = 0  # version of a trial's note that is ours: whoever saves another raises it
_NOTE = re.compile(r"dashboard:(?:(\d+):)?(note_(?:ver|str:\d+))")  # of a trial, or of the study
_TEXT = re.compile(r"(dashboard:(?:\d+:)?note_str:)(\d+)")
_LINK = re.compile(r"/artifacts/(\d+)/(?:(\d+)/)?([0-9a-fA-F-]+)")  # to what a trial left, as the dashboard writes it
_IN_WORDS = re.compile(
    rf"(?:!?\[([^\[\]\n]{{1,200}}))?\]\({_LINK.pattern}\)"
)  # of brackets in words, the last one is enough


def most_notes(trials: int) -> int:
    """Return how many trials of a study with so many may have a note: 1,000 of 2,000, 200 of 10,000."""
    return min(MOST_NOTES, _MOST_LOOKS // max(trials, 1))


def put_trial_notes(database: Database, study_id: int, notes: Mapping[int, str]) -> None:
    """Write notes by trial id; a note that is there already stays."""

    def put(connection: sqlalchemy.Connection) -> None:
        sql.lock_study(connection, study_id)
        versions = {trial_id: f"dashboard:{trial_id}:note_ver" for trial_id in notes}
        there = _read(connection, study_id, STUDY_SYSTEM_ATTRS.c.key.in_(list(versions.values())))
        attrs: dict[str, Any] = {}
        for trial_id, version in versions.items():
            if version not in there:
                attrs |= {version: _UNTOUCHED, **_parts(f"dashboard:{trial_id}:note_str:", notes[trial_id])}
        sql.put_attrs(connection, STUDY_SYSTEM_ATTRS, study_id, attrs)

    database.write(put, kind="light")  # they can be made again


def trials_with_notes(database: Database, study_id: int) -> set[int]:
    """Return the ids of the trials that have a note."""
    keys = sqlalchemy.select(STUDY_SYSTEM_ATTRS.c.key).where(STUDY_SYSTEM_ATTRS.c.study_id == study_id)
    return {int(found[1]) for (key,) in database.rows(keys) if (found := _NOTE.fullmatch(key)) and found[1]}


def write_study_notes(
    database: Database, study_id: int, note: str, plots: Mapping[str, str], keep: Collection[int] = ()
) -> None:
    """Write the study's note and its plots (figures of plotly as JSON, by name) anew.

    Where trials have too many notes, the oldest are dropped. Notes of the trials in `keep`, and those that a person
    wrote, stay.
    """

    def write(connection: sqlalchemy.Connection) -> None:
        sql.lock_study(connection, study_id)
        _put_study_note(connection, study_id, encodable(note))
        for name, figure in plots.items():
            _put_parts(connection, study_id, f"dashboard:plot_data:{name}:", figure)
        _drop_oldest(connection, study_id, keep)

    database.write(write, kind="light")


def rows_of_study(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return those of a study's system attributes that are no parts of notes."""
    return [dict(row) for row in rows if not _NOTE.fullmatch(row["key"])]


def rows_of_notes(rows: Iterable[Mapping[str, Any]], study_id: int, ids: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return the notes among a study's system attributes as rows for another study, in which trials have the new `ids`.

    Their links lead to the new study. Notes of trials that are not among `ids` are left out.
    """
    attrs: dict[str, Any] = {}
    before = 0
    for row in rows:
        found = _NOTE.fullmatch(row["key"])
        if found and (found[1] is None or int(found[1]) in ids):
            of = "" if found[1] is None else f"{ids[int(found[1])]}:"
            attrs[f"dashboard:{of}{found[2]}"] = json.loads(row["value_json"])
            before = row["study_id"]

    def link(found: re.Match[str]) -> str:
        study, trial, artifact = found.groups()
        if int(study) != before or (trial and int(trial) not in ids):
            return found[0]
        return f"/artifacts/{study_id}/{f'{ids[int(trial)]}/' if trial else ''}{artifact}"

    moved = {key: value for key, value in attrs.items() if not _TEXT.fullmatch(key)}
    for prefix, text in _texts(attrs).items():
        moved |= _parts(prefix, _LINK.sub(link, text))
    return [{"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in moved.items()]


def drop_links(connection: sqlalchemy.Connection, there: Collection[str]) -> None:
    """Replace links to artifacts that are not `there` by their words, in all notes of a copy that nobody has read yet."""

    def words(found: re.Match[str]) -> str:
        return found[0] if found[4] in there else found[1] or "]"

    for study_id in connection.execute(sqlalchemy.select(sql.STUDIES.c.study_id)).scalars().all():
        attrs = _read(connection, study_id, STUDY_SYSTEM_ATTRS.c.key.like("dashboard:%note/_str:%", escape="/"))
        for prefix, text in _texts(attrs).items():
            if (new := _IN_WORDS.sub(words, text)) != text:
                _put_parts(connection, study_id, prefix, new)


def artifact_link(study_id: int, trial_id: int, artifact_id: str) -> str:
    """Return the path under which the dashboard serves an artifact; "" for what is no artifact's id."""
    return f"/artifacts/{study_id}/{trial_id}/{artifact_id}" if re.fullmatch("[0-9a-fA-F-]+", artifact_id) else ""


def _put_study_note(connection: sqlalchemy.Connection, study_id: int, text: str) -> None:
    key = STUDY_SYSTEM_ATTRS.c.key
    attrs = _read(connection, study_id, key.in_([_VERSION, _WRITTEN]) | key.startswith(_OF_STUDY, autoescape=True))
    version, before = attrs.get(_VERSION), _texts(attrs).get(_OF_STUDY, "")
    if version is not None and attrs.get(_WRITTEN) != {"version": version, "digest": _digest(before)}:
        return  # somebody has written it
    if version is not None and before == text:
        return
    # Its version stays: one that grew would tell whoever is editing the note that the edit is out of date.
    version = version or 1
    _put_parts(connection, study_id, _OF_STUDY, text)
    written = {"version": version, "digest": _digest(text)}
    sql.put_attrs(connection, STUDY_SYSTEM_ATTRS, study_id, {_VERSION: version, _WRITTEN: written})


def _put_parts(connection: sqlalchemy.Connection, study_id: int, prefix: str, text: str) -> None:
    parts, key = _parts(prefix, text), STUDY_SYSTEM_ATTRS.c.key
    sql.put_attrs(connection, STUDY_SYSTEM_ATTRS, study_id, parts)
    surplus = (STUDY_SYSTEM_ATTRS.c.study_id == study_id) & key.startswith(prefix, autoescape=True)
    connection.execute(STUDY_SYSTEM_ATTRS.delete().where(surplus & key.not_in(list(parts))))


def _drop_oldest(connection: sqlalchemy.Connection, study_id: int, keep: Collection[int]) -> None:
    key = STUDY_SYSTEM_ATTRS.c.key
    versions = _read(connection, study_id, key.like("dashboard:%:note/_ver", escape="/"))
    of_trials = {
        int(found[1]): version for name, version in versions.items() if (found := _NOTE.fullmatch(name)) and found[1]
    }
    newest = sql.newest_trial(connection, study_id)
    most = most_notes(newest.number + 1 if newest else 0)
    old = [each for each in sorted(of_trials)[:-most] if of_trials[each] == _UNTOUCHED and each not in keep]
    for trial_id in old:
        mine = (STUDY_SYSTEM_ATTRS.c.study_id == study_id) & key.startswith(
            f"dashboard:{trial_id}:note_", autoescape=True
        )
        connection.execute(STUDY_SYSTEM_ATTRS.delete().where(mine))


def _read(connection: sqlalchemy.Connection, study_id: int, wanted: sqlalchemy.ColumnElement[bool]) -> dict[str, Any]:
    query = sqlalchemy.select(STUDY_SYSTEM_ATTRS.c.key, STUDY_SYSTEM_ATTRS.c.value_json)
    rows = connection.execute(query.where((STUDY_SYSTEM_ATTRS.c.study_id == study_id) & wanted))
    return {key: json.loads(text) for key, text in rows}


def _parts(prefix: str, text: str) -> dict[str, str]:
    text = encodable(text)
    return {f"{prefix}{i}": text[start : start + PART] for i, start in enumerate(range(0, len(text), PART))}


def _texts(attrs: Mapping[str, Any]) -> dict[str, str]:
    """Join the parts of notes: the whole texts by the beginning of their parts' names."""
    found: dict[str, str] = {}
    parts = [(match[1], int(match[2]), str(attrs[key])) for key in attrs if (match := _TEXT.fullmatch(key))]
    for prefix, _, part in sorted(parts):
        found[prefix] = found.get(prefix, "") + part
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
