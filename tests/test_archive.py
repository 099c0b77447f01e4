"""Bundles and backups on disks that are full, read-only or elsewhere: whole, or one line and nothing left behind."""

from __future__ import annotations

import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimize.study.stored import find_study
from optimize.transfer.bundle import write_bundle
from optimize.transfer.repair import back_up
from storage import StorageError, StorageFullError, open_database, restore_backup
from tests.conftest import Driver
from tests.disks import as_nobody, mounting, read_only, small_disk

Write = Callable[[Path, Path], object]


@pytest.fixture
def place(driver: Driver) -> Iterator[Path]:
    """A folder that everybody may enter, with the runs of a study."""
    driver.run(trials=3)
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(driver.settings.runs, Path(name) / "runs")
        for path in (Path(name), *Path(name).rglob("*")):
            path.chmod(0o777)
        yield Path(name)


def bundle(runs: Path, to: Path | None) -> Path:
    with closing(open_database(runs / "optuna.db", create=False)) as database:
        return write_bundle(find_study(database, "s", runs), to, True, lambda _: None)


def backup(runs: Path, to: Path) -> str:
    with closing(open_database(runs / "optuna.db", create=False)) as database:
        return back_up(database, runs / "artifacts", to)


both = pytest.mark.parametrize(("write", "name"), [(bundle, "new.zip"), (backup, "new")], ids=["bundle", "backup"])


def refused(write: Write, runs: Path, to: Path) -> str:
    with pytest.raises(StorageError) as caught:
        write(runs, to)
    line = str(caught.value)
    assert "\n" not in line
    assert ".tmp" not in line  # where it was made is nobody's business
    return line


def folder(at: Path, mode: int = 0o777) -> Path:
    at.mkdir()
    at.chmod(mode)
    return at


@both
@pytest.mark.parametrize("mode", [0o555, 0o333, 0o000], ids=["read only", "write only", "closed"])
def test_a_folder_that_lets_nobody_in_is_one_line(place: Path, write: Write, name: str, mode: int) -> None:
    there = folder(place / "there", mode)
    with as_nobody():
        line = refused(write, place / "runs", there / name)
    assert line.startswith(str(there))
    assert "not writable. Change its permissions" in line
    there.chmod(0o777)
    assert list(there.iterdir()) == []


@both
@pytest.mark.parametrize("what", ["a link to nothing", "a link to itself", "a file", "a long name"])
def test_a_target_that_cannot_be_is_one_line(place: Path, write: Write, name: str, what: str) -> None:
    there = folder(place / "there")
    to = there / name
    if what == "a link to nothing":
        to.symlink_to(place / "nowhere")
    elif what == "a link to itself":
        (there / "loop").symlink_to(there / "loop")
        to = there / "loop" / name
    elif what == "a file":
        (there / "file").touch()
        to = there / "file" / name
    else:
        to = there / ("x" * 300 + name)
    before = sorted(there.iterdir())
    assert str(there) in refused(write, place / "runs", to)
    assert sorted(there.iterdir()) == before
    assert not (place / "nowhere").exists()


@both
def test_a_link_to_a_folder_is_that_folder(place: Path, write: Write, name: str) -> None:
    there = folder(place / "there")
    (place / "link").symlink_to(there)
    write(place / "runs", place / "link" / name)
    assert [path.name for path in there.iterdir()] == [name]


def test_bundles_of_the_same_second_have_each_a_name(place: Path) -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(bundle(place / "runs", None))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 3
    assert sorted(path for path in (place / "runs" / "s").iterdir() if "bundle" in path.name) == sorted(made)
    assert [zipfile.ZipFile(path).testzip() for path in made] == [None] * 3


@mounting
@pytest.mark.slow
@both
def test_a_disk_that_is_full_in_the_middle_is_one_line_and_holds_nothing(place: Path, write: Write, name: str) -> None:
    """Each size ends the making at another step; the last is enough."""
    ends = []
    for size in (64, 112, 160, 208, 240, 8_000):
        with small_disk(place / "disk", f"{size}k") as disk:
            try:
                write(place / "runs", disk / name)
                line = ""
            except StorageFullError as error:
                line = str(error)
            assert [path.name for path in disk.iterdir()] == ([] if line else [name])
            assert line in ("", f"{disk}: no space left. Free some, or name another disk; nothing was written")
            ends.append(bool(line))
    assert (ends[0], ends[-1]) == (True, False)


@mounting
@both
def test_runs_that_are_read_only_are_one_line(place: Path, write: Write, name: str) -> None:
    there = folder(place / "there")
    with read_only(place / "runs"):
        assert "optuna.db: not writable" in refused(write, place / "runs", there / name)
    assert list(there.iterdir()) == []


@mounting
def test_a_backup_that_does_not_fit_is_restored_nowhere(place: Path) -> None:
    backup(place / "runs", place / "kept")
    for size in ("32k", "200k"):
        with small_disk(place / "disk", size) as disk:
            with pytest.raises(StorageFullError, match=r"/disk/runs: no space left\. Free some, or restore") as caught:
                restore_backup(place / "kept", disk / "runs")
            assert "\n" not in str(caught.value)
            assert list(disk.iterdir()) == []


def test_a_backup_that_nobody_may_read_is_one_line(place: Path) -> None:
    closed = folder(place / "closed", 0)
    with as_nobody(), pytest.raises(StorageError, match="/closed: ") as caught:
        restore_backup(closed, place / "restored")
    assert "\n" not in str(caught.value)
