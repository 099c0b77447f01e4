"""Compares a study with the ledger that its scripts wrote themselves. `chaos.py` runs the study and says what it means.

It reads with SQLite and Optuna alone: our own code is what is being judged.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

FAULTS = (
    "results_lost", "doubled", "invented", "incomplete", "dangling", "misjudged", "requeues", "stuck", "orphans",
    "off_budget", "bad_exits", "tracebacks", "failed_polls", "missed", "wordless", "foreign_writes",
)  # fmt: skip
FACTS = (
    "kills",
    "trials",
    "complete",
    "in_opening",
    "in_trial",
    "between",
    "strays",
    "polls",
    "slowest_ms",
    "told_lost",
    "set_aside",
)


class Figures(Counter[str]):
    """What was found, by name; `details` has a line about each fault."""

    def __init__(self) -> None:
        super().__init__()
        self.integrity = self.views = "ok"
        self.details: list[str] = []

    def fault(self, name: str, detail: str) -> None:
        self[name] += 1
        self.details.append(f"{name}: {detail}")

    def is_good(self) -> bool:
        return not any(self[name] for name in FAULTS) and self.integrity == self.views == "ok"

    def add(self, other: Figures) -> None:
        slowest = max(self["slowest_ms"], other["slowest_ms"])
        self.update(other)
        self["slowest_ms"] = slowest
        self.integrity = other.integrity if self.integrity == "ok" else self.integrity
        self.views = other.views if self.views == "ok" else self.views

    def line(self) -> str:
        shown = {name: self[name] for name in FAULTS} | {"integrity": self.integrity, "views": self.views}
        return " ".join(f"{k}={v}" for k, v in (shown | {name: self[name] for name in FACTS}).items())


@dataclass(frozen=True)
class Line:
    """A line of the ledger."""

    word: str  # begun, printing, printed
    ident: str
    value: float
    at: float


def judge(
    runs: Path, ledger: Sequence[Line], endings: Collection[str], found: Figures, excused: Collection[str] = ()
) -> None:
    """What the study "s" under `runs` has kept of what the ledger holds; `endings` are those that a trial may have.

    Results with an `excused` ident may be lost: a line has said so.
    """
    found.integrity = _integrity(runs / "optuna.db")
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{runs / 'optuna.db'}").get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    found["trials"], found["complete"] = len(trials), len(complete)
    for trial in trials:
        if not trial.state.is_finished():
            found.fault("stuck", f"trial {trial.number} is {trial.state.name}")
        elif (status := trial.user_attrs.get("status")) not in endings or trial.state.name == "PRUNED":
            found.fault(
                "misjudged", f"trial {trial.number}, {trial.state.name}, is {status}: {trial.user_attrs.get('reason')}"
            )
    _count_requeues(trials, found)
    _compare(complete, ledger, found, excused)
    _look_at_artifacts(trials, runs / "artifacts", found)
    found.views = _views(trials, runs)


def _count_requeues(trials: Sequence[FrozenTrial], found: Figures) -> None:
    """Parameters go back into the queue once for each failure of the world, and never after a result."""
    times = Counter(trial.user_attrs.get("origin", {}).get("requeue_of") for trial in trials)
    for trial in trials:
        if trial.state.is_finished() and times[trial.number] != (trial.state.name == "FAIL"):
            found.fault(
                "requeues", f"trial {trial.number}, {trial.state.name}: queued again {times[trial.number]} times"
            )


def _integrity(database: Path) -> str:
    try:
        with closing(sqlite3.connect(database)) as connection:
            rows = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            rows += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        rows = [error]
    return "ok" if rows == ["ok"] else repr("; ".join(map(str, rows[:3])))


def _compare(complete: Sequence[FrozenTrial], ledger: Sequence[Line], found: Figures, excused: Collection[str]) -> None:
    kept = {(_ident(trial), trial.value) for trial in complete}
    for line in ledger:
        if line.word == "printed" and (line.ident, line.value) not in kept and line.ident in excused:
            found["told_lost"] += 1
        elif line.word == "printed" and (line.ident, line.value) not in kept:
            found.fault("results_lost", f"{line.ident} {line.value}")
    for what in _repeated(_ident(trial) for trial in complete):
        found.fault("doubled", what)
    for what in _repeated(repr(sorted(trial.params.items())) for trial in complete):
        found.fault("doubled", what)
    known = {line.value for line in ledger if line.word == "printing"}
    for trial in complete:
        if trial.value not in known:
            found.fault("invented", f"trial {trial.number}: {trial.value}")


def _repeated(things: Iterable[str]) -> Iterator[str]:
    return (f"{count} times {thing}" for thing, count in Counter(things).items() if thing and count > 1)


def _ident(trial: FrozenTrial) -> str:
    """ "" if the summary was cut before it."""
    return str(trial.user_attrs.get("summary", {}).get("ident", ""))


def _look_at_artifacts(trials: Sequence[FrozenTrial], folder: Path, found: Figures) -> None:
    named: set[str] = set()
    for trial in trials:
        metas = [json.loads(text) for key, text in trial.system_attrs.items() if key.startswith("artifacts:")]
        named |= {meta["artifact_id"] for meta in metas}
        texts = {}
        for meta in metas:
            try:
                texts[meta["filename"]] = (folder / meta["artifact_id"]).read_text()
            except (OSError, ValueError) as error:
                found.fault("dangling", f"trial {trial.number}: {meta['filename']}: {error}")
        if trial.state.name == "COMPLETE":
            for lack in _lacks(trial, texts):
                found.fault("incomplete", f"trial {trial.number}: {lack}")
    found["strays"] = sum(path.name not in named for path in folder.iterdir())


def _lacks(trial: FrozenTrial, texts: dict[str, str]) -> Iterator[str]:
    if not _ident(trial):
        yield f"its summary is {trial.user_attrs.get('summary')}"
    script = texts.get("train.py", "").splitlines()
    if not all(
        f"{name} = {value!r}" in [line.replace('"', "'") for line in script] for name, value in trial.params.items()
    ):
        yield "its script is missing or has other parameters"
    if _ident(trial) not in texts.get("log.txt", ""):
        yield "its log is missing, or ends before its summary"


def _views(trials: Sequence[FrozenTrial], runs: Path) -> str:
    results, summary = runs / "s" / "results.tsv", runs / "s" / "best" / "summary.toml"
    finished = [trial for trial in trials if trial.state.is_finished()]
    complete = [trial for trial in finished if trial.state.name == "COMPLETE"]
    if not results.exists() or (complete and not summary.exists()):
        return "missing"
    if len(results.read_text().splitlines()) != 1 + len(finished):
        return "results.tsv-is-stale"
    best = min(complete, key=lambda trial: trial.value or 0.0, default=None)
    return "ok" if best is None or _ident(best) in summary.read_text() else "best-is-stale"
