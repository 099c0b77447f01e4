"""Real Ray clusters of several raylets on this machine: each with a HOME, a temp folder and a working folder of its own.

Loopback addresses, a token, no dashboard, no usage statistics; whatever was started is ended by its process ids.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.zoo import children_of, command_of, eventually

SYSTEM = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # its 15 starves on a busy machine
}


class LocalCluster:
    """`address` once there is a head; `environment` is what a driver needs to find it."""

    def __init__(self, place: Path) -> None:
        self.place, self.address, self.nodes = place, "", 0
        # Ray's sockets need a short path
        self._ray = Path(tempfile.mkdtemp(prefix="ray-"))
        self._token = secrets.token_hex(32)
        self._agents: list[int] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"RAY_ADDRESS": self.address, "RAY_AUTH_TOKEN": self._token, "RAY_TMPDIR": str(self._ray), **SYSTEM}

    def add(self, cpus: int = 1, gpus: int = 0, **more: str) -> Path:
        """Start another raylet, the first one with the head; returns its folder: home/ temp/ cwd/."""
        self.nodes += 1
        folder = self.place / f"node-{self.nodes}"
        home, temp, cwd = (folder / name for name in ("home", "temp", "cwd"))
        for path in (home, temp, cwd):
            path.mkdir(parents=True)
        env = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(home), "TMPDIR": str(temp)}
        first = ["--head", "--port=0", "--include-dashboard=false", f"--temp-dir={self._ray / 'head'}"]
        argv = [
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"),
            *(
                first
                if not self.address
                else [f"--address={self.address}", f"--temp-dir={self._ray / str(self.nodes)}"]
            ),
            *("--node-name", folder.name, f"--node-ip-address=127.0.0.{self.nodes + 1}"),
            *(f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=80000000"),
        ]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        env = {**inherited, **self.environment, **env, **more}
        del env["RAY_ADDRESS"]
        started = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
        assert started.returncode == 0, started.stdout + started.stderr
        if not self.address:
            self.address = re.findall(r"--address='([^']+)'", started.stdout)[0]
        self._agents += children_of(self.raylet(folder))
        return folder

    def processes(self) -> list[int]:
        """Of Ray itself, by what they were started with; its agents have renamed themselves."""
        mark = f"RAY_TMPDIR={self._ray}".encode()
        found = [pid for pid in self._agents if command_of(Path(f"/proc/{pid}")).startswith(b"ray::")]
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and mark in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def raylet(self, folder: Path) -> int:
        """The process id of the raylet that works in this folder."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
                if command.endswith(b"raylet") and Path(f"/proc/{pid}/cwd").readlink() == folder / "cwd":
                    return pid
        raise AssertionError(f"no raylet works in {folder}")

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if eventually(lambda: not self.processes(), 2.0):
                break
        shutil.rmtree(self._ray, ignore_errors=True)


@contextlib.contextmanager
def local_cluster(place: Path) -> Iterator[LocalCluster]:
    cluster = LocalCluster(place)
    try:
        yield cluster
    finally:
        cluster.stop()
