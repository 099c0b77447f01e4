"""A study copied to another database and back is the same study: every row, every file; and it is all or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import create_trial

from optimize.config.environment import copy_url
from optimize.errors import StudyBusyError, StudyError
from optimize.transfer.copy import Place, copy_to
from storage import Artifacts, Database, StorageError, acquire, copy_study, open_database
from storage.sql import LEASES, OPTUNAS
from tests.conftest import Driver
from tests.databases import empty_database, new_trial
from tests.postgres import Server

STUDY_TABLES = ("study_directions", "study_user_attributes", "study_system_attributes")
FILES = {"train.py": "DEPTH = 8\n", "log.txt": b"\xff\x00 step 1\n", "train.patch": "--- a\n+++ b\n"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """A SQLite database in a runs folder, with a study of everything that a study can hold, and another one."""
    runs = tmp_path / "runs"
    runs.mkdir()
    with closing(open_database(empty_database(runs))) as database:
        fill(database, Artifacts(runs / "artifacts", database), "night")
        fill(database, Artifacts(runs / "artifacts", database), "other")
        yield Place(database, runs)


def fill(database: Database, artifacts: Artifacts, name: str) -> None:
    study_id = database.create_study(
        name, "maximize", "accuracy", {"fingerprint": {"script": "äöü \x00"}, "seed": None}
    )
    new_trial(database, study_id, "WAITING", origin={"kind": "baseline"})
    for state, value in (("COMPLETE", 0.1 + 0.2), ("PRUNED", None), ("FAIL", None), ("COMPLETE", -1e-300)):
        trial_id = new_trial(database, study_id, origin={"kind": "sampler"})
        for step, loss in ((5, 3.5), (10, math.nan), (20, math.inf), (30, -math.inf)):
            database.report(trial_id, step, loss)
        kept = artifacts.write(FILES)
        database.finish_trial(trial_id, state, value, attrs={"status": state.lower(), "reason": "ünï"}, artifacts=kept)  # type: ignore[arg-type]
    new_trial(database, study_id)  # RUNNING: its driver has died
    study = optuna.load_study(study_name=name, storage=database.storage)
    free = {"free": FloatDistribution(1e-5, 1.0, log=True), "layers": IntDistribution(1, 9)}
    params = {"free": 1 / 3, "layers": 4}
    foreign = create_trial(value=math.inf, params=params, distributions=free)  # another program's: what we never write
    study.add_trial(foreign)


def everything(database: Database, name: str) -> dict[str, Any]:
    """All rows of a study, in their order, but for the ids."""
    study_id = database.find_study(name)
    assert study_id is not None
    numbers = dict(
        database.rows(sqlalchemy.text("SELECT trial_id, number FROM trials WHERE study_id = :i"), i=study_id)
    )
    found: dict[str, Any] = {}
    for table in OPTUNAS:
        columns = sqlalchemy.text(f"SELECT * FROM {table} WHERE study_id = :i ORDER BY 1")
        if table not in ("studies", "trials", *STUDY_TABLES):
            columns = sqlalchemy.text(
                f"SELECT x.* FROM {table} x JOIN trials t ON t.trial_id = x.trial_id WHERE t.study_id = :i ORDER BY 1"
            )
        with database.transaction() as connection:
            rows = connection.execute(columns, {"i": study_id}).mappings().all()
        found[table] = [without_ids(table, dict(row), numbers) for row in rows]
    return found


def without_ids(table: str, row: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    owner = numbers[row["trial_id"]] if "trial_id" in row else None
    kept = {key: moment(key, value) for key, value in row.items() if not key.endswith("_id") or key == "objective"}
    return kept | {"of": owner, "in": table}


def moment(key: str, value: object) -> object:
    """A time as both databases have it: SQLite's is a text."""
    return datetime.fromisoformat(value) if key.startswith("datetime") and isinstance(value, str) else value


def files(place: Place, name: str) -> dict[str, bytes]:
    ids = place.artifacts().ids_of_study(name)
    return {each: (place.runs / "artifacts" / each).read_bytes() for each in ids}


def there_and_back(here: Place, there: Place, url: str, tmp_path: Path) -> None:
    before, kept = everything(here.database, "night"), files(here, "night")
    assert len(before["trials"]) == 7
    assert len(kept) == 12
    said: list[str] = []
    copy_to(here, "night", url, there.runs, said.append)
    assert said == [f"study night: 7 trials copied to {there.database.where}, 12 artifacts to {there.runs}"]
    assert there.database.study_names() == ["night"]
    assert everything(there.database, "night") == before
    assert files(there, "night") == kept
    assert (there.runs / "night" / "results.tsv").exists()
    back = tmp_path / "back" / "optuna.db"
    copy_to(there, "night", str(back), None, said.append)
    with closing(open_database(back)) as database:
        assert everything(database, "night") == before
        assert files(Place(database, back.parent), "night") == kept
    assert everything(here.database, "night") == before  # the original stays


def test_a_copy_there_and_back_is_identical(here: Place, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    with closing(open_database(empty_database(folder))) as database:
        there_and_back(here, Place(database, folder), str(folder / "optuna.db"), tmp_path)


@pytest.mark.slow
def test_a_copy_to_postgres_and_back_is_identical(here: Place, tmp_path: Path, postgres: Server) -> None:
    with postgres.database() as url, closing(open_database(url)) as database:
        there_and_back(here, Place(database, tmp_path / "there"), url, tmp_path)


@pytest.mark.slow
def test_a_study_goes_on_from_its_copy_on_a_server(driver: Driver, postgres: Server) -> None:
    driver.run(trials=4)
    with postgres.database() as url, driver.database() as database:
        copy_to(Place(database, driver.settings.runs), "s", url, None, driver.said.append)
        driver.set(storage=url)
        reason, told = driver.run(trials=6)
        assert "6 trials are done" in reason
        assert [number for number, _ in told.ended] == [4, 5]


def test_many_trials_keep_their_numbers_in_order(here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.study_copy._AT_A_TIME", 2)
    renewed: list[int] = []
    with closing(open_database(tmp_path / "there.db")) as database:
        assert copy_study(here.database, database, "night", lambda: renewed.append(1)) == 7
        assert [trial.number for trial in database.trials(1)] == list(range(7))
        assert everything(database, "night") == everything(here.database, "night")
    assert len(renewed) == 4


def test_a_study_of_that_name_is_not_overwritten(here: Place, tmp_path: Path) -> None:
    to = tmp_path / "there" / "optuna.db"
    copy_to(here, "night", str(to), None, print)
    before = to.read_bytes()
    with pytest.raises(StudyError, match="has a study of this name"):
        copy_to(here, "night", str(to), None, print)
    assert to.read_bytes() == before
    with pytest.raises(StudyError, match="has a study of this name"):  # its own database
        copy_to(here, "night", str(here.database.path), None, print)


def test_a_study_that_is_driven_is_not_copied(here: Place, tmp_path: Path) -> None:
    study_id = here.database.find_study("night")
    assert study_id is not None
    lease = acquire(here.database, study_id)
    with pytest.raises(StudyBusyError, match="another driver is at work"):
        copy_to(here, "night", str(tmp_path / "there" / "optuna.db"), None, print)
    lease.release()
    copy_to(here, "night", str(tmp_path / "there" / "optuna.db"), None, print)
    assert here.database.rows(LEASES.select()) == []


def test_what_fails_on_the_way_leaves_nothing(here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.study_copy._AT_A_TIME", 3)
    to = tmp_path / "there" / "optuna.db"

    def stop_at_the_second_batch() -> None:
        calls.append(1)
        if len(calls) == 12 + 2:  # 12 files come before
            here.database.delete_study("night")

    calls: list[int] = []
    monkeypatch.setattr("storage.lease.Lease.renew", lambda self: stop_at_the_second_batch())
    with pytest.raises(StorageError, match=r"was changed meanwhile\. Nothing was copied"):
        copy_to(here, "night", str(to), None, print)
    with closing(open_database(to)) as database:
        assert database.study_names() == []
        assert database.rows(sqlalchemy.text("SELECT * FROM trials")) == []
    assert list((to.parent / "artifacts").iterdir()) == []


def test_a_file_that_is_gone_is_told_and_a_name_that_leaves_the_folder_is_not_followed(
    here: Place, tmp_path: Path
) -> None:
    study_id = here.database.find_study("night")
    assert study_id is not None
    gone = here.artifacts().ids_of_study("night")[0]
    (here.runs / "artifacts" / gone).unlink()
    (tmp_path / "secret").write_text("secret")
    meta = json.dumps({"artifact_id": "../../secret", "filename": "x"})
    here.database.finish_trial(new_trial(here.database, study_id), "FAIL", artifacts={"artifacts:x": meta})
    said: list[str] = []
    copy_to(here, "night", str(tmp_path / "there" / "optuna.db"), None, said.append)
    assert said[0].endswith("11 artifacts to " + str(tmp_path / "there") + "; 2 had no file")


def test_no_database_removes_the_files_of_another_one_in_its_folder(here: Place) -> None:
    second = here.runs / "second.db"
    said: list[str] = []
    copy_to(here, "night", str(second), None, said.append)
    assert "0 artifacts" in said[0]
    kept = files(here, "night")
    with closing(open_database(second)) as database:
        artifacts = Artifacts(here.runs / "artifacts", database)
        assert artifacts.other_users() == ["../optuna.db"]
        assert artifacts.dangling(now=math.inf).files == ()  # those of the other study, for one
        artifacts.delete_study("night")
    assert files(here, "night") == kept
    assert here.artifacts().other_users() == ["../second.db"]


def test_a_password_is_refused_as_a_flag_and_welcome_in_the_environment() -> None:
    secret = "postgresql://me:s3cr3t@host/studies"
    assert copy_url(None, {"OPTIMIZE_COPY_URL": secret}) == secret
    assert copy_url("postgresql://me@host/studies", {"OPTIMIZE_COPY_URL": secret}) == "postgresql://me@host/studies"
    with pytest.raises(Exception, match="Set OPTIMIZE_COPY_URL instead") as caught:
        copy_url(secret, {})
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(Exception, match="--to: no target"):
        copy_url(None, {})
