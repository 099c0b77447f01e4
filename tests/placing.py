"""What the tests of parameters that are no constants share: a workload in memory, and a trial's job."""

from __future__ import annotations

from pathlib import Path

from optimize.script.workload import Workload
from optimize.trial import Job, Limits, Metric, Suggestion, Value
from search_spaces import parse_space

COMMAND = ("{python}", "train.py")


def workload(space: str, command: tuple[str, ...] = COMMAND, **files: str) -> Workload:
    """A workload with the parameters of `space`; `__` in a file's name is a slash, the last `_` its dot."""
    named = {"/".join(name.split("__")).replace("_", ".", 1): text for name, text in files.items()}
    script = Workload("w", Path(), "train.py", named, command, (), Metric())
    return script.with_space(parse_space(f"[parameters]\n{space}\n", "space.toml"))


def job(of: Workload, **params: Value) -> Job:
    return of.prepare(Suggestion(3, params), {}, {"HOME": "/h"}, Limits())
