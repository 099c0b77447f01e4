"""A database file that is removed, moved, replaced or cut while a driver works: it stops, and tells nothing into it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from optimize.trial import Job, Outcome
from storage import Database, DatabaseLostError, StorageError, open_database
from tests.conftest import Driver, complete
from tests.databases import empty_database, new_trial, small_database

AT = 3  # the trial during which it happens
KEPT = 40  # trials of the copy; the next session adds as many, and so does the one that is killed


def at(driver: Driver, happens: Callable[[Path], object]) -> Callable[[Job], Outcome]:
    """Trials that complete; while trial AT works, something happens to the database."""

    def run(job: Job) -> Outcome:
        if job.number == AT:
            happens(driver.paths.database)
        return complete(job)

    return run


def finished(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT number FROM trials WHERE state = 'COMPLETE' ORDER BY number")
        return [number for (number,) in rows]


def end_process(path: Path) -> None:
    """As if the driver that lost its database had ended: it could not give its lease back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM optimize_leases")


def move_with_wal(path: Path) -> None:
    for each in path.parent.glob("optuna.db*"):
        each.rename(each.with_name(f"moved-{each.name}"))


def put_back(path: Path) -> None:
    for each in path.parent.glob("moved-*"):
        each.rename(each.with_name(each.name.removeprefix("moved-")))


def replace_by_rename(path: Path) -> None:
    other = path.with_name("other")
    other.mkdir()
    empty_database(other).rename(path)


def make_anew(path: Path) -> None:
    path.unlink()
    empty_database(path.parent)


def link_elsewhere(path: Path) -> None:
    move_with_wal(path)
    path.symlink_to(small_database(path.parent.parent))


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (Path.unlink, "was removed or moved"),
    "moved": (lambda path: path.rename(path.with_name("x")), "was removed or moved"),
    "moved with its wal": (move_with_wal, "was removed or moved"),
    "all runs removed": (lambda path: shutil.rmtree(path.parent), "was removed or moved"),
    "all runs moved": (lambda path: path.parent.rename(path.parent.with_name("x")), "was removed or moved"),
    "replaced": (replace_by_rename, "was replaced by another file"),
    "made anew": (make_anew, "was replaced by another file"),
    "a link to another": (link_elsewhere, "was replaced by another file"),
    "emptied": (lambda path: path.write_bytes(b""), "was emptied"),
}


def goes_on(driver: Driver) -> None:
    """Nothing is missing, and another driver ends the study."""
    assert finished(driver.paths.database) == [*range(AT)]
    end_process(driver.paths.database)
    driver.run(trials=6)
    assert len(finished(driver.paths.database)) == 6


@pytest.mark.parametrize(("happens", "what"), LOSSES.values(), ids=LOSSES)
def test_a_driver_whose_database_is_lost_stops_in_one_line(
    driver: Driver, happens: Callable[[Path], object], what: str
) -> None:
    started: list[int] = []
    run = at(driver, happens)
    with pytest.raises(DatabaseLostError, match=what) as caught:
        driver.run(lambda job: started.append(job.number) or run(job), trials=9)
    assert str(caught.value).startswith(f"{driver.paths.database}: was ")
    assert "\n" not in str(caught.value)
    assert started == [*range(AT + 1)]
    are_left = "are in artifacts/ beside it" in str(caught.value)
    assert are_left == driver.paths.artifacts.exists() != ("files of its trials are gone too" in str(caught.value))


def test_nothing_of_a_lost_study_is_written_where_its_folder_was(driver: Driver) -> None:
    root = driver.paths.root
    with pytest.raises(DatabaseLostError):
        driver.run(at(driver, lambda path: root.rename(root.with_name("moved"))), trials=9)
    assert not root.exists()
    assert finished(root.with_name("moved") / "optuna.db") == [*range(AT)]


def test_a_database_that_is_put_back_goes_on_with_every_trial(driver: Driver) -> None:
    with pytest.raises(DatabaseLostError):
        driver.run(at(driver, move_with_wal), trials=9)
    put_back(driver.paths.database)
    goes_on(driver)


def test_a_file_that_is_back_before_anybody_looks_is_no_loss(driver: Driver) -> None:
    def away_and_back(path: Path) -> None:
        move_with_wal(path)
        put_back(path)

    assert len(driver.run(at(driver, away_and_back), trials=6)[1].ended) == 6


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_a_part_of_the_database_that_is_removed_costs_no_trial(driver: Driver, end: str) -> None:
    def happens(path: Path) -> None:
        path.with_name(path.name + end).unlink()

    with pytest.raises(DatabaseLostError, match=rf"optuna\.db{end}: was removed or replaced"):
        driver.run(at(driver, happens), trials=9)
    goes_on(driver)


def test_a_file_that_is_cut_is_damaged(driver: Driver) -> None:
    def cut(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(size // 2)

    with pytest.raises(StorageError, match="damaged"):
        driver.run(at(driver, cut), trials=9)


def test_a_file_that_another_program_tidies_is_no_loss(driver: Driver) -> None:
    driver.run(trials=1)
    with closing(sqlite3.connect(driver.paths.database)) as connection, connection:
        connection.execute("CREATE TABLE ballast (text)")
        connection.execute("INSERT INTO ballast VALUES (zeroblob(1000000))")

    def tidy(path: Path) -> None:
        before = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DROP TABLE ballast")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < before - 900_000

    assert len(driver.run(at(driver, tidy), trials=6)[1].ended) == 5


def test_an_older_copy_that_is_written_over_the_open_file_is_noticed(tmp_path: Path) -> None:
    """`cp` keeps the inode, and what the driver wrote last lies in the -wal: pages of both would be mixed."""
    path = empty_database(tmp_path)
    add_trials(path, "create")
    kept = path.read_bytes()
    add_trials(path)
    with add_trials(path, "keep open") as database:
        database.study_names()
        with path.open("r+b") as file:
            file.write(kept)
        for _ in range(2):
            with pytest.raises(StorageError, match=r"does not fit its optuna\.db-wal"):
                database.study_names()


def test_a_checkpoint_by_another_program_is_no_loss(tmp_path: Path) -> None:
    path = empty_database(tmp_path)
    with add_trials(path, "create and keep open") as database:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        new_trial(database, 1)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        assert database.counts(1)["COMPLETE"] == KEPT


def test_no_page_is_read_while_a_transaction_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_database(tmp_path)
    read: list[Path] = []
    with add_trials(path, "create and keep open") as database:
        database.study_names()
        monkeypatch.setattr("storage.open_file.refuse_strange_wal", lambda path: read.append(path))
        with database.transaction():
            os.utime(path, (1, 1))  # a checkpoint changes the file
        assert read == []
        database.study_names()
        assert read == [path]


def test_no_new_database_is_made_beside_the_wal_of_a_lost_one(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    path.with_name("optuna.db-wal").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"not here, but its optuna\.db-wal is"):
        open_database(path)
    assert not path.exists()


@pytest.mark.parametrize("empty", [False, True])
def test_a_file_that_was_emptied_does_not_cost_its_wal(tmp_path: Path, empty: bool) -> None:
    path = killed_study(tmp_path)
    wal = path.with_name("optuna.db-wal")
    before = wal.read_bytes()
    path.write_bytes(b"") if empty else path.unlink()
    with pytest.raises(StorageError, match=r"its optuna\.db-wal is"):
        open_database(path)
    assert wal.read_bytes() == before


def test_a_copy_that_was_put_back_is_not_mixed_with_the_wal_of_another_file(tmp_path: Path) -> None:
    path = killed_study(tmp_path)
    wal, kept = path.with_name("optuna.db-wal"), (tmp_path / "kept.db").read_bytes()
    before = wal.read_bytes()
    path.write_bytes(kept)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"does not fit its optuna\.db-wal .* move that -wal away"):
            open_database(path)
        assert (path.read_bytes(), wal.read_bytes()) == (kept, before)
    wal.rename(tmp_path / "wal")
    open_database(path).close()
    assert finished(path) == [*range(KEPT)]


@pytest.mark.parametrize("name", ["cpu", "other"])
def test_the_database_of_another_study_is_not_replaced_by_a_wal_that_has_every_page(tmp_path: Path, name: str) -> None:
    path = killed_study(tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    with add_trials(ours / "optuna.db", "create and keep open"):  # each has an id of its own: no copies of one file
        shutil.copyfile(ours / "optuna.db-wal", path.with_name("optuna.db-wal"))
    with closing(open_database(theirs / "optuna.db")) as database:
        new_trial(database, database.create_study(name, "minimize", "val_bpb"))
    shutil.copyfile(theirs / "optuna.db", path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"does not fit its optuna\.db-wal"):
        open_database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("trials", [0, 1, KEPT])
def test_a_database_opens_after_its_last_study_was_deleted_while_it_was_open(tmp_path: Path, trials: int) -> None:
    path = tmp_path / "optuna.db"
    with closing(open_database(path)) as database:
        study = database.create_study("cpu", "minimize", "val_bpb")
        for _ in range(trials):
            new_trial(database, study)
    with closing(open_database(path)) as dashboard, closing(open_database(path)) as cleaner:
        assert dashboard.study_names() == ["cpu"]
        cleaner.delete_study("cpu")
        left_by_a_kill(path, tmp_path / "deleted")
        new_trial(cleaner, cleaner.create_study("cpu", "minimize", "val_bpb"))
        left_by_a_kill(path, tmp_path / "again")
        with closing(open_database(path)) as another:
            assert another.study_names() == ["cpu"]
    for name, studies in (("deleted", []), ("again", ["cpu"])):
        with closing(open_database(tmp_path / name / "optuna.db")) as database:
            assert database.study_names() == studies


def test_an_earlier_start_that_another_program_tells_makes_no_database_strange(tmp_path: Path) -> None:
    path = small_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")  # as an earlier release made it
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "INSERT INTO trials SELECT 9, 1, study_id, state, '2001-01-01', datetime_complete FROM trials"
        )
        connection.commit()
        left_by_a_kill(path, tmp_path / "left")
    open_database(tmp_path / "left" / "optuna.db").close()


@pytest.mark.parametrize("trials", [0, 1, 3])
def test_a_short_wal_of_another_database_is_refused_too(tmp_path: Path, trials: int) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, name in ((ours, "cpu"), (theirs, "other")):
        with closing(open_database(folder / "optuna.db")) as database:
            study = database.create_study(name, "minimize", "val_bpb")
            for _ in range(trials):
                new_trial(database, study)
            left_by_a_kill(folder / "optuna.db", tmp_path / name)
    shutil.copyfile(theirs / "optuna.db", tmp_path / "cpu" / "optuna.db")
    with pytest.raises(StorageError, match="studies of one are not those of the other"):
        open_database(tmp_path / "cpu" / "optuna.db")


def left_by_a_kill(path: Path, folder: Path) -> None:
    """Copy the files of an open database as they would be if all that have it open died now."""
    folder.mkdir()
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", folder / f"{path.name}{end}")


def test_a_wal_of_a_driver_that_died_is_taken_in(tmp_path: Path) -> None:
    path = killed_study(tmp_path)
    open_database(path).close()
    assert finished(path) == [*range(3 * KEPT)]


def killed_study(folder: Path) -> Path:
    """A study whose last driver died, so that its -wal is there; beside it a copy from before the last but one."""
    path = empty_database(folder)
    add_trials(path, "create")
    shutil.copyfile(path, folder / "kept.db")
    add_trials(path)
    other = folder / "living"
    other.mkdir()
    shutil.copyfile(path, other / "optuna.db")
    with add_trials(other / "optuna.db", "keep open"):  # a copy of the files of an open database is what a kill leaves
        for each in other.glob("optuna.db*"):
            shutil.copyfile(each, path.with_name(each.name))
    path.with_name("optuna.db-shm").unlink()
    return path


def add_trials(path: Path, how: str = "") -> closing[Database]:
    database = open_database(path)
    if how.startswith("create"):
        database.create_study("cpu", "minimize", "val_bpb")
    for _ in range(KEPT):
        database.finish_trial(new_trial(database, 1, origin={"kind": "sampler"}), "COMPLETE", 1.0)
    if not how.endswith("keep open"):
        database.close()
    return closing(database)
