"""The mode `world` of `chaos.py`: what people and machines do to a study's database, disk, clock and process while it runs.

Each fault strikes a driver in the middle of its work. Then the benchmark does what the driver's one line says. The driver
runs with a lease of 2 s instead of 60 (BOOT), so that 3 s are longer than its lease, and writes its tables ten times as
often. It reads with SQLite alone: our own code is what is being judged.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos_copies import Files, Snapshot, foreign_database, idents_aside
from chaos_judge import Figures, judge
from chaos_study import Process, Stage, fill, kill, say, small_disk, wait_for

A_ROUND, MOST_TRIALS = 10, 3000  # faults that one study suffers; trials that it never comes to
SPACE = f"[parameters]\nX = {[*range(1, 41)]}\nY = [0.125, 0.25, 0.5, 1.0, 2.0]\nZ = {[*map(chr, range(97, 123))]}\n"
ENDINGS = {"complete", "lost", "cancelled", "environment"}
DEAD_AFTER_S, START_S, JUMP_S, TABLES_S = 2.0, 60.0, 3600.0, 2.0
BOOT = """
import os, time
import optimize.reporting.files, storage.lease, storage.locks
storage.lease.RENEW_EVERY_S, storage.lease.DEAD_AFTER_S = 0.4, 2.0
optimize.reporting.files.EVERY_S = 0.5
real = time.time
def clock():
    with open(os.environ["CHAOS_CLOCK"]) as file:
        return real() + float(file.read() or 0.0)
time.time = clock
if os.environ.get("CHAOS_ELSEWHERE"):  # as on another machine: it sees neither the process nor its lock
    storage.locks._place = lambda: "elsewhere"
    storage.locks._lock = lambda descriptor, path: None
from optimize.__main__ import main
main()
"""
LOST = r"was (removed or|moved|replaced|emptied)|older copy|was deleted|does not fit its|damaged|is empty|not here"
TABLES_HOLD, NO_STUDY = "its tables hold", "holds results of a study"


class World:
    """One study that suffers faults. A fault gets the driver, and returns the one that works on, or None."""

    def __init__(self, stage: Stage, chance: random.Random, found: Figures) -> None:
        self._stage, self._chance, self._found = stage, chance, found
        self._database, self._aside = stage.runs / "optuna.db", stage.runs.parent / "aside"
        self._files = Files(self._database, stage.folder / "copies")
        self._clock = stage.folder / "clock"
        self._older: list[Snapshot] = []
        self.excused: set[str] = set()  # results that a line told were lost
        self._said_until = 0
        self._aside.mkdir()
        self._space = stage.folder / "space.toml"
        self._space.write_text(SPACE)
        self._set_clock(0.0)

    def strike(self, kind: str, driver: Process | None) -> Process | None:
        fault: Callable[[Process], Process | None] = getattr(self, f"_{kind}")
        driver = self._working(driver)
        self._older.append(self._files.copy())
        self._wait_for_results(self._chance.randrange(1, 4), driver)
        self._said_until = self._stage.said.stat().st_size
        self._found.update(["kills", kind])
        say(f"world: fault {self._found['kills']} of this study: {kind}")
        return fault(driver)

    def _removed(self, driver: Process) -> None:
        self._freeze(driver)
        whole = self._chance.random() < 0.5
        moved = [path for path in self._files.all() if whole or path == self._database]
        for path in moved:
            path.rename(self._aside / path.name)
        self._ends(driver, LOST)
        if self._database.exists():
            self._found.fault("foreign_writes", "a database was made where one was removed")
        for path in moved:
            (self._aside / path.name).replace(path)

    def _emptied(self, driver: Process) -> None:
        self._freeze(driver)
        newest = self._files.copy()
        self._database.write_bytes(b"")
        self._ends(driver, LOST)
        self._files.put(newest)

    def _older_copy(self, driver: Process) -> Process | None:
        older, how = (
            self._chance.choice(self._older[-3:]),
            self._chance.choice((self._files.rename, self._files.copy_over, self._files.restore)),
        )
        at = time.time()
        self._freeze(driver, unlocked=True)
        newest = self._files.copy()
        how(older.path)
        if how == self._files.copy_over:
            driver.send_signal(signal.SIGCONT)
            if self._wait_for_results(3, driver) and self._files.copy().told.keys() >= newest.told.keys():
                return driver  # the copy was made since it began: with the -wal it is what was there
            self._ends(driver, LOST)
        else:
            self._ends(driver, LOST)
            if self._files.dump() != older.dump():
                self._found.fault("foreign_writes", f"the driver wrote into an older copy ({how.__name__})")
        return self._follow(older, newest, at)

    def _another(self, driver: Process) -> None:
        self._freeze(driver)
        newest, other = self._files.copy(), foreign_database(self._aside / "foreign.db")
        self._files.rename(other.path)
        self._ends(driver, LOST)
        if self._files.has_wal():
            self._ends(self._start(), "does not fit its")
            self._files.beside("-wal").unlink()
        table = self._stage.runs / "s" / "results.tsv"
        if table.exists() and table.read_text().count("\n") > 1:  # else the study may begin anew beside the other one
            self._ends(self._start(), NO_STUDY)
        if self._files.dump() != other.dump():
            self._found.fault("foreign_writes", "into the study of another database")
        self._files.put(newest)

    def _full(self, driver: Process) -> None:
        filler = self._stage.runs.parent / "filler"
        try:
            fill(filler, self._chance.choice((0, 4_096, 20_000)))
            self._ends(driver, "no space left")
        finally:
            filler.unlink()

    def _clock_jump(self, driver: Process) -> Process | None:
        self._set_clock(self._chance.choice((-JUMP_S, 0.0, JUMP_S)) + self._chance.uniform(-JUMP_S, JUMP_S))
        self._ends(self._start(), "another driver is at work")
        return self._goes_on(driver)

    def _stopped(self, driver: Process) -> Process | None:
        self._freeze(driver)
        time.sleep(1.5 * DEAD_AFTER_S)
        driver.send_signal(signal.SIGCONT)
        return self._goes_on(driver)

    def _taken_over(self, driver: Process) -> Process | None:
        self._freeze(driver, unlocked=True)
        at, newest = time.time(), self._files.copy()
        time.sleep(1.5 * DEAD_AFTER_S)
        other = self._start(CHAOS_ELSEWHERE="1")
        self._wait_for_results(1, other)
        self._excuse_running(at, newest)  # they are told as lost, and queued again
        self._ends(driver, "another driver took this study over")
        return self._goes_on(other)

    def _wal_left(self, driver: Process) -> Process | None:
        older, at = self._chance.choice(self._older[-3:]), time.time()
        kill(driver)
        newest = self._files.copy()
        shutil.copyfile(older.path, self._database)
        if self._chance.random() < 0.5:
            self._files.beside("-shm").unlink(missing_ok=True)
        before = self._files.contents()
        again = self._start()
        if self._is_refused(again, "does not fit its"):
            if before != self._files.contents():
                self._found.fault("foreign_writes", "a -wal was taken into another file")
            return self._follow(older, newest, at)
        if set(self._files.copy().told) >= set(newest.told):  # it was the file that the -wal belongs to
            return self._goes_on(again)
        if again.poll() is None:
            self._found.fault("wordless", "an older copy with the -wal of another file goes on")
            kill(again)
        return self._follow(older, newest, at)

    def _moved(self, driver: Process) -> None:
        self._freeze(driver)
        elsewhere = self._stage.runs.with_name("moved")
        self._stage.runs.rename(elsewhere)
        self._ends(driver, LOST)
        if self._stage.runs.exists():
            there = ", ".join(str(path.relative_to(self._stage.runs)) for path in self._stage.runs.rglob("*"))
            self._found.fault("foreign_writes", f"where the runs folder was: {there}")
            shutil.rmtree(self._stage.runs)
        elsewhere.rename(self._stage.runs)

    def _follow(self, older: Snapshot, newest: Snapshot, at: float) -> Process | None:
        """Put the right database back; or go on with the older one, and set the tables aside if that is asked for."""
        if self._chance.random() < 0.5:
            self._files.put(newest)
            return None
        self._files.put(older)
        table = self._stage.runs / "s" / "trials.csv"
        written = table.stat().st_mtime if table.exists() else 0.0
        again = self._start()
        if self._is_refused(again, TABLES_HOLD):
            again = self._start("--set-aside")
            self._wait_for_results(1, again)
        kept = idents_aside(table.parent)
        lost = {ident: told for ident, told in newest.told.items() if ident not in older.told}
        self._found["set_aside"] += len(lost.keys() & kept)
        self.excused |= {ident for ident, told in lost.items() if ident in kept or told >= written - TABLES_S}
        self._excuse_running(at, newest)
        self._older = [each for each in self._older if each.told.keys() <= older.told.keys()]
        return self._goes_on(again)

    def _excuse_running(self, at: float, newest: Snapshot) -> None:
        begun = {line.ident for line in self._stage.lines() if line.word == "begun" and line.at <= at + 1}
        printed = {line.ident for line in self._stage.lines(since=at - 5) if line.word == "printed"}
        self.excused |= (begun & printed) - newest.told.keys()

    def finish(self, driver: Process | None) -> None:
        """Let the study come to an end, after two more results."""
        driver = self._working(driver)
        driver.terminate()
        wait_for(driver, self._found)
        self._stage.trials = len(self._files.copy().told) + 2
        last = self._start()
        wait_for(last, self._found)
        if last.returncode:
            self._found.fault("bad_exits", f"the last driver ended with {last.returncode}: {self._said()}")
        judge(self._stage.runs, self._stage.lines(), ENDINGS, self._found, self.excused)
        self._found["off_budget"] += abs(self._found["complete"] - self._stage.trials)

    def _start(self, *more: str, **env: str) -> Process:
        return self._stage.start_driver("--space", str(self._space), *more, CHAOS_CLOCK=str(self._clock), **env)

    def _working(self, driver: Process | None) -> Process:
        """A driver that has had a result; started again after the lease of another machine's driver, as the line says."""
        for _ in range(4):
            driver = driver or self._start()
            if self._wait_for_results(1, driver):
                return driver
            if driver.poll() is None or "another driver is at work" not in self._said():
                break
            driver = None
            time.sleep(1.5 * DEAD_AFTER_S)
        raise RuntimeError(f"the study does not go on: {self._said()}")

    def _goes_on(self, driver: Process) -> Process | None:
        """Return the driver, which has to go on by itself."""
        if self._wait_for_results(1, driver):
            return driver
        if driver.poll() is not None and "another driver is at work" in self._said():
            return None
        self._found.fault("bad_exits", f"a driver does not go on ({driver.poll()}): {self._said()}")
        if driver.poll() is None:
            kill(driver)
        return None

    def _wait_for_results(self, count: int, driver: Process) -> bool:
        """Wait until scripts have printed so many more results; False if the driver ends, or nothing comes."""
        before, deadline = self._printed(), time.monotonic() + START_S
        while time.monotonic() < deadline and driver.poll() is None:
            if self._printed() >= before + count:
                return True
            time.sleep(0.05)
        return False

    def _printed(self) -> int:
        return sum(line.word == "printed" for line in self._stage.lines())

    def _ends(self, driver: Process, line: str) -> None:
        driver.send_signal(signal.SIGCONT)
        wait_for(driver, self._found)
        if driver.returncode != 2 or not re.search(line, self._said(all_of_it=True)):
            self._found.fault("wordless", f"a driver ended with {driver.returncode}, without {line!r}: {self._said()}")
        self._said_until = self._stage.said.stat().st_size

    def _is_refused(self, driver: Process, line: str) -> bool:
        """Whether it ends with this line; it is still there if it works."""
        self._said_until = self._stage.said.stat().st_size
        if self._wait_for_results(1, driver):
            return False
        if driver.poll() is None:
            self._found.fault("bad_exits", f"a driver neither ends nor works: {self._said()}")
            kill(driver)
        return line in self._said(all_of_it=True)

    def _said(self, all_of_it: bool = False) -> str:
        """What was said since the fault; a driver whose study another one took says its line among the other's."""
        with self._stage.said.open("rb") as file:
            file.seek(self._said_until)
            return " | ".join(file.read().decode(errors="replace").splitlines()[0 if all_of_it else -6 :])

    def _freeze(self, driver: Process, unlocked: bool = False) -> None:
        """Stop the driver where it is; `unlocked`: between two transactions."""
        while driver.poll() is None:
            driver.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            if not unlocked or self._files.is_unlocked():
                return
            driver.send_signal(signal.SIGCONT)
            time.sleep(self._chance.uniform(0.01, 0.1))

    def _set_clock(self, seconds: float) -> None:
        new = self._clock.with_name("clock.new")
        new.write_text(str(seconds))
        new.replace(self._clock)


KINDS = (
    "removed", "older_copy", "wal_left", "full", "clock_jump", "stopped", "taken_over", "moved", "emptied", "another",
    "older_copy", "wal_left",
)  # fmt: skip


def run_world(folder: Path, faults: int, seed: int) -> Figures:
    """Strike studies with so many faults, each kind in its turn, ten of them a study."""
    found, chance = Figures(), random.Random(f"{seed} world")
    kinds = [KINDS[number % len(KINDS)] for number in range(faults)]
    chance.shuffle(kinds)
    has_disk = sys.platform == "linux" and os.geteuid() == 0
    if not has_disk:
        print("world: a full disk is left out, it mounts a tmpfs and that takes root on Linux")
        kinds = [kind if kind != "full" else "removed" for kind in kinds]
    for number in range(0, faults, A_ROUND):
        _round(folder / f"round-{number // A_ROUND}", kinds[number : number + A_ROUND], chance, found, has_disk)
    found["missed"] = faults - found["kills"]
    say("world: " + ", ".join(f"{found[kind]} {kind}" for kind in dict.fromkeys(KINDS)))
    return found


def _round(folder: Path, kinds: Sequence[str], chance: random.Random, total: Figures, has_disk: bool) -> None:
    (folder / "disk").mkdir(parents=True)
    found, stage = Figures(), Stage(folder, MOST_TRIALS)
    stage.begin = ("-c", BOOT)
    stage.runs.rmdir()
    stage.runs = folder / "disk" / "runs"
    with contextlib.ExitStack() as around:
        around.callback(stage.end_all, found)
        if has_disk:
            around.enter_context(small_disk(stage, found, folder / "disk"))
        stage.runs.mkdir()
        world, driver = World(stage, chance, found), None
        try:
            for kind in kinds:
                driver = world.strike(kind, driver)
            world.finish(driver)
        except (RuntimeError, OSError, sqlite3.Error) as error:
            found.fault("bad_exits", f"{folder.name}: {type(error).__name__}: {error}")
        found["tracebacks"] = stage.said.read_text(errors="replace").count("Traceback (most recent call last)")
        if not found.is_good():
            shutil.copytree(stage.runs, folder / "kept")
    say("\n    ".join([f"world: {found['kills']} faults: {found.line()}", *found.details]))
    total.add(found)
    total.details += found.details
