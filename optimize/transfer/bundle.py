"""A study in one zip file: scripts, tables, settings, verdict, report, a database of its own, and a README.txt about them.

Unpacked it is a `runs` folder: every command works on it with `--runs`. All parts are of one moment, also while the study runs.
`write_bundle` collects them; `readme_text` says what they are.
"""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import StudyError
from optimize.reporting.files import write_views
from optimize.reporting.hints import training_command
from optimize.script.command import RUN
from optimize.study.best import BestTrial
from optimize.study.stored import StoredStudy, find_study
from optimize.text import value_text
from optimize.transfer.archive import pack, refuse_existing, scratch_folder
from storage import (
    Artifacts,
    StorageError,
    copy_files,
    first_baseline,
    one_line,
    open_database,
    settle,
    snapshot,
    write_parquet,
    write_text,
)

_WHAT = {
    "best/": "the best trial: its result, its scripts and their patches, if the scripts are known",
    "results.tsv": "one line for each trial, in autoresearch's five columns",
    "trials.csv": "everything, one line for each trial; times are UTC",
    "trials.parquet": "the same with types: pandas.read_parquet",
    "report.html": "figures and tables; opens in a browser, offline",
    "settings.json": "the settings of the last call, and where each came from",
    "confirmation.json": "whether the winners are real: trainings with other seeds",
}


def readme_text(stored: StoredStudy, counts: Mapping[str, int], now: datetime, all_artifacts: bool) -> str:
    """Return the README.txt of an unpacked bundle, whose study is `stored`."""
    best, verdict = stored.best(), stored.verdict()
    blocks = [
        [f"Study {stored.name}, as it was on {now:%Y-%m-%d %H:%M} UTC", *_result(stored, best, counts, verdict)],
        ["What is inside", *_inside(stored, all_artifacts)],
        *([["Train the best again", *_again(stored)]] if _has_scripts(stored.paths.best) else []),
        ["Open the database", *_database(stored, best)],
    ]
    return "\n\n".join("\n".join([title, "-" * len(title), *lines]) for title, *lines in blocks) + "\n"


def _result(
    stored: StoredStudy, best: BestTrial | None, counts: Mapping[str, int], verdict: Verdict | None
) -> list[str]:
    metric = stored.metric
    known = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    lines = [f"{metric.name}, {metric.direction}d; trials: {known or 'none'}"]
    if best is None:
        return [*lines, f"There is no best trial: {stored.no_best}." if stored.no_best else "No trial is complete yet."]
    record = best.record
    lines.append(f"best: {value_text(record.value)} in trial {record.number}")
    lines += [f"    {name} = {value}" for name, value in record.params.items()] or [f"    {record.reason}"]
    if verdict is None:
        return [*lines, f"It is a {best.state}: {best.why}." if best.state else f"It is {best.why}."]
    if verdict.winner is None:
        of_best = [f"{str(best).capitalize()}."]
        return [*lines, *of_best, "Trained again with other seeds: no gain over the baseline was confirmed."]
    w = verdict.winner
    interval = f"{verdict.level:.0%} interval {value_text(w.low)} to {value_text(w.high)}"
    gain = f"{value_text(w.gain)} better than the baseline ({interval})"
    aside = [f"{best.aside.capitalize()}."] if best.aside else []
    return [*lines, f"Confirmed with other seeds: trial {w.number}, {gain}.", *aside]


def _inside(stored: StoredStudy, all_artifacts: bool) -> list[str]:
    folder = stored.paths.folder
    there = [(f"{stored.paths.study}/{name}", what) for name, what in _WHAT.items() if (folder / name).exists()]
    there += [(str(path.relative_to(stored.paths.root)), "a figure") for path in sorted(folder.rglob("*.png"))]
    which = "every trial" if all_artifacts else "the best trial and the baseline"
    there.append((stored.paths.database.name, "this study alone: an Optuna database (SQLite)"))
    if any(stored.paths.artifacts.iterdir()):
        there.append(("artifacts/", f"what {which} left: scripts, patch, log, curve; the dashboard shows them"))
    width = max(len(name) for name, _ in there)
    return [f"{name:<{width}}  {one_line(what)}" for name, what in there]


def _again(stored: StoredStudy) -> list[str]:
    lines = [f"cd {stored.paths.study}/best"]
    if (stored.paths.best / "prepare.py").exists():
        lines.append(f"{shlex.join(['python', 'prepare.py', *_prepare_args(stored)])}    # its data; once")
    return [*lines, training_command([path.name for path in stored.paths.best.iterdir()])]


def _has_scripts(best: Path) -> bool:
    return any((best / name).exists() for name in ("train.py", RUN))


def _prepare_args(stored: StoredStudy) -> list[str]:
    try:
        return list(map(str, json.loads(stored.paths.settings_json.read_text("utf-8"))["prepare_args"]))
    except (OSError, ValueError, KeyError, TypeError):  # written by another program, or by hand
        return []


def _database(stored: StoredStudy, best: BestTrial | None) -> list[str]:
    artifacts = " --artifact-dir artifacts" if any(stored.paths.artifacts.iterdir()) else ""
    which = (
        f"trials[{best.record.number}]" if best and best.aside else "best_trial"
    )  # Optuna's is the best single value
    load = f'optuna.load_study(study_name={json.dumps(stored.name)}, storage="sqlite:///optuna.db")'
    return [
        f"optuna-dashboard sqlite:///optuna.db{artifacts}",
        f"python -c {shlex.quote(f'import optuna; print({load}.{which})')}",
        "",
        "With this project installed, its commands work on this folder:",
        f"optimize status --runs . --study {shlex.quote(stored.name)}",
        "optimize dashboard --runs .",
    ]


Addition = Callable[[StoredStudy], object]
"""Writes another view of a study into its folder, such as its report."""


def write_bundle(
    stored: StoredStudy,
    to: Path | None,
    all_artifacts: bool,
    say: Callable[[str], None],
    additions: tuple[Addition, ...] = (),
) -> Path:
    """Write the zip file to `to`, or into the study's folder under a name with date and time; return its path.

    Raises StudyError if `to` is not a .zip, StorageError if there is such a file already; then nothing is written.
    """
    name = stored.paths.study.replace("/", "-")
    if to is None:
        stored.paths.create()
    elif to.suffix.lower() != ".zip":
        raise StudyError(f"{to}: does not end in .zip. Name a file that does; nothing was written.")
    else:
        refuse_existing(to)
    with scratch_folder(to.parent if to else stored.paths.folder, f"{name}-bundle") as scratch:
        root = scratch / f"{name}-bundle"
        root.mkdir()
        _fill(root, stored, all_artifacts, say, additions)
        return pack(root, [to] if to else _names(stored.paths.folder / f"{root.name}-{datetime.now():%Y%m%d-%H%M%S}"))


def _names(path: Path) -> Iterator[Path]:
    """Return names to try, because two bundles may be made within a second."""
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
        Artifacts(
            mine.paths.artifacts, database
        ).forget_missing()  # else the dashboard would show files that are missing
        if missing:
            say(f"study {stored.name}: {missing} artifacts are left out, because their files are missing")
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
    """Copy the artifacts of the best trial, of the best single value and of the baseline, or all; return how many have no file."""
    source, target = Artifacts(stored.paths.artifacts, stored.database), Artifacts(mine.paths.artifacts, mine.database)
    if everything:
        ids = target.ids_of_study(study)  # of the snapshot: no trial has ended since
    else:
        best = mine.best() if study == mine.name else None
        trial_ids = {best.record.trial_id, best.luckiest.trial_id} if best else set()
        baseline = first_baseline(mine.database, mine.study_id) if study == mine.name else None
        trial_ids |= {baseline.trial_id} if baseline else set()  # what patches are against
        ids = [artifact for trial_id in sorted(trial_ids) for artifact in target.ids(trial_id).values()]
    return copy_files(source, target, study, lambda: None, ids).missing


def _write_views(mine: StoredStudy, say: Callable[[str], None]) -> None:
    try:
        write_views(mine)
    except StorageError as error:  # a lost artifact must not prevent the bundle
        say(f"{error} (best/ is left out)")
    if find_spec("pyarrow") is None:
        say(
            "trials.parquet: left out, because pyarrow is not installed (`pip install 'pyarrow>=18'`). trials.csv is whole."
        )
        return
    finished = [record for record in mine.records() if record.is_finished]
    write_parquet(mine.paths.trials_parquet, finished, metric=mine.metric.name)
