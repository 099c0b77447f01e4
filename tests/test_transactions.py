"""Transactions: a lock is taken before anything is read, and a commit whose answer was lost is not repeated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import sqlalchemy.exc

from storage import Database, open_database
from storage.driver_errors import is_harmless
from storage.postgres import _rdb
from storage.url import parse_address
from tests.databases import new_trial, small_database


def test_nobody_writes_between_what_a_transaction_reads_and_what_it_writes(tmp_path: Path) -> None:
    path = small_database(tmp_path)
    with closing(open_database(path)) as database, closing(sqlite3.connect(path, timeout=0)) as other:
        with database.transaction():
            assert len(database.trials(1)) == 1
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def test_a_trial_is_created_once_where_the_answer_to_its_commit_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_database(small_database(tmp_path))) as database:
        commits = lose_the_first_answer(database, monkeypatch)
        made = new_trial(database, 1)
        assert len(commits) == 2
        assert [trial._trial_id for trial in database.trials(1)][1:] == [made]


def lose_the_first_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The first commit happens, and raises all the same."""
    dialect, commits = database._rdb.engine.dialect, []
    commit = dialect.do_commit

    def committing(connection: Any) -> None:
        commit(connection)
        commits.append(connection)
        if len(commits) == 1:
            raise sqlite3.OperationalError("the connection was lost")

    monkeypatch.setattr(dialect, "do_commit", committing)
    return commits


def test_damage_is_not_waited_for_as_a_server_that_is_away() -> None:
    def failed(words: str) -> sqlalchemy.exc.OperationalError:
        return sqlalchemy.exc.OperationalError(None, None, sqlite3.OperationalError(words))

    assert is_harmless(failed("no server answers"))
    assert not is_harmless(failed("Could not decode to UTF-8 column 'value_json'"))


def test_a_password_may_have_braces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.postgres.QuickStorage", lambda url, **options: url)
    url = str(_rdb(parse_address("postgresql://me:a{b}%c@host/db"), complete=True))
    assert sqlalchemy.make_url(url.format(SCHEMA_DIRECTORY="x")).password == "a{b}%c"  # as Optuna reads it
