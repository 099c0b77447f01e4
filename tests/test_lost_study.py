"""A study that is not the one that was opened any more: deleted, its id another's, or an older copy in its file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest

from optimize.trial import Job, Outcome
from storage import DatabaseLostError, LeaseLostError, StorageError, acquire, open_database
from storage.locks import this_process
from storage.sql import LEASES
from tests.conftest import Driver, complete
from tests.databases import empty_database, new_trial
from tests.test_lease import Clock
from tests.test_open_file import AT, at, finished


def ask_optuna(path: Path, *names: str) -> None:
    """Another program deletes the study and makes others, which get its id."""
    url = f"sqlite:///{path}"
    optuna.delete_study(study_name="s", storage=url)
    for name in names:
        study = optuna.create_study(study_name=name, storage=url)
        for _ in range(AT + 1):
            study.ask()


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def rename_study(path: Path) -> None:
    """A study that SQLite itself gives the id, without Optuna."""
    edit(path, "DELETE FROM study_user_attributes", "UPDATE studies SET study_name = 'other'")


def make_again_with_our_word(path: Path) -> None:
    edit(path, "UPDATE study_user_attributes SET value_json = '\"0\"' WHERE key = 'lease_token'")


THEFTS: dict[str, Callable[[Path], object]] = {
    "deleted": ask_optuna,
    "another of another name": lambda path: ask_optuna(path, "other"),
    "another of the same name": lambda path: ask_optuna(path, "s"),
    "two others": lambda path: ask_optuna(path, "other", "third"),
    "another without attributes": rename_study,
    "one of another driver": make_again_with_our_word,
    "no lease": lambda path: edit(path, "DELETE FROM optimize_leases"),
}


@pytest.mark.parametrize("happens", THEFTS.values(), ids=THEFTS)
def test_a_driver_writes_nothing_into_what_has_the_id_of_its_study(
    driver: Driver, happens: Callable[[Path], object]
) -> None:
    after: dict[str, str] = {}

    def happens_then_noted(path: Path) -> None:
        happens(path)
        after["dump"] = dump(path)

    with pytest.raises(StorageError, match=r"gone|deleted") as caught:
        driver.run(at(driver, happens_then_noted), trials=9)
    assert "\n" not in str(caught.value)
    assert dump(driver.paths.database) == after["dump"]


def dump(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(line for line in connection.iterdump() if "lease" not in line)


def has_word(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return (
            connection.execute("SELECT 1 FROM study_user_attributes WHERE key = 'lease_token'").fetchone() is not None
        )


def copies(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)


def test_an_older_copy_in_the_same_file_is_noticed_at_the_next_write(driver: Driver) -> None:
    """`cp` keeps the inode, as SQLite's own `.restore` does; a copy of an earlier call has another lease."""
    driver.run(trials=2)
    path, kept = driver.paths.database, driver.folder / "kept.db"
    copies(path, kept)
    with pytest.raises(DatabaseLostError, match="an older copy of the database was put in its place"):
        driver.run(at(driver, lambda path: copies(kept, path)), trials=9)
    assert finished(path) == [0, 1]


def test_an_older_copy_of_the_same_call_lacks_the_last_renewal(tmp_path: Path) -> None:
    clock, path, kept = Clock(), empty_database(tmp_path), tmp_path / "kept.db"
    with closing(open_database(path)) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        lease = acquire(database, study_id, clock=clock)
        copies(path, kept)
        clock.now += 11
        lease.renew()
        copies(kept, path)
        assert not lease.is_held()
        with pytest.raises(LeaseLostError, match="an older copy"):
            lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        clock.now += 11
        with pytest.raises(LeaseLostError, match="an older copy"):
            lease.renew()
        assert database.counts(study_id)["RUNNING"] == 0


def test_an_older_copy_from_before_the_clock_was_set_back_is_no_other_driver(tmp_path: Path) -> None:
    clock, path, kept = Clock(), empty_database(tmp_path), tmp_path / "kept.db"
    with closing(open_database(path)) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        acquire(database, study_id, clock=clock)
        copies(path, kept)
        clock.now -= 3600
        lease = acquire(database, study_id, clock=clock)
        copies(kept, path)
        with pytest.raises(LeaseLostError, match="an older copy"):
            lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)


def test_a_copy_that_lacks_only_the_last_trial_is_noticed_in_the_same_file(driver: Driver) -> None:
    kept = driver.folder / "kept.db"

    def copy_then_put_back(job: Job) -> Outcome:
        path = driver.paths.database
        if job.number == AT - 1:
            copies(path, kept)
        elif job.number == AT:
            copies(kept, path)
        return complete(job)

    with pytest.raises(LeaseLostError, match="an older copy of the database was put in its place"):
        driver.run(copy_then_put_back, trials=9)
    assert finished(driver.paths.database) == [*range(AT - 1)]


def test_each_write_leaves_another_time_also_where_the_clock_stands_still(tmp_path: Path) -> None:
    path, kept = empty_database(tmp_path), tmp_path / "kept.db"
    with closing(open_database(path)) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        lease = acquire(database, study_id, clock=Clock())
        for _ in range(3):
            copies(path, kept)
            lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        copies(kept, path)
        assert not lease.is_held()
        with pytest.raises(LeaseLostError, match="an older copy"):
            lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        assert database.counts(study_id)["RUNNING"] == 2


def test_a_write_that_fails_leaves_the_lease_as_it_was(tmp_path: Path) -> None:
    with closing(open_database(empty_database(tmp_path))) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        lease = acquire(database, study_id)

        def fails() -> None:
            new_trial(database, study_id)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lease.write(fails, stands=lambda _: True)
        lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        assert lease.is_held()
        assert database.counts(study_id)["RUNNING"] == 1


def test_a_file_that_is_copied_over_an_open_one_ends_the_study(driver: Driver) -> None:
    driver.run(trials=2)
    kept = driver.folder / "kept.db"
    shutil.copyfile(driver.paths.database, kept)

    def copy_over(path: Path) -> None:
        shutil.copyfile(kept, path)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink()

    with pytest.raises(StorageError):
        driver.run(at(driver, copy_over), trials=9)


def test_a_study_has_its_word_only_while_it_is_driven(driver: Driver) -> None:
    """So one of an earlier release gets it too, and another release finds what it knows."""
    seen: list[bool] = []
    driver.run(at(driver, lambda path: seen.append(has_word(path))), trials=5)
    assert seen == [True]
    assert not has_word(driver.paths.database)
    assert len(driver.run(trials=7)[1].ended) == 2


def test_a_driver_that_another_one_followed_leaves_the_study_to_it_also_after_its_end(tmp_path: Path) -> None:
    clock = Clock()
    with closing(open_database(empty_database(tmp_path))) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        asleep = acquire(database, study_id, clock=clock)
        clock.now += 61
        acquire(database, study_id, clock=clock).release()
        with pytest.raises(LeaseLostError, match="leave the study to it"):
            asleep.renew()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"start": "1"}, "which has died"),  # another process has its pid
        ({}, "which was silent for more than 60 s; if it only slept, it stops when it wakes"),
        ({"place": "elsewhere"}, "which was silent for more than 60 s; if it only slept, it stops when it wakes"),
    ],
)
def test_a_driver_is_called_dead_only_where_that_is_known(driver: Driver, how: dict[str, str], says: str) -> None:
    driver.run(trials=1)
    with driver.database() as database:
        row = {**asdict(this_process(0.0)), "host": "laptop", "study_id": 1, "token": "its", "renewed_at": 0.0, **how}
        database.write(lambda connection: connection.execute(LEASES.insert().values(row)))
    with driver.open():
        (line,) = [line for line in driver.said if "taken over" in line]
    assert line == f"study s: taken over from process {os.getpid()} on laptop, {says}"


def test_a_trial_of_a_driver_that_went_is_not_said_to_be_of_a_dead_one(driver: Driver) -> None:
    with driver.open() as study:
        study.ask()
    with driver.open() as study:
        (record,) = study.records()
    assert record.reason == "its driver died or was silent while it ran"
    assert driver.said[-1] == "trial 0 was left by an earlier driver: lost, its parameters are queued again"
