"""A database that is gone, empty, another one or damaged: one line, and never a new study over what is left of the old."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from optimize.errors import SettingsError
from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from storage import StorageError
from storage.driver_errors import explain
from storage.url import Address
from tests.conftest import Driver
from tests.databases import empty_database
from tests.imports import bring, written


def _another(path: Path) -> None:
    path.unlink()
    empty_database(path.parent)


LOSSES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "another": _another,
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_no_new_study_takes_the_place_of_one_whose_database_is_lost(
    driver: Driver, lose: Callable[[Path], object]
) -> None:
    left = lost(driver, lose)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"holds results of a study that .* does not have") as caught:
            driver.run(trials=3)
        assert str(caught.value).startswith(str(driver.paths.folder))
    assert files(driver) == left
    with driver.database() as database:
        assert database.study_names() == []


def test_another_name_or_a_folder_that_was_moved_away_begins_anew(driver: Driver) -> None:
    lost(driver, Path.unlink)
    driver.set(study="other")
    assert len(driver.run(trials=3)[1].ended) == 3
    driver.set(study="s")
    driver.paths.folder.rename(driver.folder / "moved away")
    assert len(driver.run(trials=3)[1].ended) == 3


def test_nothing_is_brought_in_over_what_is_left_of_a_study(driver: Driver) -> None:
    left = lost(driver, Path.unlink)
    rows = written(
        driver.folder, "results.tsv", "commit\tval_bpb\tmemory_gb\tstatus\tdescription\na1\t1.0\t1\tkeep\tX\n"
    )
    with pytest.raises(SettingsError, match="holds results of a study"):
        bring(driver.folder, rows, "s")
    assert files(driver) == left


def test_a_study_that_was_killed_before_its_first_trial_ended_is_begun_again(driver: Driver) -> None:
    driver.run(trials=0)
    driver.paths.database.unlink()
    assert len(driver.run(trials=3)[1].ended) == 3


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"COMPLETE", b"COMPLETF"),  # no state
        (b'{"kind": "sampler"', b'{"kind": "sampl"r"'),  # no JSON
        (b'{"kind": "sampler"', b'{"kind": "samp\xffer"'),  # no UTF-8
        (b"CREATE TABLE trials", b"CREATE TABLE \xc5rials"),  # no schema
    ],
)
def test_what_was_damaged_inside_a_page_is_one_line_too(driver: Driver, was: bytes, becomes: bytes) -> None:
    driver.run(trials=3)
    path = driver.paths.database
    damaged = path.read_bytes().replace(was, becomes)
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    it_is_damaged(driver)


def test_a_time_that_is_none_is_one_line_too(driver: Driver) -> None:
    driver.run(trials=3)
    with closing(sqlite3.connect(driver.paths.database)) as connection, connection:
        connection.execute("UPDATE trials SET datetime_start = 'x' || substr(datetime_start, 2) WHERE number = 1")
    it_is_damaged(driver)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_PROTOCOL, 5386])
def test_a_disk_without_locks_or_shared_memory_is_named_as_such(tmp_path: Path, code: int) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    path = tmp_path / "optuna.db"
    said = str(explain(Address(shown=str(path), path=path), error))
    assert said.startswith(f"{path}: its disk refuses what a database needs")
    assert "--runs" in said


def it_is_damaged(driver: Driver) -> None:
    """For who goes on with the study, and for who looks at it."""
    with pytest.raises(StorageError, match=r"damaged\. Restore a backup"):
        driver.run(trials=5)
    with pytest.raises(StorageError, match=r"damaged\. Restore a backup"), driver.database() as database:
        find_study(database, "s", driver.paths.root).records()


def lost(driver: Driver, lose: Callable[[Path], object]) -> dict[str, bytes]:
    """What is left of a study of three trials when its database is lost."""
    driver.run(trials=3)
    with driver.database() as database:
        write_views(find_study(database, "s", driver.paths.root))
    lose(driver.paths.database)
    return files(driver)


def files(driver: Driver) -> dict[str, bytes]:
    """The views: what is worth keeping of a folder that a driver locks."""
    folder = driver.paths.folder
    found = [path for path in folder.rglob("*") if path.is_file() and path != driver.paths.lock]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
