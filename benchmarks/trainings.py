"""Trainings under budgets of work, each done once and kept with its learning curve.

Under such a budget a configuration has one value and one curve on a machine. What was trained on one processor for one budget is a
recording, with the seeds whose campaigns it holds. All are kept in data/trainings.jsonl.gz: a line that says of which script,
budget, processor and fingerprint each recording is, then a line a training. Only the recording with this machine's fingerprint can
grow; the others are judges as they are. `python benchmarks/trainings.py NEW` writes what was trained since into the file.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from real_tasks import Task, open_task  # isort: skip  (sets threads before numpy)

from optimize.executors.slots import cpu_name
from optimize.trial import Value

FILE = Path(__file__).parent / "data" / "trainings.jsonl.gz"
KEPT_AT = (10, 15, 20, 30, 40, 50, 65, 85)  # percents of a curve, each the first line at or after it


@dataclass(frozen=True)
class Trained:
    """A training to its end; `value` is None if it failed."""

    value: float | None
    curve: tuple[tuple[float, float], ...]  # share of the budget, train loss as it was printed


@dataclass(frozen=True)
class Key:
    """Of which script, budget and machine a recording is."""

    task: str
    budget: int
    processor: str
    fingerprint: str


@dataclass
class Recording:
    """The seeds whose campaigns are in it, and the trainings by their parameters in JSON."""

    seeds: set[int] = field(default_factory=set)
    trained: dict[str, Trained] = field(default_factory=dict)


class NotInTheFile(Exception):
    """A configuration that was never trained, where nothing may be trained."""


class Trainings:
    """A recording, and the training of what it lacks where it is of this machine."""

    def __init__(self, task: Task, key: Key, recording: Recording, new: Path, *, may_train: bool) -> None:
        self.task, self.plan = task, task.plan
        self._key, self._recording, self._file = key, recording, new
        self.may_train = may_train and key.fingerprint == task.fingerprint
        self.new = 0

    def __call__(self, params: Mapping[str, Value]) -> Trained:
        """Return the training of these parameters. Raises NotInTheFile, and ValueError if trainings do not repeat here."""
        known, text = self._recording.trained, json.dumps(dict(params), sort_keys=True)
        if text not in known:
            if not self.may_train:
                raise NotInTheFile("it asks for what was never trained; give --seeds to train it on this machine")
            if known and not self.new:
                self._check(*next(iter(known.items())))
            known[text] = self._train(params)
            self.new += 1
            self._keep({"params": text, "value": known[text].value, "curve": known[text].curve})
        return known[text]

    @property
    def seeds(self) -> list[int]:
        """The seeds whose campaigns it holds."""
        return sorted(self._recording.seeds)

    def keep_seed(self, seed: int) -> None:
        """Note that the recording holds the campaigns of this seed."""
        if self.may_train and seed not in self._recording.seeds:
            self._recording.seeds.add(seed)
            self._keep({"seed": seed})

    def _check(self, text: str, known: Trained) -> None:
        """Train a known configuration again: processors of one name may differ."""
        space = self.plan.space
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
        again = self._train({name: params[name] for name in space.names})
        if again != known:
            raise ValueError(f"{self._key}: {text} had {known.value} and has {again.value} here: not the same machine")

    def _train(self, params: Mapping[str, Value]) -> Trained:
        value, points = self.task.train(params)
        kept = [next((point for point in points if 100 * point[0] >= percent), None) for percent in KEPT_AT]
        return Trained(value, tuple(dict.fromkeys(point for point in kept if point)))

    def _keep(self, found: Mapping[str, object]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({**vars(self._key), **found}) + "\n")


def open_trainings(
    name: str, budgets: tuple[int, ...], new: Path, nanogpt: Path | None, *, may_train: bool
) -> list[dict[int, Trainings]]:
    """Return the recordings of these budgets by budget, those of each processor together, and this machine's."""
    tasks = {budget: open_task(name, budget, nanogpt) for budget in budgets}
    known = recordings(new)
    for budget, task in tasks.items():
        if task.fingerprint:
            known.setdefault(Key(name, budget, cpu_name(), task.fingerprint), Recording())
    found: dict[str, dict[int, Trainings]] = {}
    for key, recording in known.items():
        if key.task == name and key.budget in tasks:
            task = tasks[key.budget]
            machine = "this one" if key.fingerprint == task.fingerprint else key.processor
            found.setdefault(machine, {})[key.budget] = Trainings(task, key, recording, new, may_train=may_train)
    return list(found.values())


def recordings(new: Path | None = None) -> dict[Key, Recording]:
    """Return the recordings of the file, and of the trainings in `new`."""
    found: dict[Key, Recording] = {}
    if FILE.exists():
        with gzip.open(FILE, "rt") as file:
            heads, *rows = map(json.loads, file)
        keys = [Key(*head["of"]) for head in heads]
        found = {key: Recording(set(head["seeds"])) for key, head in zip(keys, heads, strict=True)}
        for index, params, value, curve in rows:
            text = json.dumps(dict(zip(heads[index]["names"], params, strict=True)), sort_keys=True)
            _add(found[keys[index]], text, value, curve)
    for row in map(json.loads, new.read_text().splitlines()) if new and new.exists() else ():
        recording = found.setdefault(Key(*(row[name] for name in Key.__annotations__)), Recording())
        if "seed" in row:
            recording.seeds.add(row["seed"])
        else:
            _add(recording, row["params"], row["value"], row["curve"])
    return found


def _add(recording: Recording, text: str, value: float | None, curve: list[list[float]]) -> None:
    found = Trained(value, tuple((point[0], point[1]) for point in curve))
    if recording.trained.setdefault(text, found).value != value:
        raise ValueError(
            f"{text} has two values: {recording.trained[text].value} and {value}. One is of another machine."
        )


def pack(new: Path) -> None:
    """Write what was trained since into the file. Raises ValueError, and OSError if there is no such file."""
    new.stat()
    known = {key: recording for key, recording in recordings(new).items() if recording.trained}
    heads, lines = [], []
    for index, (key, recording) in enumerate(known.items()):
        names = sorted(json.loads(next(iter(recording.trained))))
        heads.append({"of": [*vars(key).values()], "seeds": sorted(recording.seeds), "names": names})
        for text, trained in sorted(recording.trained.items()):
            params = json.loads(text)
            if sorted(params) != names:
                raise ValueError(f"{key}: {sorted(params)} in one training, {names} in another")
            lines.append(json.dumps([index, [params[name] for name in names], trained.value, trained.curve]))
    FILE.write_bytes(gzip.compress("\n".join([json.dumps(heads), *lines]).encode(), mtime=0))
    print(f"{FILE}: {len(known)} recordings, {len(lines)} trainings, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
