"""What the README of a bundle says: which study it is, what lies where, how to train its best again and open its database.

It looks at what is there and writes nothing.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from optimize.script.starting import RUN
from optimize.standing import Standing
from optimize.stored_study import StoredStudy
from optimize.verdict import Verdict
from storage import one_line

_WHAT = {
    "best/": "the best trial: what it gave, and where it ran here its scripts and their patch",
    "results.tsv": "a line for each trial, in autoresearch's five columns",
    "trials.csv": "everything, a line for each trial; times are UTC",
    "trials.parquet": "the same with types: pandas.read_parquet",
    "report.html": "figures and tables; opens in a browser, offline",
    "settings.json": "what the study was called with, and where each setting came from",
    "confirmation.json": "whether the winners are real: repetitions with other seeds",
}


def readme_text(stored: StoredStudy, counts: Mapping[str, int], now: datetime, all_artifacts: bool) -> str:
    """Of an unpacked bundle whose database and views `stored` are."""
    best, verdict = stored.standing(), stored.verdict()
    blocks = [
        [f"Study {stored.name}, as it was on {now:%Y-%m-%d %H:%M} UTC", *_result(stored, best, counts, verdict)],
        ["What is inside", *_inside(stored, all_artifacts)],
        *([["Train the best again", *_again(stored)]] if _has_scripts(stored.paths.best) else []),
        ["Open the database", *_database(stored, best)],
    ]
    return "\n\n".join("\n".join([title, "-" * len(title), *lines]) for title, *lines in blocks) + "\n"


def _result(
    stored: StoredStudy, best: Standing | None, counts: Mapping[str, int], verdict: Verdict | None
) -> list[str]:
    metric = stored.metric
    known = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    lines = [f"{metric.name}, {metric.direction}d; trials: {known or 'none'}"]
    if best is None:
        return [*lines, "No trial is complete yet."]
    record = best.record
    lines.append(f"best: {record.value:.6f} in trial {record.number}")
    lines += [f"    {name} = {value}" for name, value in record.params.items()] or [f"    {record.reason}"]
    if verdict is None:
        return [*lines, "Not confirmed: nobody has repeated it with other seeds."]
    if verdict.winner is None:
        return [*lines, "Repeated with other seeds, and no gain over the baseline was confirmed."]
    w = verdict.winner
    gain = f"{w.gain:.6f} better than the baseline ({verdict.level:.0%} interval {w.low:.6f} to {w.high:.6f})"
    unsure = [] if best.confirmed else [f"Trial {record.number} is not confirmed: {best.why}."]
    aside = [f"{best.aside.capitalize()}."] if best.aside else []
    return [*lines, *unsure, f"Confirmed with other seeds: trial {w.number}, {gain}.", *aside]


def _inside(stored: StoredStudy, all_artifacts: bool) -> list[str]:
    folder = stored.paths.folder
    there = [(f"{stored.paths.study}/{name}", what) for name, what in _WHAT.items() if (folder / name).exists()]
    there += [(str(path.relative_to(stored.paths.root)), "a figure") for path in sorted(folder.rglob("*.png"))]
    which = "every trial" if all_artifacts else "the best trial"
    there.append(("optuna.db", "this study alone: an Optuna database (SQLite)"))
    if any(stored.paths.artifacts.iterdir()):
        there.append(("artifacts/", f"what {which} left: scripts, patch, log, curve; the dashboard shows them"))
    width = max(len(name) for name, _ in there)
    return [f"{name:<{width}}  {one_line(what)}" for name, what in there]


def _again(stored: StoredStudy) -> list[str]:
    lines = [f"cd {stored.paths.study}/best"]
    if (stored.paths.best / "prepare.py").exists():
        lines.append(f"{shlex.join(['python', 'prepare.py', *_prepare_args(stored)])}    # its data; once")
    return [*lines, f"sh {RUN}" if (stored.paths.best / RUN).exists() else "python train.py"]


def _has_scripts(best: Path) -> bool:
    return any((best / name).exists() for name in ("train.py", RUN))


def _prepare_args(stored: StoredStudy) -> list[str]:
    try:
        return list(map(str, json.loads(stored.paths.settings_json.read_text("utf-8"))["prepare_args"]))
    except (OSError, ValueError, KeyError, TypeError):  # made on another machine, or by hand
        return []


def _database(stored: StoredStudy, best: Standing | None) -> list[str]:
    artifacts = " --artifact-dir artifacts" if any(stored.paths.artifacts.iterdir()) else ""
    which = (
        f"trials[{best.record.number}]" if best and best.aside else "best_trial"
    )  # Optuna's is the best single value
    load = f'optuna.load_study(study_name={json.dumps(stored.name)}, storage="sqlite:///optuna.db")'
    return [
        f"optuna-dashboard sqlite:///optuna.db{artifacts}",
        f"python -c {shlex.quote(f'import optuna; print({load}.{which})')}",
        "",
        "With this project installed, this folder is a folder of runs:",
        f"optimize status --runs . --study {shlex.quote(stored.name)}",
        "optimize dashboard --runs .",
    ]
