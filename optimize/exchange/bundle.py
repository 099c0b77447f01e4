"""Everything about a study in one file to take away: scripts, tables, settings, verdict, report, and a database of its own.

Unpacked it is a `runs` folder: every command works on it with `--runs`. All of it is of one moment, also while the study
runs. What stands in each part is decided by those who write it.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from optimize.errors import StudyError
from optimize.exchange.bundle_text import readme_text
from optimize.stored_study import StoredStudy, find_study
from optimize.verdict import verdict_of
from storage import (
    Artifacts,
    StorageError,
    copy_files,
    open_database,
    pack,
    refuse_existing,
    scratch_folder,
    settle,
    snapshot,
    write_parquet,
    write_text,
)

Addition = Callable[[StoredStudy], object]
"""Writes more of a study's views into its folder, such as its report."""


def write_bundle(
    stored: StoredStudy, to: Path | None, all_artifacts: bool, say: Callable[[str], None], additions: tuple[Addition, ...] = ()
) -> Path:  # fmt: skip
    """The archive at `to`, or under a name with today's date and time in the study's folder; returns where it is.

    StudyError or StorageError, and nothing is written, if there is one already.
    """
    name = stored.paths.study.replace("/", "-")
    if to is None:
        stored.paths.create()
    elif to.suffix.lower() != ".zip":
        raise StudyError(f"{to}: not the name of a zip. Name a file that ends in .zip; nothing was written.")
    else:
        refuse_existing(to)
    with scratch_folder(to.parent if to else stored.paths.folder, f"{name}-bundle") as scratch:
        root = scratch / f"{name}-bundle"
        root.mkdir()
        _fill(root, stored, all_artifacts, say, additions)
        return pack(root, [to] if to else _names(stored.paths.folder / f"{root.name}-{datetime.now():%Y%m%d-%H%M%S}"))


def _names(path: Path) -> Iterator[Path]:
    """Two may be made within a second."""
    return (
        path.with_name(f"{path.name}{more}.zip")
        for more in itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    )


def _fill(
    root: Path, stored: StoredStudy, all_artifacts: bool, say: Callable[[str], None], additions: tuple[Addition, ...]
) -> None:
    where = replace(stored.paths, root=root)
    studies = [stored.name, *(child for child in where.children if stored.database.find_study(child) is not None)]
    snapshot(stored.database, studies, where.database)
    where.create()
    with closing(open_database(where.database, create=False, check=False)) as database:
        mine = find_study(database, stored.name, root)
        missing = sum(_copy_artifacts(stored, mine, study, all_artifacts) for study in studies)
        Artifacts(mine.paths.artifacts, database).forget_missing()  # or the dashboard would show what is not there
        if missing:
            say(f"study {stored.name}: {missing} artifacts have no file any more and are left out")
        _write_views(mine, say)
        if stored.paths.settings_json.is_file():
            shutil.copyfile(stored.paths.settings_json, where.settings_json)
        verdict = verdict_of(database.study_attrs(mine.study_id))
        if verdict is not None:
            write_text(where.confirmation_json, json.dumps(asdict(verdict), indent=2) + "\n")
        for addition in additions:
            addition(mine)
        text = readme_text(mine, database.counts(mine.study_id), datetime.now(UTC), all_artifacts)
        write_text(root / "README.txt", text)
    settle(where.database)


def _copy_artifacts(stored: StoredStudy, mine: StoredStudy, study: str, everything: bool) -> int:
    """Those of the best trial and of the best single value, or all; returns how many have no file."""
    source, target = Artifacts(stored.paths.artifacts, stored.database), Artifacts(mine.paths.artifacts, mine.database)
    if everything:
        ids = target.ids_of_study(study)  # of the snapshot: no trial has ended since
    else:
        best = mine.standing() if study == mine.name else None
        trial_ids = {best.record.trial_id, best.luckiest.trial_id} if best else set()
        ids = [artifact for trial_id in sorted(trial_ids) for artifact in target.ids(trial_id).values()]
    return copy_files(source, target, study, lambda: None, ids).missing


def _write_views(mine: StoredStudy, say: Callable[[str], None]) -> None:
    try:
        mine.write_views()
    except StorageError as error:  # an artifact that is lost is no reason to take nothing away
        say(f"{error} (best/ is left out)")
    finished = [record for record in mine.records() if record.is_finished]
    write_parquet(mine.paths.trials_parquet, finished, metric=mine.metric.name)
