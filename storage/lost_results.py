"""Finds finished trials that a study's tables hold and its database lacks, and sets such tables aside.

The tables are views and are rewritten whole. Where a database was removed, or an older copy put in its place, they are
all that is left of the later trials. Who edits a table by hand, rounds its values or adds remarks has lost nothing.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from storage.errors import StorageError
from storage.exports import PLAIN, VERDICTS
from storage.files import os_errors_at
from storage.paths import StudyPaths
from storage.records import FINISHED, TrialRecord
from storage.sqlite_copies import finished_in
from storage.text import one_line

_COMMIT = re.compile(r"[0-9a-f]{7}")
_DIGITS = re.compile(r"[0-9]+")
_COLUMNS, _METRIC = 5, 5  # of results.tsv; its column in trials.csv, after the first of PLAIN
_CLOSE = 1e-9  # relative: a spreadsheet keeps 15 digits
_LEAST_DECIMALS = 3  # without a number or a commit, a value that was rounded to fewer may be another trial's
_MOST_DIGITS = 300  # of a float
_MOST_COPIES = 50  # that are looked into
_COPIES = ("*.db", "*.db.*", "*.bak", "*/optuna*.db", "*/*/optuna*.db")


@dataclass(frozen=True, slots=True)
class _ToldTrial:
    """A finished trial as a table tells it."""

    key: str  # its number, or its commit: the start of the script's hash
    shown: str
    state: str  # "" if the table does not tell it
    value: str

    def is_told(self, records: Sequence[TrialRecord]) -> bool:
        """Return whether one of these records is the same trial."""
        return any(self.state in ("", each.state) and _same(self.value, each.value, bool(self.key)) for each in records)


class Tables:
    """The tables of a study as they lie there now. Read them before the records that they are compared with."""

    def __init__(self, paths: StudyPaths) -> None:
        """Read the tables. What cannot be read as ours tells nothing. Raises StorageError if a disk fails."""
        self._paths = paths
        self._numbered, self._others = list(_trials_csv(paths.trials_csv)), list(_results_tsv(paths.results_tsv))

    def lost(self, records: Sequence[TrialRecord]) -> list[str]:
        """Return the finished trials that no record tells, in words, of the table that has more of them."""
        by_number, by_commit = defaultdict[str, list[TrialRecord]](list), defaultdict[str, list[TrialRecord]](list)
        for record in filter(lambda each: each.is_finished, records):
            by_number[str(record.number)].append(record)
            for commit in {record.script[:7], ""}:  # a row without a commit may be any trial's
                by_commit[commit].append(record)
        numbered = [row.shown for row in self._numbered if not row.is_told(by_number[row.key])]
        others = [row.shown for row in self._others if not row.is_told(by_commit[row.key])]
        return max(numbered, others, key=len)

    def protect(self, records: Sequence[TrialRecord], where: str, set_aside: bool) -> list[str]:
        """Return the lines to say, one if tables were set aside. `where` is the database of the records.

        Raises StorageError where the tables hold finished trials that the records lack, unless they may be `set_aside`.
        """
        lost = self.lost(records)
        if not lost:
            return []
        if not set_aside:
            raise StorageError(self._refusal(lost, sum(record.is_finished for record in records), where))
        return [_set_aside_line(set_tables_aside(self._paths), lost, where)]

    def _refusal(self, lost: Sequence[str], count: int, where: str) -> str:
        copy = copy_with_more(self._paths, count)
        back = f" ({copy} has more of them)" if copy else ", or a backup (`optimize restore BACKUP --runs NEW`)"
        return (
            f"{self._paths.folder}: its tables hold {_trials(len(lost))} that study {self._paths.study} in {where} lacks, "
            f"such as {lost[-1]}. Put the right database back{back}. Or go on without those trials, and keep these "
            f"tables as {_names(self._paths)[0].name}: `optimize ... --set-aside`"
        )


def protect_tables(paths: StudyPaths, where: str, set_aside: bool) -> list[str]:
    """Protect what lies in the folder of a study that the database `where` does not have, as `Tables.protect` does."""
    lost = Tables(paths).lost(())
    if not (lost or _count_rows(paths)):
        return []
    if not set_aside:
        way = f"or begin anew, and keep them as {_names(paths)[0].name}: `optimize ... --set-aside`"
        raise StorageError(_unknown(paths, where, copy_with_more(paths, 0), way))
    return [_set_aside_line(set_tables_aside(paths), lost, where)]


def refuse_results_of_another(paths: StudyPaths, where: str) -> None:
    """Raise StorageError if trials have ended in this folder that the database `where`, without such a study, does not
    know.

    Their database was lost, or is another one: the views of a new study would replace all that is left of them.
    """
    if _count_rows(paths) or Tables(paths).lost(()):
        raise StorageError(_unknown(paths, where, None, "to begin anew, move this folder away"))


def _unknown(paths: StudyPaths, where: str, copy: Path | None, way: str) -> str:
    back = f"{copy} has trials of it" if copy else "or a backup: `optimize restore BACKUP --runs NEW`"
    return (
        f"{paths.folder}: holds results of a study that {where} does not have. Bring its database back ({back}), or name "
        f"it (--storage); {way}"
    )


def set_tables_aside(paths: StudyPaths) -> list[Path]:
    """Rename the tables, best/ and the report to `results.tsv.lost-1`, or the next free number; return the new paths.

    Nobody else may write the study's views meanwhile. Raises StorageError.
    """
    moved = []
    for path, to in zip(_views(paths), _names(paths), strict=True):
        with os_errors_at(path):
            if os.path.lexists(path):
                path.rename(to)
                moved.append(to)
    return moved


def were_set_aside(root: Path) -> bool:
    """Return whether a folder of runs holds tables that were set aside: their trials' files have no other name."""
    return any(next(root.glob(f"{folder}/results.tsv.lost-*"), None) for folder in ("*", "*/*"))


def copy_with_more(paths: StudyPaths, count: int) -> Path | None:
    """Return the database under the runs folder with most finished trials of the study, if these are more than `count`."""
    found = itertools.chain.from_iterable(paths.root.glob(pattern) for pattern in _COPIES)
    copies = {path for path in found if path != paths.database and not path.name.endswith(("-wal", "-shm", "-journal"))}
    counted = [(finished_in(path, paths.study), path) for path in sorted(copies)[:_MOST_COPIES]]
    best = max(counted, default=(0, None), key=lambda each: each[0])
    return best[1] if best[0] > count else None


def _set_aside_line(moved: Sequence[Path], lost: Sequence[str], where: str) -> str:
    names = ", ".join(path.name for path in moved)
    what = f"{_trials(len(lost))} of theirs, such as {lost[-1]}" if lost else "their study"
    return f"{moved[0].parent}: set aside as {names}, because {where} lacks {what}"


def _trials(count: int) -> str:
    return f"{count} finished trial{'' if count == 1 else 's'}"


def _views(paths: StudyPaths) -> list[Path]:
    return [paths.results_tsv, paths.trials_csv, paths.best, paths.report.html, paths.report.plot("any").parent]


def _names(paths: StudyPaths) -> list[Path]:
    """Return the names that are all free, in the order of `_views`."""
    for number in itertools.count(1):
        names = [path.with_name(f"{path.name}.lost-{number}") for path in _views(paths)]
        if not any(map(os.path.lexists, names)):
            return names
    raise AssertionError


def _count_rows(paths: StudyPaths) -> int:
    with os_errors_at(paths.results_tsv):
        return max(paths.results_tsv.read_bytes().count(b"\n") - 1, 0) if paths.results_tsv.exists() else 0


def _trials_csv(path: Path) -> Iterator[_ToldTrial]:
    rows = _cells(path, ",")
    header = next(rows, [])
    if tuple(header[:_METRIC]) != PLAIN[:_METRIC] or len(header) <= _METRIC:
        return
    for cells in rows:
        if len(cells) > _METRIC and _DIGITS.fullmatch(cells[0]) and cells[1] in FINISHED:
            number, value = cells[0].lstrip("0") or "0", cells[_METRIC]
            yield _ToldTrial(
                number, f"trial {one_line(number, 20)}, {header[_METRIC]} {value or 'none'}", cells[1], value
            )


def _results_tsv(path: Path) -> Iterator[_ToldTrial]:
    """Yield each row that is as we write them."""
    rows = _cells(path, "\t")
    metric = [*next(rows, []), "", ""][1]
    for cells in rows:
        if len(cells) < _COLUMNS or cells[3] not in VERDICTS:
            continue
        commit, value = cells[:2]
        if _COMMIT.fullmatch(commit) or (value and not commit):
            yield _ToldTrial(commit, f"{commit or 'a trial'}, {metric} {value or 'none'}", "", value)


def _same(text: str, value: float | None, known: bool) -> bool:
    """Return whether the text is this value, rounded perhaps; `known`: to any digit. An empty one is no value."""
    if not text or value is None:
        return not text and value is None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    last = number.as_tuple().exponent  # of the last digit
    rounds = isinstance(last, int) and (known or last <= -_LEAST_DECIMALS)  # no infinity, no NaN
    rounded = 0.51 * 10.0 ** min(int(last), _MOST_DIGITS) if rounds else 0.0
    return math.isclose(float(number), value, rel_tol=_CLOSE, abs_tol=rounded)


def _cells(path: Path, delimiter: str) -> Iterator[list[str]]:
    with os_errors_at(path):
        if not path.is_file():
            return
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
            yield from csv.reader(file, delimiter=delimiter)  # ours have a quote only where it means one
