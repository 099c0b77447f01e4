"""Is anything lost, doubled or left behind when the driver dies at any moment? python benchmarks/chaos.py [--smoke]

For each mode, a study of `--trials` trials of a quick fake script (`chaos_workload/`); its driver (`optimize run`) is
struck `--kills` times at random moments of its life and started again, then left alone until the study is done:

    kill        kill -9 of the driver; its guardians are left to notice
    term        SIGTERM, as a preempted machine gets it
    dashboard   kill -9, while `optimize dashboard` runs and its API is polled without a pause
    disk        the disk is filled; the driver ends by itself or is killed with -9 as well, and may be started on the
                full disk. It takes a small tmpfs, so root on Linux; skipped elsewhere, and says so
    world       the database is removed, emptied, replaced by an older copy or by another study's, or its -wal is left
                beside an older copy; the disk is full; the clock jumps by up to two hours; the driver is stopped for longer
                than its lease, and another machine takes the study over or not; the runs folder is moved. After each of
                `--faults` faults the benchmark does what the one line says: it puts the database back, or sets tables aside

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
    wordless      drivers of the mode `world` that ended without exit code 2 or without the line that names the fault
    foreign_writes  into an older copy, another study's database, or where the runs folder was
    integrity     what SQLite's integrity_check and foreign_key_check say; views: of results.tsv and best/

All of these must be 0 or ok, or the exit code is 1. For information: `kills`, `trials` of the database and those that
are `complete`; where the strikes fell (`in_opening`: no script had been started yet, `in_trial`, `between` trials);
`strays`, files of artifacts that no trial names yet (a repair removes them); `polls`; `told_lost`, results that
a line said were lost, of which `set_aside` are in tables that were set aside; `slowest_ms`, the longest that a
driver took to end after SIGTERM or on the full disk. All of it happens in one temporary folder and on loopback; the
folder is kept, and named, if something was found. A mode takes two or three seconds a kill, and a fault of `world` seven
seconds of a core.
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
from chaos_study import RETRY_S, Process, Stage, fill, kill, say, small_disk, wait_for
from chaos_world import run_world

MODES = ("kill", "term", "dashboard", "disk", "world")
# How drivers may end that were not killed.
EXITS = {"kill": {0}, "dashboard": {0}, "term": {0, 128 + signal.SIGTERM, -signal.SIGTERM}, "disk": {0, 2}}
# How trials may end: "environment" is a work folder that cannot be made on a full disk.
ENDINGS = {mode: {"complete", "lost", "cancelled"} for mode in MODES} | {
    "disk": {"complete", "lost", "cancelled", "environment"}
}
Strike = Callable[[Process], None]


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
        fill(filler, spare)
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
            around.enter_context(small_disk(stage, found, stage.runs))
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
    parser.add_argument("--faults", type=int, default=150, help="of the mode world")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--smoke", action="store_true", help="a fault or two in each of four modes: does it still work?"
    )
    given = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background job: the dashboard would inherit it, and not end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.smoke:
        given.modes, given.kills, given.trials, given.faults = "term,dashboard,disk,world", 1, 3, 1
    total, folder = Figures(), Path(tempfile.mkdtemp(prefix="chaos-"))
    for mode in given.modes.split(","):
        if mode == "disk" and not (sys.platform == "linux" and os.geteuid() == 0):
            print("disk: skipped, it mounts a tmpfs and that takes root on Linux")
            continue
        (folder / mode).mkdir()
        if mode == "world":
            found = run_world(folder / mode, given.faults, given.seed)
        else:
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
