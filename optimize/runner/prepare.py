"""Prepares a workload's data: runs one command in a temporary folder with the rendered scripts, and fingerprints the data.

It works the same on the driver and on a cluster's nodes. The command decides what the data is and where it lies.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optimize.errors import WorkloadError
from optimize.runner.diagnosis import parse_summary
from optimize.runner.workdir import fingerprint, link_data, missing, with_python, write_files


@dataclass(frozen=True, slots=True)
class Preparation:
    """What preparing the data takes. Like a job it travels as text."""

    files: Mapping[str, str]  # path in the folder -> text
    command: tuple[str, ...]  # argv, with PYTHON as in a job; empty: the data is there
    links: Mapping[str, str] = field(default_factory=dict)  # path in the folder -> data, as in a job


def run_preparation(preparation: Preparation, env: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Run the command, which does nothing when all is there. Return the data's fingerprint, "" if there is none.

    Raises WorkloadError if the command fails, or a folder to link to does not exist.
    """
    if problem := missing(preparation.links):
        raise WorkloadError(f"{problem}.")
    named = str(_run(preparation, env, say).get("data_fingerprint", "")) if preparation.command else ""
    return "-".join(part for part in (named, fingerprint(preparation.links) if preparation.links else "") if part)


def _run(preparation: Preparation, env: Mapping[str, str], say: Callable[[str], None]) -> dict[str, float | str]:
    """Run the command. Return its summary."""
    argv = with_python(preparation.command)
    folder = Path(tempfile.mkdtemp(prefix="optimize-prepare-"))
    try:
        write_files(folder, preparation.files)
        link_data(folder, preparation.links)
        summary = parse_summary(_run_aloud(argv, folder, env, say))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # it follows no link
    if summary:
        shown = (f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in summary.items())
        say(f"data: {', '.join(shown)}")
    return summary


def _run_aloud(argv: list[str], folder: Path, env: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Run a command and pass its lines on up to the summary. Return all of them; progress bars go straight to stderr."""
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
        except BaseException:  # a Ctrl-C, a SIGTERM: the command must not go on alone
            process.terminate()
            raise
    if process.returncode:
        raise WorkloadError(
            f"{' '.join(argv[1:])}: data preparation ended with exit code {process.returncode}. See its lines above. "
            f"`prepare` in workload.toml says what is started, here {argv[0]}."
        )
    return "".join(lines)
