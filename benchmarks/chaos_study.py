"""The study that `chaos.py` and `chaos_world.py` strike: its folder, its ledger, and the driver as a user starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from chaos_judge import Figures, Line

ROOT = Path(__file__).resolve().parent.parent
WORKLOAD = Path(__file__).resolve().parent / "chaos_workload"
RETRY_S, TMPFS_MB = 60.0, 64
Process = subprocess.Popen[bytes]


class Stage:
    """The temporary folder of one mode: our `runs`, and beside it the ledger and what was said."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.runs, self.said, self._ledger = folder / "runs", folder / "said.log", folder / "ledger"
        self.runs.mkdir()
        self._ledger.touch()

    begin: Sequence[str] = ("-m", "optimize")  # how Python is told to run the command

    def start(self, *words: str, **env: str) -> Process:
        """`optimize ...` as a user starts it; its output goes to a file."""
        env |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.folder), "CHAOS_LEDGER": str(self._ledger)}
        argv = [sys.executable, *self.begin, *words, "--runs", str(self.runs)]
        with self.said.open("ab") as said:
            return subprocess.Popen(
                argv, cwd=self.folder, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip

    def start_driver(self, *more: str, **env: str) -> Process:
        of = {"profile": WORKLOAD / "profile.toml", "workload": WORKLOAD, "space": WORKLOAD / "space.toml"}
        flags = of | {"study": "s", "trials": self.trials}
        return self.start(
            "run", "--trust", *(word for k, v in flags.items() for word in (f"--{k}", str(v))), *more, **env
        )

    def lines(self, since: float = 0.0) -> list[Line]:
        written = self._ledger.read_text().rpartition("\n")[0]  # a script may be at its last line
        rows = [row.split() for row in written.splitlines()]
        lines = [Line(word, ident, float(value), float(at)) for word, ident, value, at in rows]
        return [line for line in lines if line.at >= since]

    def processes(self) -> list[int]:
        """Drivers, guardians, scripts and their children: all that have this folder in their environment."""
        mark = str(self.folder).encode()
        if sys.platform != "linux":
            listed = subprocess.run(["ps", "-A", "-E", "-ww", "-o", "pid=,command="], capture_output=True).stdout
            return [int(row.split()[0]) for row in listed.splitlines() if mark in row]
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def end_all(self, found: Figures) -> None:
        """Wait for the last process to go; those that do not are orphans, and killed."""
        deadline = time.monotonic() + 10.0
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            found.fault("orphans", f"{pid} {_command(pid)}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> str:
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()


def wait_for(process: Process, found: Figures, retry_s: float = RETRY_S) -> None:
    """Until it has ended; one that hangs is killed and counted."""
    started = time.monotonic()
    try:
        process.wait(retry_s)
        found["slowest_ms"] = max(found["slowest_ms"], round(1000 * (time.monotonic() - started)))
    except subprocess.TimeoutExpired:
        found.fault("bad_exits", f"process {process.pid} does not end: {_command(process.pid)}")
        kill(process)


def kill(process: Process) -> None:
    process.kill()
    process.wait()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fill(filler: Path, spare: int) -> None:
    """Write until nothing more fits, then leave `spare` bytes."""
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        file.truncate(max(file.tell() - spare, 0))


@contextlib.contextmanager
def small_disk(stage: Stage, found: Figures, at: Path) -> Iterator[None]:
    """A tmpfs at `at`; it goes when all processes of the stage have ended."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "chaos", at], check=True)
    try:
        yield
    finally:
        stage.end_all(found)
        if subprocess.run(["umount", at], capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", at])
