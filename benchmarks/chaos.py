"""Is anything lost, doubled or left behind when the driver dies at any moment? python benchmarks/chaos.py [--smoke]

For each mode, a study of `--trials` trials of a quick fake script (`chaos_workload/`); its driver (`optimize run`) is
struck `--kills` times at random moments of its life and started again, then left alone until the study is done:

    kill        kill -9 of the driver; its guardians are left to notice
    term        SIGTERM, as a preempted machine gets it
    dashboard   kill -9, while `optimize dashboard` runs and its API is polled without a pause
    disk        the disk is filled; the driver ends by itself or is killed with -9 as well, and may be started on the
                full disk. It takes a small tmpfs, so root on Linux; skipped elsewhere, and says so

The reference is not ours: the script writes an id of its own and its value to a ledger outside our folders, fsynced,
right before and right after it prints its summary. The figures, one line per mode, and last their sum:

    results_lost  summaries of the ledger that are not COMPLETE in the database, with their value
    doubled       ids, or parameters, that are COMPLETE more than once
    invented      COMPLETE trials that the ledger does not know
    incomplete    COMPLETE trials without a whole summary, or without their rendered script or log
    dangling      artifacts that the database names and that cannot be read
    misjudged     trials with another ending than this mode can give a script that has no fault; any that is PRUNED
    requeues      trials that failed and were not queued again exactly once, or succeeded and were
    stuck         trials left RUNNING or WAITING
    orphans       processes that are still there at the end
    off_budget    COMPLETE trials too many or too few
    bad_exits     drivers that hung, or ended by themselves in a way that nobody asked for
    tracebacks    in what drivers and the dashboard printed
    failed_polls  requests that the dashboard did not answer
    missed        strikes that were not made, because the study was done
    integrity     what SQLite's integrity_check and foreign_key_check say; views: of results.tsv and best/

All of these must be 0 or ok, or the exit code is 1. For information: `kills`, `trials` of the database and those that
are `complete`; where the strikes fell (`in_opening`: no script had been started yet, `in_trial`, `between` trials);
`strays`, files of artifacts that no trial names yet (a repair removes them); `polls`; `slowest_ms`, the longest that a
driver took to end after SIGTERM or on the full disk. All of it happens in one temporary folder and on loopback; the
folder is kept, and named, if something was found. A mode takes two or three seconds a kill.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chaos_judge import Figures, Line, judge

ROOT = Path(__file__).resolve().parent.parent
WORKLOAD = Path(__file__).resolve().parent / "chaos_workload"
MODES = ("kill", "term", "dashboard", "disk")
# How drivers may end that were not killed.
EXITS = {"kill": {0}, "dashboard": {0}, "term": {0, 128 + signal.SIGTERM, -signal.SIGTERM}, "disk": {0, 2}}
# How trials may end: "environment" is a work folder that cannot be made on a full disk.
ENDINGS = {mode: {"complete", "lost", "cancelled"} for mode in MODES} | {
    "disk": {"complete", "lost", "cancelled", "environment"}
}
RETRY_S, TMPFS_MB = 60.0, 64
Process = subprocess.Popen[bytes]
Strike = Callable[[Process], None]


class Stage:
    """The temporary folder of one mode: our `runs`, and beside it the ledger and what was said."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.runs, self.said, self._ledger = folder / "runs", folder / "said.log", folder / "ledger"
        self.runs.mkdir()
        self._ledger.touch()

    def start(self, *words: str) -> Process:
        """`optimize ...` as a user starts it; its output goes to a file."""
        env = {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.folder), "CHAOS_LEDGER": str(self._ledger)}
        argv = [sys.executable, "-m", "optimize", *words, "--runs", str(self.runs)]
        with self.said.open("ab") as said:
            return subprocess.Popen(
                argv, cwd=self.folder, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip

    def start_driver(self) -> Process:
        of = {"profile": WORKLOAD / "profile.toml", "workload": WORKLOAD, "space": WORKLOAD / "space.toml"}
        flags = of | {"study": "s", "trials": self.trials}
        return self.start("run", "--trust", *(word for k, v in flags.items() for word in (f"--{k}", str(v))))

    def lines(self, since: float = 0.0) -> list[Line]:
        rows = [row.split() for row in self._ledger.read_text().splitlines()]
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


# --- striking ---------------------------------------------------------------------------------------------------------


class Pace:
    """Spreads the strikes over a driver's life, and so that kills and trials come to their end together."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._opening_s = 1.5  # until a driver starts its first script
        self._trials, self._seconds = 3.0, 1.0  # that were finished, and how long drivers had for them
        self._reach_s = 1.0  # how far behind the opening a strike may fall

    def moment(self) -> float:
        if self._chance.random() < 0.2:
            return self._chance.uniform(0.0, self._opening_s)
        return self._chance.uniform(0.7 * self._opening_s, self._opening_s + self._reach_s)

    def learn(self, life: Sequence[Line], born: float, now: float, trials_per_kill: float) -> None:
        first = min((line.at for line in life if line.word == "begun"), default=None)
        if first is not None:
            self._opening_s += 0.3 * (first - born - self._opening_s)
            self._trials += sum(line.word == "printed" for line in life)
            self._seconds += now - first
        self._reach_s = max(2 * trials_per_kill * self._seconds / self._trials, 0.05)


def strike_often(stage: Stage, mode: str, strike: Strike, kills: int, pace: Pace, found: Figures) -> None:
    deadline = time.monotonic() + RETRY_S + 15 * kills
    while found["kills"] < kills and time.monotonic() < deadline:
        born, driver = time.time(), stage.start_driver()
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(pace.moment())
        life, now = stage.lines(since=born), time.time()
        if driver.poll() is None:
            strike(driver)
            found.update(["kills", _place(life)])
            say(
                f"{mode}: strike {found['kills']} after {now - born:.2f} s, {_place(life)}: ended with {driver.returncode}"
            )
        _judge_exit(driver, mode, found)
        left = stage.trials - sum(line.word == "printed" for line in stage.lines())
        pace.learn(life, born, now, max(left, 0) / max(kills - found["kills"], 1))
    found["missed"] += kills - found["kills"]


def _place(lines: Sequence[Line]) -> str:
    words = Counter(line.word for line in lines)
    return "in_opening" if not words else "in_trial" if words["begun"] > words["printed"] else "between"


def _judge_exit(driver: Process, mode: str, found: Figures) -> None:
    if driver.returncode != -signal.SIGKILL and driver.returncode not in EXITS[mode]:
        found.fault("bad_exits", f"a driver ended with {driver.returncode}")


# --- the modes --------------------------------------------------------------------------------------------------------


def terminate(driver: Process, found: Figures) -> None:
    driver.terminate()
    wait_for(driver, found)


def fill_disk(stage: Stage, driver: Process, chance: random.Random, found: Figures) -> None:
    filler, spare = stage.runs / "filler", chance.choice((0, 0, 4_096, 20_000, 100_000))
    try:
        _fill(filler, spare)
        if chance.random() < 0.5:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(chance.uniform(0.0, 1.0))
            kill(driver)
        wait_for(driver, found)
        if chance.random() < 0.3:
            again = stage.start_driver()
            wait_for(again, found)
            _judge_exit(again, "disk", found)
    finally:
        filler.unlink()


def _fill(filler: Path, spare: int) -> None:
    """Writes until nothing more fits, then leaves `spare` bytes."""
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        file.truncate(max(file.tell() - spare, 0))


@contextlib.contextmanager
def small_disk(stage: Stage, found: Figures) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "chaos", stage.runs], check=True)
    try:
        yield
    finally:
        stage.end_all(found)
        if subprocess.run(["umount", stage.runs]).returncode:
            subprocess.run(["umount", "--lazy", stage.runs])


@contextlib.contextmanager
def dashboard(stage: Stage, found: Figures) -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, over = stage.start("dashboard", "--port", str(port)), threading.Event()
    poller = threading.Thread(target=poll, args=(f"http://127.0.0.1:{port}/api/studies", over, found))
    poller.start()
    try:
        yield
    finally:
        over.set()
        poller.join()
        server.send_signal(signal.SIGINT)
        wait_for(server, found)


def poll(url: str, over: threading.Event, found: Figures) -> None:
    """As often as it answers; what fails counts from its first answer on, or when that does not come."""
    give_up = time.monotonic() + RETRY_S
    while not over.wait(0.05):
        try:
            with urllib.request.urlopen(url, timeout=RETRY_S) as answer:
                studies = json.load(answer)["study_summaries"]
            for each in studies:
                with urllib.request.urlopen(f"{url}/{each['study_id']}?after=0", timeout=RETRY_S) as answer:
                    json.load(answer)
            found["polls"] += 1
        except OSError as error:
            if found["polls"] or time.monotonic() > give_up:
                found.fault("failed_polls", str(error))


# --- one mode after the other -----------------------------------------------------------------------------------------


def run_mode(mode: str, folder: Path, trials: int, kills: int, seed: int) -> Figures:
    chance, found, stage = random.Random(f"{seed} {mode}"), Figures(), Stage(folder, trials)
    with contextlib.ExitStack() as around:
        around.callback(stage.end_all, found)
        strike: Strike = kill
        if mode == "term":
            strike = lambda driver: terminate(driver, found)  # noqa: E731
        elif mode == "dashboard":
            around.enter_context(dashboard(stage, found))
        elif mode == "disk":
            around.enter_context(small_disk(stage, found))
            strike = lambda driver: fill_disk(stage, driver, chance, found)  # noqa: E731
        strike_often(stage, mode, strike, kills, Pace(chance), found)
        finish(stage, found)
        if mode == "disk":
            shutil.copytree(stage.runs, folder / "kept")
    judge(folder / "kept" if mode == "disk" else stage.runs, stage.lines(), ENDINGS[mode], found)
    found["off_budget"] = abs(found["complete"] - trials)
    found["tracebacks"] = stage.said.read_text(errors="replace").count("Traceback (most recent call last)")
    return found


def finish(stage: Stage, found: Figures) -> None:
    """The last driver is left alone until the study is done."""
    driver, slowest = stage.start_driver(), found["slowest_ms"]
    wait_for(driver, found, RETRY_S + 2 * stage.trials)
    found["slowest_ms"] = slowest
    if driver.returncode:
        found.fault("bad_exits", f"the last driver ended with {driver.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description="See the docstring.")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a kill in each of three modes: does it still work?")
    given = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background job: the dashboard would inherit it, and not end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.smoke:
        given.modes, given.kills, given.trials = "term,dashboard,disk", 1, 3
    total, folder = Figures(), Path(tempfile.mkdtemp(prefix="chaos-"))
    for mode in given.modes.split(","):
        if mode == "disk" and not (sys.platform == "linux" and os.geteuid() == 0):
            print("disk: skipped, it mounts a tmpfs and that takes root on Linux")
            continue
        (folder / mode).mkdir()
        found = run_mode(mode, folder / mode, given.trials, given.kills, given.seed)
        print(f"{mode}: {found.line()}", *found.details[:20], sep="\n    ", flush=True)
        total.add(found)
    if total.is_good():
        shutil.rmtree(folder)
    else:
        print(f"what was found lies in {folder}")
    print(total.line())
    return 0 if total.is_good() else 1


if __name__ == "__main__":
    sys.exit(main())
