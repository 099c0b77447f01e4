"""Tables of a newer Optuna are read with a warning and never written, on SQLite and on PostgreSQL; so are old tables under a
newer Optuna. The database is real, its later revision and its new column and table are made up."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi

from storage import StorageError, TrialRecord, check_database, copy_study, open_database, read_foreign, read_records
from storage import revision as revisions
from storage.sql import REVISION, TESTED
from storage.sqlite import rdb_storage
from tests.conftest import Driver
from tests.databases import new_trial, small_database
from tests.postgres import Server
from tests.test_cli import flags, optimize
from tests.test_cli_transfer import has_run
from tests.test_database import ask_dashboard

STAMP = ("UPDATE alembic_version SET version_num = 'v5.3.0.a'",)
MORE = (
    *STAMP,
    "ALTER TABLE trials ADD COLUMN priority INTEGER",
    "ALTER TABLE studies ADD COLUMN team VARCHAR(20) DEFAULT 'none' NOT NULL",
    "CREATE TABLE trial_tags (tag_id INTEGER PRIMARY KEY, trial_id INTEGER, tag TEXT)",
)
CHANGES = pytest.mark.parametrize("changes", [STAMP, MORE], ids=["a later stamp", "a column and a table more"])
WARNING = "a newer Optuna made its tables (revision v5.3.0.a); this release is tested with Optuna 5.0.0. They are read"
REFUSAL = "`pip install 'optuna==5.0.0'`, then take the studies into a new database (`optimize copy --to FILE.db`)"


def change(path: Path, changes: Sequence[str]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in changes:
            connection.execute(statement)


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with one study of one trial."""
    if request.param == "SQLite":
        yield str(small_database(tmp_path))
        return
    server: Server = request.getfixturevalue("postgres")
    with server.database() as url:
        with closing(open_database(url)) as database:
            study_id = database.create_study("cpu", "minimize", "val_bpb")
            database.finish_trial(new_trial(database, study_id), "COMPLETE", 1.0)
        yield url


def make_newer(where: str, changes: Sequence[str], request: pytest.FixtureRequest) -> None:
    if "://" not in where:
        change(Path(where), changes)
    else:
        request.getfixturevalue("postgres").run(*changes, database=where.rpartition("/")[2])


def records_of(where: str) -> list[TrialRecord]:
    with closing(open_database(where, create=False, read_only=True)) as database:
        return read_records(database, database.find_study("cpu") or 0)


@CHANGES
def test_newer_tables_are_read_with_one_warning(
    where: str, changes: Sequence[str], request: pytest.FixtureRequest
) -> None:
    before = records_of(where)
    make_newer(where, changes, request)
    assert records_of(where) == before
    with closing(open_database(where, create=False, read_only=True)) as database:
        (warning,) = database.notices
        assert warning.startswith(database.where)
        assert WARNING in warning
        app = wsgi(database.storage)
        study_id = database.find_study("cpu")
        assert [study["study_name"] for study in ask_dashboard(app, "/api/studies")["study_summaries"]] == ["cpu"]
        assert len(ask_dashboard(app, f"/api/studies/{study_id}", "after=0")["trials"]) == 1
    assert check_database(where, read_only=True) == (warning,)


@CHANGES
def test_newer_tables_are_not_written(where: str, changes: Sequence[str], request: pytest.FixtureRequest) -> None:
    make_newer(where, changes, request)
    for opens in (open_database, check_database):
        with pytest.raises(StorageError, match=re.escape(REFUSAL)) as caught:
            opens(where)
        assert "\n" not in str(caught.value)
    with closing(open_database(where, create=False, read_only=True)) as database:
        for write in (lambda: database.create_study("two", "minimize", "x"), lambda: database.delete_study("cpu")):
            with pytest.raises(StorageError, match=re.escape(REFUSAL)):
                write()
        assert database.study_names() == ["cpu"]


@CHANGES
def test_studies_of_newer_tables_can_be_taken_into_a_new_database(
    where: str, changes: Sequence[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    make_newer(where, changes, request)
    with (
        closing(open_database(where, create=False, read_only=True)) as source,
        closing(open_database(tmp_path / "new.db")) as target,
    ):
        assert copy_study(source, target, "cpu") == 1
        study_id = target.find_study("cpu") or 0
        assert [record.value for record in read_records(target, study_id)] == [1.0]
        new_trial(target, study_id)
    (found,) = read_foreign(where, None, None)
    assert [trial.values for trial in found.trials] == [(1.0,)]
    assert [WARNING in notice for notice in found.notices] == [True]


def test_what_is_tested_is_what_is_pinned() -> None:
    pins = (Path(__file__).parent.parent / "constraints.txt").read_text().splitlines()
    assert f"optuna=={TESTED}" in pins
    assert optuna.__version__ == TESTED


@pytest.fixture
def newer_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An Optuna that is installed and not tested; whether its tables are others is up to the test."""
    monkeypatch.setattr(optuna, "__version__", "5.9.0")
    revisions._revision_of_library.cache_clear()
    yield
    revisions._revision_of_library.cache_clear()


@pytest.mark.usefixtures("newer_library")
def test_a_newer_optuna_with_the_same_tables_is_used(tmp_path: Path) -> None:
    path = small_database(tmp_path)
    with closing(open_database(path)) as database:
        assert database.notices == ()
        database.create_study("two", "minimize", "val_bpb")
    open_database(tmp_path / "new.db").close()


@pytest.mark.usefixtures("newer_library")
def test_a_newer_optuna_with_other_tables_makes_none_and_only_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_database(tmp_path)
    monkeypatch.setattr(RDBStorage, "get_head_version", lambda self: "v5.9.0.a")
    revisions._revision_of_library.cache_clear()
    for refused in (path, tmp_path / "new" / "new.db"):
        with pytest.raises(StorageError, match=re.escape("Install that one: `pip install 'optuna==5.0.0'`")):
            open_database(refused)
        with pytest.raises(StorageError, match=r"Optuna 5\.9\.0 is installed"):
            check_database(refused)
    assert not (tmp_path / "new").exists()
    with closing(open_database(path, create=False, read_only=True)) as database:
        assert "Optuna 5.9.0 is installed, which has other tables" in database.notices[0]
        assert database.study_names() == ["cpu"]


def test_optuna_itself_refuses_a_later_revision_unless_it_is_told_not_to_compare(tmp_path: Path) -> None:
    path = small_database(tmp_path)
    change(path, STAMP)
    with pytest.raises(RuntimeError, match="no longer compatible with the table schema"):
        optuna.load_study(study_name="cpu", storage=f"sqlite:///{path}")
    storage = rdb_storage(path, journal="WAL", complete=True)
    assert storage.get_current_version() == "v5.3.0.a" != REVISION
    assert len(optuna.load_study(study_name="cpu", storage=storage).trials) == 1


@pytest.mark.slow
def test_commands_that_look_go_on_and_commands_that_write_are_refused(driver: Driver) -> None:
    has_run(driver, 3)
    assert optimize(driver, "copy", "--to", "other.db").returncode == 0
    change(driver.paths.database, MORE)
    looking = (
        ("status",), ("status", "--json"), ("show", "1"), ("export",), ("export", "--trial", "1", "--to", "one"),
        ("export", "--bundle", "--to", "all.zip"), ("report",), ("check", *flags(driver)), ("backup", "kept"),
        ("restore", "kept", "--runs", "restored"), ("copy", "--to", "copied/optuna.db"), ("status", "--runs", "copied"),
        ("import", "runs/optuna.db", "--study", "archive", "--runs", "imported"),
    )  # fmt: skip
    for words in looking:
        ended = optimize(driver, *words)
        assert ended.returncode == 0, (words, ended.stderr)
        assert ended.stderr.count(WARNING) == (words[-1] != "copied"), (words, ended.stderr)
    (driver.folder / "other.db").replace(driver.folder / "source.db")
    writing = (
        ("run", "--trust", "--trials", "9", *flags(driver)), ("stop",), ("clean", "--study", "s"),
        ("check", "--repair", *flags(driver)), ("import", "source.db", "--study", "archive"),
        ("copy", "--storage", "sqlite:///source.db", "--to", "runs/optuna.db"),
        ("migrate", "s", "--to", "s2", *flags(driver)[:6]),
    )  # fmt: skip
    for words in writing:
        ended = optimize(driver, *words)
        assert ended.returncode == 2, (words, ended.stderr)
        last = ended.stderr.splitlines()[-1]
        assert re.search(r" optuna==5\.0\.0`, then take .* into a new database \(`optimize copy --to FILE\.db", last), (
            words,
            last,
        )
        assert ended.stderr.count("\n") == 1, (words, ended.stderr)
