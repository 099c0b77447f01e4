"""The sampler `auto` of commit 612ce2a, beside today's: it runs in a process of its own, on a copy of that commit's packages.

Run by itself it is that process: it reads a line of JSON for each request, and answers with points of the search space.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMIT = "612ce2a"
NAME = f"auto of {COMMIT}"
ROOT = Path(__file__).resolve().parents[1]


def is_here() -> bool:
    """Tell whether this clone has the commit; a shallow one has not."""
    return (
        subprocess.run(["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=ROOT, capture_output=True).returncode == 0
    )


@contextmanager
def registered(space: Path, constants: Mapping[str, object], workload: str = "gpt") -> Iterator[None]:
    """Add the sampler NAME to today's samplers, where this clone has it. Derived quantities are used for `gpt` only."""
    from optimize.search import samplers

    if not is_here():
        print(f"this clone lacks commit {COMMIT}: its sampler is left out. Fetch it with `git fetch --unshallow`.")
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", COMMIT, "optimize", "search_spaces", "storage"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        known = dict(samplers.SAMPLERS)

        def make(lattice: Any, chooser: Any, seed: int, stream: int) -> Released:
            return Released(Path(folder), space, constants, workload, seed)

        samplers.SAMPLERS = {**known, NAME: make}
        try:
            yield
        finally:
            samplers.SAMPLERS = known


class Released:
    """A learner that asks the process."""

    def __init__(self, folder: Path, space: Path, constants: Mapping[str, object], workload: str, seed: int) -> None:
        env = {**os.environ, "PYTHONPATH": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )
        weakref.finalize(self, _end, self._process)
        self._ask(space=str(space), constants=dict(constants), workload=workload, seed=seed)

    def draw(self) -> tuple[int, ...]:
        return tuple(self._ask(draw=True))

    def running(self, number: int, point: tuple[int, ...]) -> None:
        self._ask(started=number, point=point)

    def learned(self, number: int, point: tuple[int, ...], value: float | None) -> None:
        self._ask(finished=number, state="PRUNED" if value is None else "COMPLETE", value=value)

    def forgotten(self, number: int) -> None:
        self._ask(finished=number, state="FAIL", value=None)

    def _ask(self, **request: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _end(process: subprocess.Popen[str]) -> None:
    with process:  # closes its pipes, and waits for its end
        process.kill()


def serve() -> None:
    """Answer requests with the packages of COMMIT."""
    from optimize.search.sampling import open_sampler  # type: ignore[import-not-found]

    from optimize.script.derived import same_run
    from optimize.script.workload import load_workload  # type: ignore[attr-defined]
    from search_spaces import load_space

    sampler: Any = None
    for line in sys.stdin:
        request, answer = json.loads(line), None
        if "space" in request:
            space = load_space(request["space"])
            derived = load_workload("gpt").derived if request["workload"] == "gpt" else ()
            constants = {n: tuple(v) if isinstance(v, list) else v for n, v in request["constants"].items()}
            identity = same_run(derived, constants)
            sampler = open_sampler("auto", space, constants, seed=request["seed"], identity=identity)
        elif "draw" in request:
            answer = sampler._lattice.point(sampler.propose())
        elif "started" in request:
            sampler.started(request["started"], sampler._lattice.params(tuple(request["point"])))
        else:
            sampler.finished(request["finished"], request["state"], request["value"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
