"""Recorded trials with their learning curves: taken from studies, kept as a small table, and played back as a study.

A table is a gzipped CSV: study, sampler, number, kind, val_bpb, seconds (of training), the curve as `fraction:loss` pairs, then
a column a parameter, in JSON. `pruning.py` says how to record one and what it is for.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.errors import SpaceExhausted
from optimize.executors.simulated import SimulatedExecutor
from optimize.search import samplers
from optimize.search.candidates import Chooser, Lattice, Point
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import Job, Outcome, Suggestion, TrialStatus
from storage import StudyPaths, TrialRecord, open_database

ABOUT = ("study", "sampler", "number", "kind", "val_bpb", "seconds", "curve")
CURVES = Path(__file__).parent / "data" / "cpu_curves.csv.gz"
WORST = 0.1  # the share of its trials of which a wrong prior is made
GRID = 40  # points kept of a curve: the first at or after each fortieth of the budget


@dataclass(frozen=True)
class Recorded:
    """One trial that ran to its end."""

    study: str
    sampler: str
    number: int
    kind: str
    value: float
    seconds: float
    curve: tuple[tuple[float, float], ...]  # (fraction of the budget, smoothed train loss)
    params: dict[str, Any]

    @property
    def key(self) -> str:
        return json.dumps(self.params, sort_keys=True)


# --- the table --------------------------------------------------------------------------------------------------------


def record(runs: Path, studies: Sequence[str], table: Path) -> None:
    """Write the complete trials of these studies, each configuration once."""
    found: dict[str, Recorded] = {}
    with closing(open_database(runs / "optuna.db")) as database:
        for name in studies:
            stored = find_study(database, name, runs)
            settings = json.loads(StudyPaths(runs, name).settings_json.read_text())
            for each in stored.records():
                if each.value is not None and (trial := _recorded(stored, each, settings["sampler"])):
                    found.setdefault(trial.key, trial)
    names = list(next(iter(found.values())).params)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ABOUT, *names])
    for t in found.values():
        curve = " ".join(f"{fraction:.4f}:{loss:.4f}" for fraction, loss in t.curve)
        about = [t.study, t.sampler, t.number, t.kind, t.value, t.seconds, curve]
        writer.writerow([*about, *(json.dumps(t.params[name]) for name in names)])
    table.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    print(f"{table}: {len(found)} trials, {table.stat().st_size / 1000:.0f} kB")


def _recorded(stored: StoredStudy, each: TrialRecord, sampler: str) -> Recorded | None:
    lines = stored.texts(each).get("curve.csv", "").splitlines()[1:]
    points = [(float(fraction), float(loss)) for fraction, loss in (line.split(",") for line in lines)]
    kept: dict[int, tuple[float, float]] = {}
    for fraction, loss in points:
        kept.setdefault(int(fraction * GRID), (fraction, loss))
    params = {name: ast.literal_eval(v) if str(v)[:1] in "([" else v for name, v in each.params.items()}
    seconds = float(each.summary.get("training_seconds") or each.seconds or 0.0)
    value, curve = each.value or 0.0, tuple(kept.values())
    return Recorded(stored.name, sampler, each.number, each.kind, value, seconds, curve, params) if curve else None


def wrong_prior() -> list[tuple[float, dict[str, Any]]]:
    """Return the worst tenth of the recorded study `random`, at 3e12 FLOPs, as if it were the best."""
    worst = sorted((trial for trial in read(CURVES) if trial.study == "random"), key=lambda trial: -trial.value)
    return [(-trial.value, trial.params) for trial in worst[: int(WORST * len(worst))]]


def read(table: Path) -> list[Recorded]:
    with gzip.open(table, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    trials = []
    for study, sampler, number, kind, value, seconds, curve, *params in rows:
        points = tuple((float(f), float(loss)) for f, loss in (pair.split(":") for pair in curve.split()))
        values = {name: _literal(text) for name, text in zip(header[len(ABOUT) :], params, strict=True)}
        trials.append(Recorded(study, sampler, int(number), kind, float(value), float(seconds), points, values))
    return trials


def _literal(text: str) -> Any:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


# --- a study of them --------------------------------------------------------------------------------------------------


def replay(trials: Sequence[Recorded], folder: Path, seed: int, slots: int, pruner: str) -> list[TrialRecord]:
    """The records of a study whose sampler proposes these trials in this order, the first one as the baseline.

    Everything but the training is the product's own: study, database, sampler's law, loop, pruner.
    """
    by_key = {trial.key: trial for trial in trials}

    def run(job: Job) -> Outcome:
        trial = by_key[json.dumps(dict(job.params), sort_keys=True)]
        summary = {"val_bpb": trial.value}
        return Outcome(TrialStatus.COMPLETE, trial.seconds, summary=summary, curve=trial.curve)

    _write_workload(trials, folder)
    flags = {"workload": str(folder), "search_space": str(folder / "space.toml"), "runs": folder / "runs"}
    with _sampler_that_proposes(trials[1:]) as sampler:
        settings = load_settings(
            str(folder / "profile.toml"), "replay", {"study": "s", "seed": seed, "pruner": pruner, **flags}, {}
        )
        plan, paths = make_plan(replace(settings, sampler=sampler)), StudyPaths(folder / "runs", "s")
        paths.create()

        def prepare(suggestion: Suggestion) -> Job:
            return plan.workload.prepare(suggestion, {}, {}, settings.limits)

        with (
            closing(open_database(paths.database)) as database,
            open_study(database, plan, "recorded", print) as study,
            StopSignals() as stop_signals,
        ):
            Loop(study, SimulatedExecutor(run, slots), prepare, Budget(), (), stop_signals).run()
            return list(study.records())


def _write_workload(trials: Sequence[Recorded], folder: Path) -> None:
    """A script and a space of just these parameters and values: the shipped ones may change, the recording stays."""
    choices = {name: [] for name in trials[0].params}
    for name, values in choices.items():
        values += {json.dumps(trial.params[name]): trial.params[name] for trial in trials}.values()
        values.sort(key=lambda value: (isinstance(value, str), value))
    script = "".join(f"{name} = {value!r}\n" for name, value in trials[0].params.items())
    (folder / "train.py").write_text(script)
    lines = "".join(f"{name} = {json.dumps(values)}\n" for name, values in choices.items() if len(values) > 1)
    (folder / "space.toml").write_text(f"[parameters]\n{lines}")
    (folder / "profile.toml").write_text('[slots]\ndevice = "cpu"\n')


@contextmanager
def _sampler_that_proposes(trials: Sequence[Recorded]) -> Iterator[str]:
    """Its name among the samplers on offer, for as long as it is."""

    class InOrder(samplers._NonLearner):
        def __init__(self, lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> None:
            super().__init__(lattice, chooser, seed, stream)
            self._left = iter(trials)

        def draw(self) -> Point:
            trial = next(self._left, None)
            if trial is None:
                raise SpaceExhausted("every recorded trial has been played back")
            point = self._lattice.point(trial.params)
            assert point is not None, trial
            return point

    offered: dict[str, Any] = samplers.SAMPLERS  # type: ignore[assignment]
    offered["recorded"] = InOrder
    try:
        yield "recorded"
    finally:
        del offered["recorded"]
