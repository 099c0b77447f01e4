"""Trainings of the workload `gpt` under budgets of work, each done once and kept with its learning curve.

Under such a budget a configuration has one value and one curve on a machine. They are kept in data/trainings.jsonl.gz: a line
that says of which scripts, constants, data, torch and processor they are, then a line a training. Where those are others, as on
another processor, nothing is trained: the file is the judge. `pack` writes what was trained since into it.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from search_cpu import fingerprint_of, make_cpu_plan, train_forked  # isort: skip  (sets threads before numpy)

from optimize.runner.diagnosis import parse_summary
from optimize.session.session import prepare_data
from optimize.trial import Value

FILE = Path(__file__).parent / "data" / "trainings.jsonl.gz"
KEPT_AT = (10, 15, 20, 30, 40, 50, 65, 85)  # percents of a curve, each the first line at or after it
STEP = re.compile(r"\(([\d.]+)%\).*?loss: ([\d.]+)")


@dataclass(frozen=True)
class Trained:
    """A training to its end; `value` is None if it failed."""

    value: float | None
    curve: tuple[tuple[float, float], ...]  # fraction of the budget, smoothed train loss


class NotInTheFile(Exception):
    """A configuration that was never trained, where nothing may be trained."""


class Trainings:
    """What has been trained under one budget, and the training of what is missing."""

    def __init__(self, flops: int, new: Path) -> None:
        plan = make_cpu_plan()
        self.plan = replace(
            plan, settings=replace(plan.settings, constants={**plan.settings.constants, "FLOP_BUDGET": flops})
        )
        self._flops, self._file = flops, new
        self._fingerprint = fingerprint_of(self.plan, prepare_data(self.plan, lambda line: None))
        rows = [*packed(), *_lines(new)]
        of = {row["fingerprint"] for row in rows if row["flops"] == flops}
        self.may_train = of <= {self._fingerprint}
        self._known = {row["params"]: _trained(row) for row in rows if row["flops"] == flops}
        self.new = 0

    def __call__(self, params: Mapping[str, Value]) -> Trained:
        """Return the training of these parameters. Raises NotInTheFile."""
        key = json.dumps(dict(params), sort_keys=True)
        if key not in self._known:
            if not self.may_train:
                raise NotInTheFile(key)
            self._known[key] = self._train(params)
            self.new += 1
            self._keep(key, self._known[key])
        return self._known[key]

    def __len__(self) -> int:
        return len(self._known)

    def _train(self, params: Mapping[str, Value]) -> Trained:
        ended_well, log = train_forked(self.plan, dict(params))
        value = parse_summary(log).get(self.plan.workload.metric.name)
        points = [(float(percent) / 100, float(loss)) for percent, loss in STEP.findall(log)]
        kept = [next((point for point in points if 100 * point[0] >= percent), None) for percent in KEPT_AT]
        curve = tuple(dict.fromkeys(point for point in kept if point))
        return Trained(value if ended_well and isinstance(value, float) else None, curve)

    def _keep(self, key: str, found: Trained) -> None:
        row = {"fingerprint": self._fingerprint, "flops": self._flops, "params": key}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({**row, "value": found.value, "curve": found.curve}) + "\n")


def _trained(row: Mapping[str, object]) -> Trained:
    value, curve = row["value"], row["curve"]
    assert isinstance(curve, list)
    return Trained(value if isinstance(value, float) else None, tuple((point[0], point[1]) for point in curve))


def _lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def packed() -> list[dict[str, object]]:
    """Return the rows of the file. A row is the budget, then parameters in the order of the header, value and curve."""
    if not FILE.exists():
        return []
    with gzip.open(FILE, "rt") as file:
        head, *rows = map(json.loads, file)
    return [
        {
            "fingerprint": head["fingerprints"][str(flops)],
            "flops": flops,
            "params": json.dumps(dict(zip(head["names"], params, strict=True)), sort_keys=True),
            "value": value,
            "curve": curve,
        }
        for flops, params, value, curve in rows
    ]


def pack(new: Path) -> None:
    """Write what was trained since into the file."""
    rows = {(row["flops"], row["params"]): row for row in [*packed(), *_lines(new)]}
    names = sorted(json.loads(next(iter(rows))[1]))
    head = {"names": names, "fingerprints": {str(row["flops"]): row["fingerprint"] for row in rows.values()}}
    lines = [json.dumps(head)]
    for (flops, key), row in sorted(rows.items(), key=lambda item: (item[0][0], item[0][1])):  # type: ignore[index]
        params = json.loads(str(key))
        lines.append(json.dumps([flops, [params[name] for name in names], row["value"], row["curve"]]))
    FILE.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    print(f"{FILE}: {len(rows)} trainings, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
