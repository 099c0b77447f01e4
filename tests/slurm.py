"""A real Slurm of one node on this machine: its own key, sockets and ports, in a temporary folder, for root only.

By hand, `python -m tests.slurm 20` kills a job so often, and requeues it; `ray.sbatch` behind it takes that file.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from storage import TrialRecord, open_database, read_records
from tests.conftest import SPACE, Driver, make_driver
from tests.postgres import free_port
from tests.test_cli import environment, flags, slow_down
from tests.zoo import children_of

ROOT = Path(__file__).parent.parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol")
REVOKED_S = 2.5  # within which slurmd takes a new start for the one that was ended
WAIT_S, LOOK_S = 120.0, 0.2  # for whatever is waited for, and between two looks, each of which may be a command
# They end with standard input: whatever kills the tests, no daemon outlives them.
SUPERVISED = 'cd "$1"; munged --foreground --force $2 & slurmctld -D -c & slurmd -D & read -r; kill $(jobs -p); wait'
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def why_not() -> str:
    """Why there can be no Slurm here; "" if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Slurm is started by root on Linux only"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge" if missing else ""


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes true; the time is a bound for a broken test, not a measurement."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


class LocalSlurm:
    """Its commands, and the jobs that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        names = {"host": socket.gethostname().partition(".")[0], "folder": self.folder, "cpus": os.cpu_count()}
        ports = {"controller": free_port(), "daemon": free_port()}
        (self.folder / "slurm.conf").write_text(SETTINGS.format(**names, **ports))
        files = {
            "key-file": "key",
            "socket": "munge",
            "pid-file": "munge.pid",
            "log-file": "munge.log",
            "seed-file": "seed",
        }
        flags = " ".join(f"--{flag}={self.folder / name}" for flag, name in files.items())
        words = ["bash", "-c", SUPERVISED, "slurm", str(self.folder), flags]
        with (self.folder / "said.txt").open("w") as said:
            self._daemons = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
            )  # fmt: skip
        assert eventually(lambda: "State=IDLE" in self.run("scontrol", "show", "nodes", check=False)), self.logs()

    def stop(self) -> None:
        self.run("scancel", "--user", "root", check=False)
        eventually(lambda: not self.processes())
        self.kill()
        assert self._daemons.stdin is not None
        self._daemons.stdin.close()
        self._daemons.wait(60)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in [*sorted(self.folder.glob("*.log")), self.folder / "said.txt"])

    def run(self, *words: str, check: bool = True) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout

    def submit(self, driver: Driver, file: str, trials: int) -> Job:
        """Submit a study by one of our files in the driver's folder, as a user does there."""
        env = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "LOCAL": str(driver.folder / "local")}
        options = ["--parsable", "--cpus-per-task=1", "--nodes=1", f"--output={driver.folder / '%j.out'}"]
        study = ["run", "--trust", *flags(driver), "--slots", "2", "--trials", str(trials)]
        words = ["sbatch", *options, str(ROOT / "examples" / "slurm" / file), *study]
        env = {**environment(driver), **self.environment, **env}
        done = subprocess.run(words, cwd=driver.folder, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return Job(self, done.stdout.strip(), driver.folder)

    def processes(self, number: str = r"\d+") -> list[int]:
        """Of a job, or of all jobs, by their environment, and all that these have started."""
        ours = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        job = re.compile(rb"\0SLURM_JOB_ID=" + number.encode() + rb"\0")
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and ours in (told := (process / "environ").read_bytes()) and job.search(told):
                    found.append(int(process.name))
        for pid in found:  # which grows
            found += [child for child in children_of(pid) if child not in found]
        return found

    def kill(self, number: str = r"\d+") -> None:
        """Kill every process of a job, or of all, with -9."""
        while found := self.processes(number):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


class Job:
    """One job, and the study that it drives."""

    def __init__(self, slurm: LocalSlurm, number: str, folder: Path) -> None:
        self.slurm, self.number, self.folder = slurm, number, folder

    @property
    def database(self) -> Path:
        """On the node's own disk."""
        return self.folder / "local" / f"optimize-{self.number}" / "runs" / "optuna.db"

    @property
    def said(self) -> str:
        path = self.folder / f"{self.number}.out"
        return path.read_text() if path.exists() else ""

    def state(self, name: str = "JobState") -> str:
        told = re.search(rf"\b{name}=(\S+)", self.slurm.run("scontrol", "show", "job", self.number))
        return told[1] if told else ""

    def until(self, state: str) -> None:
        assert eventually(lambda: self.state() == state), (state, self.state(), self.said, self.slurm.logs())

    def kill_and_requeue(self) -> None:
        """Kill all its processes with -9, then requeue it and have it start at once."""
        self.slurm.kill(self.number)
        self.until("FAILED")
        self.slurm.run("scontrol", "requeue", self.number)
        self.start_now()

    def start_now(self) -> None:
        """Start it after it was requeued: Slurm would hold it for 120 s."""
        self.until("PENDING")
        time.sleep(REVOKED_S)
        self.slurm.run("scontrol", "update", f"JobId={self.number}", "StartTime=now")
        assert eventually(lambda: self.state() != "PENDING"), self.slurm.logs()

    def completed(self, study: str = "s") -> dict[int, float]:
        """Number and value of each complete trial, read while the driver writes."""
        if not self.database.exists():
            return {}
        query = (
            "SELECT number, value FROM trials JOIN trial_values USING (trial_id) JOIN studies USING (study_id)"
            " WHERE state = 'COMPLETE' AND study_name = ?"
        )
        with contextlib.closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            try:
                return dict(connection.execute(query, (study,)).fetchall())
            except sqlite3.OperationalError:  # it is being made
                return {}

    def records(self, study: str = "s") -> list[TrialRecord]:
        """Its trials, when nobody drives it."""
        with contextlib.closing(open_database(self.database)) as opened:
            return read_records(opened, opened.find_study(study) or 0)


@contextlib.contextmanager
def local_slurm() -> Iterator[LocalSlurm]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets need a short path
    slurm = LocalSlurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def kill_often(kills: int, file: str) -> None:
    """Kill the job of one study so often, each time at a moment that chance chooses; say what came of it."""
    with_ray, chance, known = file == "ray.sbatch", random.Random(kills), dict[int, float]()
    most_s, trials = (4.0, 8 * kills) if with_ray else (8.0, 3 * kills)
    with tempfile.TemporaryDirectory() as folder, local_slurm() as slurm:
        driver = make_driver(Path(folder), Path(folder) / "once")
        slow_down(driver, 0.25)
        space = SPACE.replace("[0.125, 0.25, 0.5, 1.0]", str([number / 100 for number in range(1, 101)]))
        (driver.folder / "space.toml").write_text(space)
        job = slurm.submit(driver, file, trials)
        for number in range(1, kills + 1):
            assert eventually(lambda: slurm.processes(job.number)), job.said
            if with_ray:  # whose start takes longer than all else
                assert eventually(lambda: len(job.completed()) > len(known)), job.said
            time.sleep(chance.uniform(0.0, most_s))
            now = job.completed()
            assert now.items() >= known.items(), f"lost: {known.items() - now.items()}"
            known.update(now)
            job.kill_and_requeue()
            sys.stdout.write(f"kill {number}: {len(known)} trials are complete\n")
        job.until("COMPLETED")
        records = job.records()
    values = {record.number: record.value for record in records if record.state == "COMPLETE"}
    assert values.items() >= known.items()
    assert len(values) == trials
    endings = Counter(record.status for record in records)
    sys.stdout.write(f"{kills} of {kills}: nothing is lost; {dict(endings)}\n")


if __name__ == "__main__":
    kill_often(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "one-node.sbatch")
