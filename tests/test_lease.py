"""One driver a study: who gets it, who is refused, when a silent one is dead, and that two never both get it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from storage import Database, LeaseHeldError, LeaseLostError, acquire, holder_of, open_database
from storage.locks import FileLock, Holder, parse_holder, process_start, this_process
from storage.sql import LEASES
from tests.databases import empty_database, new_trial

ROOT = Path(__file__).parent.parent


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def pretend(database: Database, holder: Holder, study_id: int = 1) -> None:
    """Writes another process's name over the lease."""
    values = {"host": holder.host, "pid": holder.pid, "start": holder.start, "place": holder.place}
    update = LEASES.update().where(LEASES.c.study_id == study_id).values(token="another", **values)
    database.write(lambda connection: connection.execute(update))


class LeaseContract:
    """What the lease does in any database; a subclass gives the fixture `database`, open and empty."""

    @pytest.fixture
    def study_id(self, database: Database) -> int:
        return database.create_study("cpu", "minimize", "val_bpb")

    def test_the_first_driver_gets_the_study(self, database: Database, study_id: int) -> None:
        lease = acquire(database, study_id)
        assert lease.taken_from is None
        assert lease.holder.pid == os.getpid()
        assert holder_of(database, study_id) == lease.holder

    def test_a_second_driver_is_refused_and_told_who_holds_it(self, database: Database, study_id: int) -> None:
        clock = Clock()
        acquire(database, study_id, clock=clock)
        clock.now += 7
        with pytest.raises(LeaseHeldError) as caught:
            acquire(database, study_id, clock=clock)
        seen = "since 2023-11-14 22:13:20 UTC, last seen 7 s ago"
        assert f"process {os.getpid()} on {socket.gethostname()}, {seen}" in str(caught.value)

    def test_another_study_is_another_lease(self, database: Database, study_id: int) -> None:
        acquire(database, study_id)
        other = database.create_study("other", "minimize", "val_bpb")
        assert acquire(database, other).taken_from is None

    def test_a_released_lease_is_free_at_once(self, database: Database, study_id: int) -> None:
        acquire(database, study_id).release()
        assert holder_of(database, study_id) is None
        assert acquire(database, study_id).taken_from is None

    def test_a_lease_of_elsewhere_is_alive_for_sixty_seconds(self, database: Database, study_id: int) -> None:
        clock = Clock()
        acquire(database, study_id, clock=clock)
        elsewhere = replace(this_process(), host="preempted-vm", place="another boot", pid=7)
        pretend(database, elsewhere)
        clock.now += 60
        with pytest.raises(LeaseHeldError, match="process 7 on preempted-vm"):
            acquire(database, study_id, clock=clock)
        clock.now += 0.1
        lease = acquire(database, study_id, clock=clock)
        assert lease.taken_from is not None
        assert lease.taken_from.host == "preempted-vm"

    def test_renewing_keeps_it_alive(self, database: Database, study_id: int) -> None:
        clock = Clock()
        lease = acquire(database, study_id, clock=clock)
        for _ in range(10):
            clock.now += 30
            lease.renew()
        clock.now += 59
        with pytest.raises(LeaseHeldError):
            acquire(database, study_id, clock=clock)

    def test_renewing_writes_every_ten_seconds_and_no_more(self, database: Database, study_id: int) -> None:
        clock = Clock()
        lease = acquire(database, study_id, clock=clock)
        seen = set()
        for _ in range(31):
            lease.renew()
            ((renewed_at,),) = database.rows(LEASES.select().with_only_columns(LEASES.c.renewed_at))
            seen.add(renewed_at - 1_700_000_000)
            clock.now += 1
        assert seen == {0, 10, 20, 30}

    def test_a_driver_that_was_silent_too_long_learns_that_it_lost_the_study(
        self, database: Database, study_id: int
    ) -> None:
        clock = Clock()
        asleep = acquire(database, study_id, clock=clock)
        clock.now += 61
        awake = acquire(database, study_id, clock=clock)
        assert awake.taken_from == asleep.holder
        with pytest.raises(LeaseLostError, match="silent for more than 60 s"):
            asleep.renew()
        asleep.release()
        awake.renew()
        assert holder_of(database, study_id, clock) == awake.holder

    def test_a_driver_that_lost_the_study_changes_nothing(self, database: Database, study_id: int) -> None:
        clock = Clock()
        asleep = acquire(database, study_id, clock=clock)
        assert asleep.write(lambda: new_trial(database, study_id), stands=lambda _: True) > 0
        clock.now += 61
        acquire(database, study_id, clock=clock)
        with pytest.raises(LeaseLostError):
            asleep.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        assert database.counts(study_id)["RUNNING"] == 1

    def test_a_dead_process_of_this_machine_is_dead_at_once(self, database: Database, study_id: int) -> None:
        acquire(database, study_id)
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            gone.wait()
        pretend(database, replace(this_process(), pid=gone.pid))
        assert holder_of(database, study_id) is None
        lease = acquire(database, study_id)
        assert lease.taken_from is not None
        assert lease.taken_from.pid == gone.pid

    def test_another_process_under_the_same_pid_is_not_the_holder(self, database: Database, study_id: int) -> None:
        acquire(database, study_id)
        pretend(database, replace(this_process(), start="12345"))
        assert acquire(database, study_id).taken_from is not None

    @pytest.mark.parametrize("jump", [-3600, 3600])
    def test_a_clock_that_was_set_does_not_lock_the_study_for_long(
        self, database: Database, study_id: int, jump: int
    ) -> None:
        clock = Clock()
        acquire(database, study_id, clock=clock)
        clock.now += jump
        assert acquire(database, study_id, clock=clock).taken_from is not None

    def test_of_many_that_try_one_gets_it(self, database: Database, study_id: int) -> None:
        got, refused = [], []

        def attempt() -> None:
            try:
                got.append(acquire(database, study_id))
            except LeaseHeldError as error:
                refused.append(error)

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), len(refused)) == (1, 7)

    def test_nobody_holds_what_was_never_driven(self, database: Database, study_id: int) -> None:
        assert holder_of(database, study_id) is None

    def test_a_deleted_study_takes_its_lease_along(self, database: Database, study_id: int) -> None:
        acquire(database, study_id)
        database.delete_study("cpu")
        assert database.rows(LEASES.select()) == []


class TestSqlite(LeaseContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        with closing(open_database(empty_database(tmp_path))) as database:
            yield database


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "cpu" / "driver.lock"


def test_a_file_lock_is_held_by_one_and_names_it(lock: Path) -> None:
    held = FileLock.acquire(lock)
    with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on"):
        FileLock.acquire(lock)
    held.release()
    held.release()
    FileLock.acquire(lock).release()


def test_a_file_lock_whose_holder_has_not_written_its_name_yet_is_still_held(lock: Path) -> None:
    held = FileLock.acquire(lock)
    lock.write_text("{")
    with pytest.raises(LeaseHeldError, match="another process") as caught:
        FileLock.acquire(lock)
    assert "at work: another process, since" in str(caught.value)
    held.release()


def test_the_lock_is_given_back_where_the_lease_is_refused(tmp_path: Path, lock: Path) -> None:
    with closing(open_database(empty_database(tmp_path))) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        acquire(database, study_id).release()
        lease = acquire(database, study_id, lock=lock)
        with pytest.raises(LeaseHeldError):  # the same study by the same database, with its files elsewhere
            acquire(database, study_id, lock=tmp_path / "elsewhere.lock")
        FileLock.acquire(tmp_path / "elsewhere.lock").release()
        lease.release()
        acquire(database, study_id, lock=lock).release()


@pytest.mark.slow
def test_a_forked_child_does_not_keep_the_lock(lock: Path) -> None:
    # A child of exec holds no descriptors of ours anyway; one of fork would, and the lock would outlive a killed driver.
    program = (
        "import os, sys, time; from storage.locks import FileLock; from pathlib import Path;"
        "FileLock.acquire(Path(sys.argv[1])); os.fork() or print(os.getpid(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with pytest.raises(LeaseHeldError, match=f"process {parent.pid} on"):
            FileLock.acquire(lock)
        parent.kill()
        parent.wait()
        FileLock.acquire(lock).release()
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_driver_holds_nothing(tmp_path: Path, lock: Path) -> None:
    path = empty_database(tmp_path)
    with closing(open_database(path)) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        program = (
            "import sys, time, storage; from pathlib import Path; database = storage.open_database(sys.argv[1]);"
            "lease = storage.acquire(database, 1, lock=Path(sys.argv[2])); print(1, flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "1\n"
            with pytest.raises(LeaseHeldError, match=f"process {driver.pid} on"):
                acquire(database, study_id, lock=lock)
            with pytest.raises(LeaseHeldError, match=f"process {driver.pid} on"):
                acquire(database, study_id)
            driver.kill()
            driver.wait()
        lease = acquire(database, study_id, lock=lock)
        assert lease.taken_from is not None
        assert lease.taken_from.pid == driver.pid
        lease.release()


def test_a_process_is_named_by_its_start() -> None:
    mine = process_start(os.getpid())
    assert mine
    assert process_start(os.getpid()) == mine
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        assert process_start(other.pid) != mine
        other.kill()
        while process_start(other.pid):  # a zombie until it is waited for, and dead for us
            time.sleep(0.01)


def test_a_holder_survives_its_text_and_rubbish_is_nobody() -> None:
    holder = this_process(123.5)
    assert parse_holder(holder.to_text()) == holder
    for text in ("", "{", "[]", "null", '{"host": "x"}', json.dumps({**json.loads(holder.to_text()), "pid": "x"})):
        assert parse_holder(text) is None


def test_nobody_knows_about_processes_of_another_place() -> None:
    here = this_process()
    assert here.alive() is True
    assert replace(here, start="1").alive() is False
    assert replace(here, place="elsewhere").alive() is None
