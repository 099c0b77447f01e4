"""PostgreSQL keeps the contracts that SQLite keeps, on a real server, and what it refuses is one line."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from optuna_dashboard import wsgi
from typer.testing import CliRunner

from optimize.cli import app
from optimize.errors import StudyError
from optimize.reporting.html import write_report
from storage import Database, StorageError, check_database, open_database
from tests.conftest import Driver
from tests.databases import new_trial
from tests.postgres import Server, free_port
from tests.studies import CHOICES, many_trials, stored_study
from tests.test_cli import flags, optimize, slow_down, start
from tests.test_database import ask_dashboard
from tests.test_database_contract import StorageContract
from tests.test_lease import LeaseContract

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    with postgres.database() as url, closing(open_database(url)) as database:
        yield database


class TestPostgresStorage(StorageContract):
    pass


class TestPostgresLease(LeaseContract):
    pass


def test_a_study_on_a_server_is_reported_as_one_in_a_file(database: Database, tmp_path: Path) -> None:
    study = stored_study(database, tmp_path / "runs", many_trials(30))
    page = write_report(study)[0].read_text()
    assert "because it is out_of_memory" in page
    assert page.count("<svg") == 2 + 1 + len(CHOICES) + 2 + 1


@pytest.fixture
def empty(postgres: Server) -> Iterator[str]:
    """The URL of a database without any table."""
    with postgres.database("template1") as url:
        yield url


def refusal(url: str) -> str:
    """What opening and checking say alike: one line, without the password."""
    told = []
    for attempt in (open_database, check_database):
        with pytest.raises(StorageError) as caught:
            attempt(url)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "\n" not in told[0]
    assert ":***@" in told[0]
    return told[0]


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_server_that_does_not_answer(postgres: Server) -> None:
    assert "no server answers there. Start it" in refusal(f"postgresql://me:s3cr3t@127.0.0.1:{free_port()}/studies")


def test_a_host_that_does_not_exist(postgres: Server) -> None:
    assert "there is no such host" in refusal("postgresql://me:s3cr3t@no-such-host.invalid/studies")


def test_a_wrong_password_is_not_shown(postgres: Server) -> None:
    told = refusal(postgres.url("made", password="s3cr3t"))
    assert "wrong user or password" in told
    assert "s3cr3t" not in told


def test_a_database_that_does_not_exist(postgres: Server) -> None:
    assert "Create it: createdb studies" in refusal(postgres.url("studies"))


def test_an_unknown_option_of_the_url(postgres: Server) -> None:
    assert "an option of the URL is unknown" in refusal(f"{postgres.url('made')}?patience=1")


def test_another_driver_than_psycopg_3(postgres: Server) -> None:
    with pytest.raises(StorageError, match="Write postgresql://"):
        open_database(postgres.url("made").replace("postgresql:", "postgresql+psycopg2:"))


def test_an_empty_database_gets_its_tables_once_however_many_open_it(empty: str) -> None:
    check_database(empty)
    with pytest.raises(StorageError, match="no studies in this database yet"):
        open_database(empty, create=False)
    with ThreadPoolExecutor(6) as together:
        for database in together.map(lambda _: open_database(empty), range(6)):
            assert database.study_names() == []
            database.close()


def test_a_user_without_the_right_to_make_tables(postgres: Server, empty: str) -> None:
    told = refusal(postgres.url(name_of(empty), "guest"))
    assert "guest may make no tables in schema public. As the database's owner: GRANT USAGE, CREATE" in told
    postgres.run("GRANT USAGE, CREATE ON SCHEMA public TO guest", database=name_of(empty))
    open_database(postgres.url(name_of(empty), "guest")).close()


def test_a_user_without_rights_on_the_tables_and_one_who_may_only_read(postgres: Server, database: Database) -> None:
    name = name_of(database.where)
    url = postgres.url(name, "guest")
    assert "permission denied for table" in refusal(url)
    database.create_study("cpu", "minimize", "val_bpb")
    postgres.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", database=name)
    assert "guest may" in refusal(url)
    with closing(open_database(url, create=False)) as looking:
        assert looking.study_names() == ["cpu"]
        with pytest.raises(StorageError, match="permission denied for table"):
            looking.set_study_attr(1, "x", 1)


@pytest.mark.parametrize(
    ("revision", "told"), [("v2.6.0.a", "of an older Optuna"), ("v9.9.9.a", "a newer Optuna made its tables")]
)
def test_tables_of_another_release(postgres: Server, database: Database, revision: str, told: str) -> None:
    name = name_of(database.where)
    postgres.run(f"UPDATE alembic_version SET version_num = '{revision}'", database=name)
    assert told in refusal(postgres.url(name))


@pytest.mark.parametrize("table", ["studies (x int)", "alembic_version (version_num text)"])
def test_another_programs_tables_are_left_alone(postgres: Server, empty: str, table: str) -> None:
    postgres.run(f"CREATE TABLE {table}", database=name_of(empty))
    assert "another program has tables of these names here" in refusal(empty)
    with pytest.raises(StorageError, match="another program"):
        open_database(empty, create=False)


def test_a_standby_is_named_as_such(postgres: Server, empty: str) -> None:
    postgres.run(f"ALTER DATABASE {name_of(empty)} SET default_transaction_read_only = on")
    assert "Name the primary" in refusal(empty)


def test_a_missing_driver_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import storage\n"
        "try: storage.open_database('postgresql://me@127.0.0.1:1/studies')\n"
        "except storage.StorageError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == (
        "postgresql://me@127.0.0.1:1/studies: psycopg is not installed. Run `pip install 'psycopg[binary]>=3.2'`\n"
    )


def test_a_backup_is_made_by_the_servers_own_tool(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="pg_dump"):
        database.backup(tmp_path / "copy.db")


@pytest.fixture
def study(driver: Driver, database: Database, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """The tiny study of the other tests, its database named by the environment."""
    monkeypatch.chdir(driver.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(driver.folder / "config"))
    monkeypatch.setenv("OPTIMIZE_STORAGE_URL", postgres.url(name_of(database.where)))
    return driver


def command(*words: str) -> str:
    """What a command of ours prints, in this process."""
    ended = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.output


def test_every_command_works_on_a_study_on_a_server(study: Driver, database: Database) -> None:
    assert "3 trials are done" in command("run", "--trust", *flags(study), "--trials", "3")
    assert database.counts(1)["COMPLETE"] == 3
    assert "best" in command("status")
    assert "--- a/train.py" in command("show", "1")
    assert "results.tsv" in command("export")
    assert "a database by URL" in command("check", *flags(study))
    assert "nothing was broken" in command("check", "--repair", *flags(study))
    with pytest.raises(StudyError, match="no process drives it"):
        command("stop")
    with pytest.raises(StorageError, match="pg_dump"):
        command("backup", "kept")
    with pytest.raises(StorageError, match="pg_dump"):
        command("run", "--trust", *flags(study), "--trials", "4", "--backup", "kept")
    assert "study s: deleted\n" in command("clean", "--study", "s", "--yes")
    assert list((study.folder / "runs" / "artifacts").iterdir()) == []


def test_a_study_on_a_server_is_stopped_from_another_terminal(study: Driver) -> None:
    slow_down(study, 0.2)
    process = start(study)
    assert "was asked to stop" in command("stop")
    out, _ = process.communicate(timeout=60)
    assert "optimize stop" in out


@pytest.mark.parametrize("words", [["run", "--trust"], ["check"]])
def test_what_a_server_refuses_is_told_before_any_trial(
    study: Driver, postgres: Server, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIMIZE_STORAGE_URL", postgres.url("made", password="s3cr3t"))
    ended = optimize(study, *words, *flags(study))
    assert ended.returncode == 2
    assert "wrong user or password" in ended.stderr.splitlines()[-1]
    assert "s3cr3t" not in ended.stderr + ended.stdout
    assert not (study.folder / "runs" / "artifacts").exists()


def test_the_dashboard_shows_a_study_on_a_server(database: Database) -> None:
    study_id = database.create_study("cpu", "minimize", "val_bpb")
    database.finish_trial(new_trial(database, study_id), "COMPLETE", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dashboard's own
        app = wsgi(database.storage)
        (listed,) = ask_dashboard(app, "/api/studies")["study_summaries"]
        shown = ask_dashboard(app, f"/api/studies/{study_id}", "after=0")
    assert listed["study_name"] == "cpu"
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"]
