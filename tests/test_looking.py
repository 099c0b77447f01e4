"""A `runs/` that cannot be written, such as another user's or an unpacked bundle, can be looked at, and is left as it was."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import sqlite3
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest

from optimize.commands.manage import export, report
from optimize.errors import StudyError
from optimize.reporting.dashboard import dashboard_app
from optimize.reporting.four_facts import four_facts
from optimize.reporting.html import write_report
from optimize.reporting.standing import read_standing
from optimize.reporting.terminal import writable
from optimize.study.stored import find_study
from optimize.transfer.bundle import write_bundle
from storage import Database, StorageError, check_database, copy_study, open_database, restore_backup
from storage.completion import complete_studies
from storage.sqlite_copies import copy_online
from tests.databases import empty_database, new_trial, small_database
from tests.imports import optuna_4
from tests.studies import many_trials, stored_study

TRIALS = 6


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, with one that they may write into."""
    folder = Path(tempfile.mkdtemp(prefix="looking-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def runs(place: Path) -> Path:
    runs = place / "runs"
    runs.mkdir()
    with closing(open_database(empty_database(runs))) as database:
        stored_study(database, runs, many_trials(TRIALS, failing=0))
    return runs


def as_another_user(runs: Path, look: Callable[[], Sequence[str]]) -> list[str]:
    """What `look` returns in a process that cannot write into `runs`; what it imports must have been imported before."""
    for each in (runs, *runs.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setresgid(*[nobody.pw_gid] * 3)
                os.setresuid(*[nobody.pw_uid] * 3)
            told = list(look())
        except BaseException:
            told = [traceback.format_exc()]
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = json.load(pipe)
    os.waitpid(child, 0)
    for each in (runs, *runs.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    return [str(line) for line in told]


def add_trial(database: Database) -> None:
    database.create_trial(1, state="RUNNING", params={}, choices={})


def contents(runs: Path) -> dict[str, str]:
    """The files there, but for SQLite's -shm: it has locks."""
    files = (path for path in runs.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(runs)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def numbers(runs: Path) -> list[str]:
    """The trials that a look at `runs` finds."""
    with closing(open_database(runs / "optuna.db", create=False, read_only=True)) as database:
        stored = find_study(database, "s", runs)
        best = stored.best()
        assert best is not None
        assert (stored.texts(best.record), stored.is_driven()) == ({}, False)
        return [str(record.number) for record in stored.records()]


def test_no_step_is_offered_that_would_write_where_nothing_can_be_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered() -> list[str]:
        monkeypatch.chdir(runs)
        with closing(open_database(runs / "optuna.db", create=False, read_only=True)) as database:
            standing = read_standing(find_study(database, "s", runs))
        return [*(command.split()[1] for _, command in four_facts(standing).commands), writable("trial-1")]

    monkeypatch.chdir(runs)
    assert offered() == ["confirm", "space", "migrate", "trial-1"]
    assert as_another_user(runs, offered) == ["show", "copy", f"{tempfile.gettempdir()}/trial-1"]


@pytest.mark.parametrize("left", [(), ("-wal", "-shm"), ("-wal",), ("-journal",)])
def test_a_database_that_cannot_be_written_is_read_whatever_lies_beside_it(
    runs: Path, place: Path, left: tuple[str, ...]
) -> None:
    expected = [str(number) for number in range(TRIALS + ("-wal" in left))]
    if left:
        beside = place / "beside"
        beside.mkdir()
        shutil.copy(runs / "optuna.db", beside)
        with closing(open_database(beside / "optuna.db")) as database:  # a copy of open files is what a kill leaves
            add_trial(database)
            for end in left:
                if end != "-journal":
                    shutil.copyfile(beside / f"optuna.db{end}", runs / f"optuna.db{end}")
    if left == ("-journal",):
        _leave_journal(runs / "optuna.db")
    before = contents(runs)
    assert as_another_user(runs, lambda: numbers(runs)) == expected
    assert as_another_user(runs, lambda: complete_studies(runs / "optuna.db")) == ["s"]
    assert contents(runs) == before


def _leave_journal(path: Path) -> None:
    """As a driver leaves it that is killed in the middle of a transaction, on a disk without WAL."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for order in ("journal_mode = DELETE", "cache_size = 1"):
            connection.execute(f"PRAGMA {order}")
        connection.execute("BEGIN")
        connection.execute("UPDATE trials SET number = number + 100")
        connection.execute(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, 'x', zeroblob(90000))"
        )
        found = [(each, each.read_bytes()) for each in path.parent.glob("optuna.db*")]
    for each, content in found:
        each.write_bytes(content)
    assert path.with_name("optuna.db-journal").stat().st_size


def test_while_another_user_drives_the_study_each_look_sees_the_latest(runs: Path) -> None:
    with closing(open_database(runs / "optuna.db")) as database:
        add_trial(database)
        assert as_another_user(runs, lambda: numbers(runs)) == [str(number) for number in range(TRIALS + 1)]
        add_trial(database)
        assert as_another_user(runs, lambda: numbers(runs)) == [str(number) for number in range(TRIALS + 2)]


def test_what_is_looked_at_is_written_elsewhere(runs: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.reporting.html.draw_all", lambda facts: {})  # figures take seconds

    def look() -> Sequence[str]:
        with closing(open_database(runs / "optuna.db", create=False, read_only=True)) as database:
            stored, lines = find_study(database, "s", runs), []
            lines += [path.name for path in write_report(stored, place / "out" / "report")[:1]]
            lines += [write_bundle(stored, place / "out" / "s.zip", False, lines.append).name]
            for write in (lambda: write_report(stored), lambda: database.set_study_attr(1, "x", 1)):
                with pytest.raises((StudyError, StorageError)) as caught:
                    write()
                lines.append(str(caught.value))
            for command in (report, export):
                with pytest.raises(StudyError, match="Write elsewhere") as refused:
                    command(None, None, runs)
                lines.append(str(refused.value))
        return lines

    with closing(open_database(runs / "optuna.db")) as database:  # imports what the child cannot
        stored = find_study(database, "s", runs)
        write_bundle(stored, place / "warm.zip", False, print)
        write_report(stored, place / "warm")
    before = contents(runs)
    elsewhere = "s: not writable. Write elsewhere: `optimize"
    assert [line.replace(f"{runs}/", "") for line in as_another_user(runs, look)] == [
        "report.html",
        "s.zip",
        f"{elsewhere} report --study s --to DIR`",
        "optuna.db: not writable. Change the permissions of the database and of its folder",
        f"{elsewhere} report --study s --to DIR`",
        f"{elsewhere} export --study s --bundle --to FILE.zip`",
    ]
    assert contents(runs) == before


def test_the_dashboard_of_what_cannot_be_written_shows_it_and_changes_nothing(runs: Path) -> None:
    artifacts = runs / "artifacts"

    def look() -> list[str]:
        with closing(open_database(runs / "optuna.db", create=False, read_only=True)) as database:
            app, answers = dashboard_app(database, artifacts), []
            for method, path in (("GET", "/api/studies"), ("DELETE", "/api/studies/1")):
                environ: dict[str, object] = {"PATH_INFO": path, "REQUEST_METHOD": method}
                setup_testing_defaults(environ)
                text = b"".join(app(environ, lambda status, *_: answers.append(status)))
                answers.append(str("study_name" in str(text) or json.loads(text)["reason"]).replace(f"{runs}/", ""))
            return answers

    with closing(open_database(runs / "optuna.db")) as database:
        dashboard_app(database, artifacts)
    artifacts.rmdir()
    refusal = "optuna.db: not writable. Change the permissions of the database and of its folder"
    assert as_another_user(runs, look) == ["200 OK", "True", "403 Forbidden", refusal]


@pytest.mark.parametrize("left", ["-wal", "-journal"])
def test_no_database_is_made_or_copied_beside_what_another_one_left(tmp_path: Path, left: str) -> None:
    path = tmp_path / "new" / "optuna.db"
    path.parent.mkdir()
    source = small_database(tmp_path)
    for end in (left, "-shm"):
        path.with_name(f"optuna.db{end}").write_bytes(b"of another")
    for make in (open_database, check_database, lambda to: copy_online(source, to)):
        with pytest.raises(StorageError, match=rf"its optuna\.db{left} and optuna\.db-shm are.*or move"):
            make(path)
    assert not path.exists()
    path.with_name(f"optuna.db{left}").unlink()  # a -shm alone harms nothing: SQLite makes it anew
    open_database(path).close()


def test_a_backup_that_was_worked_on_is_restored_with_what_came_after_it(tmp_path: Path) -> None:
    backup, used = tmp_path / "backup", tmp_path / "used"
    for folder in (backup, used):
        folder.mkdir()
    with closing(open_database(small_database(used))) as database:
        new_trial(database, 1)
        for each in used.glob("optuna.db*"):
            shutil.copyfile(each, backup / each.name)
    assert restore_backup(backup, tmp_path / "runs").trials == 2


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_times_of_optuna_4_are_local_and_ours_in_its_database_are_utc(tmp_path: Path) -> None:
    with closing(open_database(optuna_4(tmp_path))) as database:
        (notice,) = database.notices
        assert "Optuna 4.5.0 made it, and kept local times" in notice
        stored = stored_study(database, tmp_path, many_trials(2))
        night = find_study(database, "night", tmp_path)
        attrs = database.trials(night.study_id)[-1].user_attrs
        true = datetime.fromisoformat(next(value for value in attrs.values() if str(value).startswith("20")))
        assert night.records()[-1].started == true.astimezone(UTC)
        assert stored.records()[0].started == many_trials(1)[0].started.replace(tzinfo=UTC)  # type: ignore[union-attr]
        with closing(open_database(tmp_path / "copy.db")) as target:
            for before in (night, stored):
                copy_study(database, target, before.name)
                after = find_study(target, before.name, tmp_path)
                assert [r.started for r in after.records()] == [r.started for r in before.records()]
            assert target.notices == ()
