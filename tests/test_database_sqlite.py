"""What only a SQLite file is: created, foreign, damaged, copied, or on a file system without WAL."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage import StorageError, open_database
from storage.sql import REVISION
from storage.sqlite import without_wal
from tests.databases import PARAMS, new_trial, small_database

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/export /mnt/shared\\040data nfs4 rw 0 0
//nas/x /mnt/nas cifs rw 0 0
sshfs#host: /mnt/ssh fuse.sshfs rw 0 0
host /mnt/wsl 9p rw 0 0
/dev/vdb /mnt/nas/local xfs rw 0 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_database(tmp_path)


def test_a_path_and_a_sqlite_url_name_the_same_file(path: Path) -> None:
    for where in (path, str(path), f"sqlite:///{path}"):
        with closing(open_database(where)) as database:
            assert database.study_names() == ["cpu"]
            assert database.where == str(path)


@pytest.mark.parametrize("name", ["with space.db", "{braces} 100%.db", 'quote\'d "x".db', "ünï?#&=.db"])
def test_any_path_can_hold_a_database(tmp_path: Path, name: str) -> None:
    with closing(open_database(tmp_path / name)) as database:
        database.create_study("cpu", "minimize", "val_bpb")
    assert (tmp_path / name).read_bytes().startswith(b"SQLite format 3")
    assert sorted(each.name for each in tmp_path.iterdir()) == [name]


def test_a_database_is_durable_and_waits_for_locks(path: Path) -> None:
    with closing(open_database(path)) as database:
        assert database.notices == ()
        assert database.rows(sqlalchemy.text("PRAGMA journal_mode")) == [("wal",)]
        assert database.rows(sqlalchemy.text("PRAGMA synchronous")) == [(2,)]
        assert database.rows(sqlalchemy.text("PRAGMA busy_timeout")) == [(30_000,)]


def test_the_installed_optuna_asks_for_trials_where_we_answer(path: Path) -> None:
    """Else the dashboard is slow, not wrong: see `QuickStorage`."""
    asked: list[int] = []
    with closing(open_database(path)) as database:
        answer = database._rdb._get_trials
        database._rdb._get_trials = lambda *given, **named: asked.append(1) or answer(*given, **named)  # type: ignore
        database.storage.get_all_trials(1)
    assert "_get_trials" in vars(type(database._rdb))
    assert asked


def test_the_installed_optuna_has_the_tables_that_we_write(path: Path) -> None:
    with closing(open_database(path)) as database:
        assert database._rdb.get_head_version() == REVISION


def test_nothing_is_created_where_nothing_should_be(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no database here yet\. Start a study first"):
        open_database(tmp_path / "optuna.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    path.touch()  # as optuna-dashboard leaves one
    with closing(open_database(path)) as database:
        assert database.study_names() == []


def test_a_database_whose_creation_was_killed_half_way_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    with closing(open_database(path)) as database:
        assert database.study_names() == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute("DROP TABLE trial_values")
    with closing(open_database(path)) as database:
        database.finish_trial(new_trial(database, database.create_study("cpu", "minimize", "val_bpb")), "COMPLETE", 1.0)


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_text(path: Path) -> None:
    path.write_text("not a database, but longer than its header would be\n" * 3)


def _someone_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def _a_damaged_one(path: Path) -> None:
    with closing(open_database(path)) as database:
        for number in range(20):
            database.create_study(f"study {number}", "minimize", "val_bpb", {"filler": "x" * 500})
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


def _of_a_version(version: str, path: Path) -> None:
    with closing(open_database(path)):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def _a_newer_one(path: Path) -> None:
    _of_a_version("v9.0.0.a", path)


def _an_older_one(path: Path) -> None:
    _of_a_version("v2.4.0.a", path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_a_folder, "a folder, not a database"),
        (_a_text, "not a SQLite database"),
        (_someone_elses, "a database, but not Optuna's"),
        (_a_damaged_one, "damaged"),
        (_a_newer_one, "a newer Optuna made its tables"),
        (_an_older_one, "of an older Optuna"),
    ],
)
def test_what_is_not_our_database_is_refused_in_one_line_and_left_as_it_was(
    tmp_path: Path, make: Any, message: str
) -> None:
    path = tmp_path / "optuna.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StorageError, match=message) as caught:
        open_database(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_one_line(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="not writable"):
            open_database(path)
        with pytest.raises(StorageError, match="not writable"):
            open_database(path.parent / "new" / "optuna.db")
    finally:
        path.parent.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Check that the path is right"):
        open_database(tmp_path / "file" / "runs" / "optuna.db")


@pytest.mark.slow
def test_two_that_create_the_same_database_get_the_same(tmp_path: Path) -> None:
    path, ids = tmp_path / "optuna.db", []

    def create(name: str) -> None:
        with closing(open_database(path)) as database:
            ids.append(database.create_study(name, "minimize", "val_bpb"))

    threads = [threading.Thread(target=create, args=(f"study{each}",)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(open_database(path)) as database:
        assert sorted(database.study_names()) == [f"study{each}" for each in range(4)]
    assert [each.name for each in tmp_path.iterdir()] == ["optuna.db"]


@pytest.mark.slow
def test_a_copy_is_consistent_while_a_study_writes(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backups" / "copy.db"
    with closing(open_database(path)) as database:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                database.finish_trial(new_trial(database, 1), "COMPLETE", 1.0)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                database.backup(copy)
                with closing(open_database(copy)) as copied:
                    assert copied.integrity_check() == []
                    assert all(len(trial.params) == len(PARAMS) for trial in copied.trials(1))
        finally:
            stop.set()
            thread.join()
    assert [each.name for each in copy.parent.iterdir()] == ["copy.db"]


def test_a_copy_never_replaces_a_database_in_use(path: Path, tmp_path: Path) -> None:
    with closing(open_database(path)) as database, closing(open_database(tmp_path / "other.db")) as other:
        other.create_study("x", "minimize", "val_bpb")
        for taken in (path, tmp_path / "other.db", tmp_path):
            with pytest.raises(StorageError, match="Choose another name"):
                database.backup(taken)


def test_damage_inside_is_found_and_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'ix_trials_study_id'")
    with closing(open_database(path, check=False)) as database:
        assert database.integrity_check()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/runs/optuna.db", None),
        ("/dev/shm/optuna.db", None),
        ("/mnt/shared data/runs/optuna.db", "nfs4"),
        ("/mnt/nas/optuna.db", "cifs"),
        ("/mnt/nas/local/optuna.db", None),
        ("/mnt/ssh/optuna.db", "fuse.sshfs"),
        ("/mnt/wsl/optuna.db", "9p"),
        ("/mnt/wsl2/optuna.db", None),
    ],
)
def test_network_file_systems_are_told_from_local_ones(path: str, kind: str | None) -> None:
    assert without_wal(Path(path), MOUNTS) == kind


def test_on_a_network_file_system_there_is_no_wal_and_it_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.without_wal", lambda path: "nfs4")
    with closing(open_database(path)) as database:
        assert "nfs4, where WAL is not safe" in database.notices[0]
        assert database.rows(sqlalchemy.text("PRAGMA journal_mode")) == [("delete",)]
        database.report(new_trial(database, 1), 50, 1.0)
        assert database.rows(sqlalchemy.text("PRAGMA synchronous")) == [(2,)]
