"""One training script run by itself, without a study: what it printed, and how long each of its parts took."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimize.config.environment import script_environment
from optimize.executors.slots import find_slots
from optimize.script.constants import read_constants, render
from optimize.trial import Value

GPT = Path(__file__).resolve().parents[1] / "optimize" / "workloads" / "gpt"
STEP = re.compile(r"\rstep (\d+) .*?dt: (\d+)ms \| tok/sec: ([\d,]+)")
AGAIN = "Recompiling function"  # what TORCH_LOGS=recompiles says


class TrialFailed(Exception):
    """A script that ended without its summary, or had no time for it; with the end of what it printed."""


@dataclass(frozen=True)
class Ran:
    """What a script has printed, with the moment of each piece of it, in seconds since the process was started."""

    said: Sequence[tuple[float, str]]
    summary: Mapping[str, str]

    @property
    def text(self) -> str:
        return "".join(part for _, part in self.said)

    @property
    def wall_s(self) -> float:
        return self.said[-1][0]

    def moment(self, mark: str) -> float:
        """Return when the first line with this in it was printed."""
        text = ""
        for moment, part in self.said:
            text += part
            if mark in text:
                return moment
        raise TrialFailed(f"it never printed {mark!r}")

    @property
    def start_s(self) -> float:
        return self.moment("FLOP_BUDGET also pays")

    @property
    def warm_up_s(self) -> float:
        """Seconds between the last line before training and the first step; compiling, on a GPU."""
        first = STEP.search(self.text)
        assert first
        return max(0.0, self.moment("\rstep ") - self.start_s - int(first[2]) / 1000)

    @property
    def evaluation_s(self) -> float:
        """Seconds from the last step to the summary."""
        last = max(moment for moment, part in self.said if "step " in part)
        return self.wall_s - last

    @property
    def compiled_again(self) -> int:
        """Return how many graphs were compiled again after the first step."""
        return self.text.partition("\rstep ")[2].count(AGAIN)

    def tokens_per_s(self, skip: int = 0) -> float:
        """Return the mean over the steps that were shown, but for the first `skip`."""
        rates = [int(rate.replace(",", "")) for step, _, rate in STEP.findall(self.text) if int(step) >= skip]
        if not rates:
            raise TrialFailed(f"it made fewer than {skip + 1} steps")
        return len(rates) / sum(1 / rate for rate in rates)

    def number(self, key: str) -> float:
        return float(self.summary[key])


def environment(kind: str) -> dict[str, str]:
    """Return what a trial in the first slot of that kind would get, with a report of what is compiled again."""
    return {**script_environment(()), **find_slots(kind, 1)[0].env, "TORCH_LOGS": "recompiles"}


def write(folder: Path, constants: Mapping[str, Value], source: Path = GPT) -> Path:
    """Write both scripts of `source` with these constants, each into the file that has it. Raises KeyError for others."""
    folder.mkdir(parents=True)
    left = set(constants)
    for name in ("train.py", "prepare.py"):
        text = (source / name).read_text()
        known = {key: constants[key] for key in constants if key in read_constants(text, name)}
        left -= set(known)
        (folder / name).write_text(render(text, known, name))
    if left:
        raise KeyError(f"{source}: no such constants: {', '.join(sorted(left))}")
    return folder


def run(folder: Path, env: Mapping[str, str], most_s: float, script: str = "train.py") -> Ran:
    """Run the script in this folder to its end. Raises TrialFailed, after `most_s` seconds at the latest."""
    began, said = time.monotonic(), list[tuple[float, str]]()
    words = [sys.executable, "-u", script]
    with subprocess.Popen(
        words, cwd=folder, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        try:
            while (left := began + most_s - time.monotonic()) > 0:
                if select.select([process.stdout], [], [], left)[0]:
                    part = os.read(process.stdout.fileno(), 1 << 16)
                    if not part:
                        break
                    said.append((time.monotonic() - began, part.decode(errors="replace")))
            else:
                raise TrialFailed(f"{folder.name}: not at its end after {most_s:.0f} s: {_tail(said)}")
            process.wait(10)
        finally:
            process.kill()
    if process.returncode or "\n---\n" not in "".join(part for _, part in said):
        raise TrialFailed(f"{folder.name}: exit code {process.returncode}: {_tail(said)}")
    block = "".join(part for _, part in said).rpartition("\n---\n")[2]
    return Ran(said, dict(re.findall(r"(?m)^(\w+): +(.*?)\s*$", block)))


def _tail(said: Sequence[tuple[float, str]]) -> str:
    return "".join(part for _, part in said)[-1500:]
