"""Preparing a workload's data: rendered scripts in a folder that goes again, one command, and the fingerprint it reports.

It runs the same on the driver and on a cluster's nodes; what the data is and where it lies is the command's affair.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from optimize.errors import WorkloadError
from optimize.jobs.summary import parse_summary


@dataclass(frozen=True, slots=True)
class Preparation:
    """What it takes; like a job it travels as text."""

    files: Mapping[str, str]  # path in the folder -> text
    command: tuple[str, ...]  # argv; "{python}" is the Python of the machine that runs it


def run_preparation(preparation: Preparation, env: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Run the command, which does nothing when all is there; returns its data fingerprint ("" if it names none).

    Raises WorkloadError when the command fails.
    """
    argv = [sys.executable if word == "{python}" else word for word in preparation.command]
    with tempfile.TemporaryDirectory(prefix="optimize-prepare-") as folder:
        write_files(Path(folder), preparation.files)
        summary = parse_summary(_run_aloud(argv, Path(folder), env, say))
    if summary:
        shown = (f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in summary.items())
        say(f"data: {', '.join(shown)}")
    return str(summary.get("data_fingerprint", ""))


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def _run_aloud(argv: list[str], folder: Path, env: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Run a command, pass its lines on up to the summary, and return all of them; progress bars go straight to stderr."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise WorkloadError(
            f"{argv[0]}: cannot be started: {error.strerror}. Check `prepare` in workload.toml."
        ) from None
    lines, shown = [], True
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                shown = shown and line != "---\n"
                if shown:
                    say(line.rstrip("\n"))
        except BaseException:  # a Ctrl-C, a SIGTERM: it does not go on without us
            process.terminate()
            raise
    if process.returncode:
        raise WorkloadError(
            f"{' '.join(argv[1:])}: data preparation ended with exit code {process.returncode}. See its lines above."
        )
    return "".join(lines)
