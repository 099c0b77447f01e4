"""A study of `gpu.py` as a user runs it: files for one GPU or some cores, `optimize` in a process, and what it leaves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from optimize.trial import Value
from storage import StorageError, TrialRecord, open_database, read_records
from storage.toml import toml_text

ROOT = Path(__file__).resolve().parents[1]
TRIPLE = ("DEPTH", "DEVICE_BATCH_SIZE", "TOTAL_BATCH_SIZE")
Driver = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Stage:
    """A folder with `profile.toml`, `space.toml` and the runs. All its processes have the folder `mark` in their environment."""

    folder: Path
    mark: Path
    kind: str  # "cuda" or "cpu"

    def start(self, *words: str) -> Driver:
        """Start `optimize ...` on this study; what it says goes to a file."""
        argv = [
            sys.executable,
            "-m",
            "optimize",
            *words,
            "--profile",
            str(self.folder / "profile.toml"),
            "--study",
            "check",
        ]
        argv += ["--runs", str(self.folder / "runs"), *(["--gpus", "0"] if self.kind == "cuda" else [])]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.mark)}
        with (self.folder / "said.log").open("ab") as said:
            return subprocess.Popen(
                argv, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )

    def records(self, study: str = "check") -> list[TrialRecord]:
        """Return the trials so far, none where there is no database yet."""
        path = self.folder / "runs" / "optuna.db"
        if not path.exists():
            return []
        with (
            contextlib.suppress(StorageError),
            closing(open_database(path, create=False, check=False, read_only=True)) as it,
        ):
            number = it.find_study(study)
            return [] if number is None else read_records(it, number)
        return []

    def told(self) -> str:
        """Return the end of what the drivers said."""
        return (self.folder / "said.log").read_text(errors="replace")[-1500:]


def wait(driver: Driver, seconds: float) -> int:
    """Return the driver's exit code. Raises RuntimeError if it has not ended in time; it is then killed."""
    try:
        return driver.wait(max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
        raise RuntimeError(f"no end after {seconds:.0f} s: give more with --minutes") from None


def wait_until(condition: object, seconds: float) -> float:
    """Return how many seconds it took until `condition()` was true. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():  # type: ignore[operator]
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.3)
    return time.monotonic() - began


def write_profile(
    folder: Path, kind: str, constants: Mapping[str, Value], slots: Mapping[str, Value], total_s: int
) -> None:
    """Write `profile.toml`: no pruning, no trial is cut."""
    tables = {
        "slots": {"device": kind, **slots},
        "constants": constants,
        "limits": {"total_s": total_s, "startup_s": total_s},
    }
    text = toml_text({"workload": "gpt", "search_space": "./space.toml", "pruning": False, **tables})
    (folder / "profile.toml").write_text(text)


def write_space(
    folder: Path,
    parameters: Mapping[str, Sequence[Value]],
    starts: Sequence[Mapping[str, Value]],
    triples: Sequence[tuple[int, ...]] = (),
) -> None:
    """Write `space.toml`; of DEPTH and the batch sizes only these `triples` are ever trained."""
    text = toml_text({"parameters": parameters})
    if triples:
        shapes = " or ".join(
            "(" + " and ".join(f"{name} == {value}" for name, value in zip(TRIPLE, triple, strict=True)) + ")"
            for triple in triples
        )
        text += f'\n[[rules]]\nrule = "{shapes}"\nwhy = "each other shape would be compiled anew"\n'
    for start in starts:
        pairs = ", ".join(f"{name} = {value!r}" for name, value in start.items())
        text += f'\n[[start]]\nsource = "the benchmark"\nparams = {{ {pairs} }}\n'
    (folder / "space.toml").write_text(text)
