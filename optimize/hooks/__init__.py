"""Finished trials where people already look, in TensorBoard or MLflow: one small file for each of them.

A hook knows how to write one trial, whole, and whether it is there. When that happens, and that it never ends or delays a
study, is settled here. The database has it all: whatever a hook has missed is written by the next call that has it on.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

from optimize.errors import OptimizeError
from optimize.phrases import meant
from optimize.trial import Metric
from optimize.watch import Watch
from storage import Artifacts, StorageError, StudyPaths, TrialRecord, one_line

HOOKS = ("tensorboard", "mlflow")  # each is the name of its package and of its extra as well
PAUSE_S = 0.5  # of a tick of the loop, for trials that wait
LAST_S = 60.0  # when the study ends

Curve = Sequence[tuple[float, float]]
"""Fraction of the budget, train loss."""


class Hook(Protocol):
    """Somewhere to write trials to."""

    where: str  # in words, and how to look at it

    def has(self, record: TrialRecord) -> bool:
        """Whether this trial is there, whole."""
        ...

    def write(self, record: TrialRecord, curve: Curve) -> None:
        """Writes a finished trial; again: writes the same."""
        ...


def unfit(names: Sequence[str]) -> list[str]:
    """A line for each name that cannot be used here."""
    lines = []
    for name in names:
        if name not in HOOKS:
            lines.append(f"--log: {name!r:.60} is not on offer. Use {' or '.join(HOOKS)}.{meant(name, HOOKS)}")
        elif find_spec(name) is None:
            install = f".venv/bin/pip install -c constraints.txt -e '.[{name}]'"
            lines.append(f"--log {name}: it is not installed here. Run `{install}`, or leave it out.")
    return lines


def open_hook(name: str, paths: StudyPaths, metric: Metric, tracking: str | None) -> Hook:
    """The hook of that name. `tracking` is MLflow's server; None: a file beside ours. Raises OptimizeError."""
    try:
        if name == "tensorboard":
            from optimize.hooks.tensorboard import TensorBoard

            return TensorBoard(paths.tensorboard, metric)
        from optimize.hooks.mlflow import Mlflow

        return Mlflow(tracking, paths, metric)
    except OptimizeError:
        raise
    except Exception as error:  # of a package of somebody else's, or a server that is not there
        raise OptimizeError(f"--log {name}: {reason(error)}. Mend that, or leave it out.") from None


class TrialLog(Watch):
    """One hook while a study runs: finished trials wait here, and are written in the pauses of the loop."""

    def __init__(self, name: str, hook: Hook, artifacts: Artifacts, say: Callable[[str], None]) -> None:
        self._name, self._hook, self._artifacts, self._say = name, hook, artifacts, say
        self._waiting: deque[TrialRecord] = deque()
        self._broken = False

    def begin(self, earlier: Sequence[TrialRecord]) -> None:
        """Trials that ended before this call, and are not there yet, are written as well."""
        self._say(f"{self._name}: {self._hook.where}")
        self._waiting.extend(earlier)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._waiting.append(record)

    def on_tick(self) -> None:
        self._write(PAUSE_S)

    def close(self) -> None:
        """Write what waits, within reason."""
        self._write(LAST_S)
        if self._waiting and not self._broken:
            self._say(f"{self._name}: {len(self._waiting)} trials are not there yet; the next call with it writes them")

    def _write(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._waiting and not self._broken and time.monotonic() < until:
            record = self._waiting.popleft()
            try:
                if not self._hook.has(record):
                    self._hook.write(record, self._curve(record))
            except Exception as error:  # whatever it is: a study does not end for a view
                self._broken = True
                later = "the study goes on without it, and the next call with it writes what is missing"
                self._say(f"{self._name}: trial {record.number}: {reason(error)}; {later}")

    def _curve(self, record: TrialRecord) -> Curve:
        """The whole curve, else the points in the database."""
        try:
            lines = self._artifacts.read(record.trial_id, "curve.csv").splitlines()[1:]
            points = [line.split(",") for line in lines]
            return [(float(fraction), float(loss)) for fraction, loss in points]
        except (StorageError, ValueError):
            return [(percent / 100, loss) for percent, loss in record.curve.items()]


def reason(error: Exception) -> str:
    """An error of somebody else's package as a few words, without the password that a URL may hold."""
    text = re.sub(r"//[^/@\s]+@", "//***@", str(error)) or type(error).__name__
    return one_line(text, 200).rstrip(".")
