"""How a database is addressed and what others see in it: URLs and their secrets, times, the dashboard."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from storage import StorageError, open_database
from storage.url import parse_address
from tests.databases import PARAMS, new_trial, small_database

ROOT = Path(__file__).parent.parent
SECRET = "s3cr3t/?#"
QUOTED = "s3cr3t%2F%3F%23"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return small_database(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{QUOTED}@127.0.0.1:1/studies",
        f"postgresql+nodriver://me:{QUOTED}@127.0.0.1:1/studies",
        f"postgresql://me:{QUOTED}@127.0.0.1:port/studies",
        f"postgresql://127.0.0.1:1/studies?user=me&password={QUOTED}",
        f"postgresql://me:half@{QUOTED}@127.0.0.1/studies",
        f"postgres://me:{QUOTED}@127.0.0.1/studies",
        f"mysql://me:{QUOTED}@127.0.0.1/studies",
        f"://me:{QUOTED}@127.0.0.1/studies",
    ],
)
def test_a_url_that_does_not_work_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(url, retry_s=0)
    text = str(caught.value)
    assert "s3cr3t" not in text
    assert "half" not in text
    assert "\n" not in text
    assert ". " in text  # what to do


def test_an_address_shows_everything_but_its_secrets() -> None:
    address = parse_address(f"postgresql://me:{QUOTED}@host:5432/studies?sslpassword=key&sslmode=require")
    assert address.shown == "postgresql://me:***@host:5432/studies?sslmode=require&sslpassword=***"
    assert "s3cr3t" not in repr(address)
    assert address.scrub(f"no: {SECRET} nor {QUOTED}") == "no: *** nor ***"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=ro&uri=true"])
def test_a_database_that_forgets_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="a file that outlives it"):
        open_database(url)


@pytest.mark.slow
def test_times_are_utc_wherever_the_machine_is(path: Path) -> None:
    program = (
        "import os, sys, time; from storage import open_database, read_records; database = open_database(sys.argv[1])\n"
        "for os.environ['TZ'] in ('UTC', 'America/New_York', 'Asia/Kolkata'):\n"
        "    time.tzset()\n"
        "    trial = database.create_trial(1, state='RUNNING', params={}, choices={})\n"
        "    database.finish_trial(trial.trial_id, 'FAIL')\n"
        "    record = read_records(database, 1)[-1]\n"
        "    print(time.timezone, record.started.isoformat(), record.finished.isoformat())"
    )
    before = datetime.now(UTC)
    lines = _python(program, path).splitlines()
    after = datetime.now(UTC)
    assert [line.split()[0] for line in lines] == ["0", "18000", "-19800"]
    with closing(sqlite3.connect(path)) as connection:
        raw = [row[0] for row in connection.execute("SELECT datetime_complete FROM trials ORDER BY trial_id")][-3:]
    for line, complete in zip(lines, raw, strict=True):
        started, finished = map(datetime.fromisoformat, line.split()[1:])
        assert before <= started <= finished == datetime.fromisoformat(complete).replace(tzinfo=UTC) <= after


def _python(program: str, *arguments: object, **env: str) -> str:
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **env}, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_dashboard_shows_the_study_its_metric_and_its_trials(path: Path) -> None:
    from optuna_dashboard import wsgi

    with closing(open_database(path)) as database:
        database.report(new_trial(database, 1, origin={"kind": "sampler"}), 50, 3.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the dashboard's own
            app = wsgi(database.storage)
            studies = ask_dashboard(app, "/api/studies")["study_summaries"]
            study = ask_dashboard(app, "/api/studies/1", "after=0")
    assert [each["study_name"] for each in studies] == ["cpu"]
    assert study["objective_names"] == ["val_bpb"]
    assert [trial["state"] for trial in study["trials"]] == ["Complete", "Running"]
    assert len(study["trials"][1]["params"]) == len(PARAMS)


def ask_dashboard(app: Any, path: str, query: str = "") -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda *_: None)))
