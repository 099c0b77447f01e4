"""The contract that every database keeps, and what only a SQLite file is: damaged, foreign, locked, full, copied."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage import Database, StorageError, StorageFullError, Stored, open_database
from storage.address import parse_address
from storage.filesystems import without_wal
from storage.sqlite import connect
from storage.tables import REVISION
from tests.databases import empty_database

ROOT = Path(__file__).parent.parent
CHOICES: dict[str, list[Stored]] = {
    "DEPTH": [2, 3, 4],
    "MATRIX_LR": [0.01, 0.02, 1e-05],
    "WINDOW_PATTERN": ["L", "SSSL"],
    "ADAM_BETAS": ["(0.8, 0.95)", "(0.9, 0.95)"],
    "TIED": [True, False, None],
}
PARAMS: dict[str, Stored] = {
    "DEPTH": 3,
    "MATRIX_LR": 1e-05,
    "WINDOW_PATTERN": "SSSL",
    "ADAM_BETAS": "(0.9, 0.95)",
    "TIED": None,
}
MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/export /mnt/shared\\040data nfs4 rw 0 0
//nas/x /mnt/nas cifs rw 0 0
sshfs#host: /mnt/ssh fuse.sshfs rw 0 0
host /mnt/wsl 9p rw 0 0
/dev/vdb /mnt/nas/local xfs rw 0 0
"""


def new_trial(database: Database, study_id: int, state: Any = "RUNNING", **attrs: Any) -> int:
    return database.create_trial(study_id, state=state, params=PARAMS, choices=CHOICES, attrs=attrs).trial_id


class StorageContract:
    """What any database does; a subclass gives the fixture `database`, open and empty."""

    @pytest.fixture
    def study_id(self, database: Database) -> int:
        return database.create_study("cpu", "minimize", "val_bpb", {"fingerprint": {"script": "abc"}})

    def test_a_study_is_found_by_its_name(self, database: Database, study_id: int) -> None:
        database.create_study("other", "maximize", "accuracy")
        assert database.find_study("cpu") == study_id
        assert database.find_study("none") is None
        assert database.study_names() == ["cpu", "other"]

    def test_a_study_cannot_be_created_twice(self, database: Database, study_id: int) -> None:
        with pytest.raises(StorageError, match="study 'cpu' exists"):
            database.create_study("cpu", "minimize", "val_bpb")
        assert database.study_names() == ["cpu"]

    def test_study_attributes_are_kept_and_overwritten(self, database: Database, study_id: int) -> None:
        database.set_study_attr(study_id, "seed", 1)
        database.set_study_attr(study_id, "seed", [2, None, "x"])
        assert database.study_attrs(study_id) == {"fingerprint": {"script": "abc"}, "seed": [2, None, "x"]}

    def test_optuna_itself_opens_the_study_and_knows_the_metrics_name(self, database: Database, study_id: int) -> None:
        study = optuna.load_study(study_name="cpu", storage=database.storage)
        assert study.metric_names == ["val_bpb"]
        assert study.direction is StudyDirection.MINIMIZE
        assert database.objective(study_id) == ("val_bpb", "minimize")

    def test_a_trial_has_all_its_parameters_and_attributes_from_the_start(
        self, database: Database, study_id: int
    ) -> None:
        created = database.create_trial(
            study_id, state="RUNNING", params=PARAMS, choices=CHOICES, attrs={"origin": {"kind": "baseline"}}
        )
        (trial,) = database.trials(study_id)
        assert (trial._trial_id, trial.number) == (created.trial_id, created.number)
        assert trial.state is TrialState.RUNNING
        assert trial.params == PARAMS
        assert trial.user_attrs == {"origin": {"kind": "baseline"}}
        assert {type(value) for value in trial.params.values()} == {int, float, str, type(None)}

    def test_numbers_count_up_in_each_study(self, database: Database, study_id: int) -> None:
        other = database.create_study("other", "minimize", "val_bpb")
        numbers = []
        for study in (study_id, other, study_id, other, study_id):
            created = database.create_trial(study, state="WAITING", params=PARAMS, choices=CHOICES)
            numbers.append((study, created.number))
        assert numbers == [(study_id, 0), (other, 0), (study_id, 1), (other, 1), (study_id, 2)]
        assert [trial.number for trial in database.trials(study_id)] == [0, 1, 2]

    def test_a_value_that_is_no_choice_is_refused_and_leaves_nothing(self, database: Database, study_id: int) -> None:
        for wrong in (5, 3.0, True):  # 3.0 equals the choice 3, and is not it
            with pytest.raises(ValueError, match="DEPTH"):
                database.create_trial(study_id, state="RUNNING", params={**PARAMS, "DEPTH": wrong}, choices=CHOICES)
        assert database.trials(study_id) == []

    @pytest.mark.parametrize("changed", [[2, 3, 4, 5], [4, 3, 2], [2, 3.0, 4]])
    def test_other_choices_than_the_studys_are_refused_and_leave_nothing(
        self, database: Database, study_id: int, changed: list[Stored]
    ) -> None:
        new_trial(database, study_id)
        params: dict[str, Stored] = {**PARAMS, "DEPTH": 4}
        with pytest.raises(StorageError, match="DEPTH: the study has other choices"):
            database.create_trial(study_id, state="RUNNING", params=params, choices={**CHOICES, "DEPTH": changed})
        assert len(database.trials(study_id)) == 1

    def test_a_waiting_trial_is_started_once(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id, "WAITING")
        assert database.trials(study_id)[0].datetime_start is None
        assert database.start_waiting(trial_id)
        assert not database.start_waiting(trial_id)
        (trial,) = database.trials(study_id)
        assert trial.state is TrialState.RUNNING
        assert trial.datetime_start is not None

    def test_a_finished_trial_is_not_started_again(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.finish_trial(trial_id, "FAIL")
        assert not database.start_waiting(trial_id)

    def test_an_ending_brings_value_attributes_and_artifacts_together(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.report(trial_id, 50, 3.5)
        database.set_trial_attrs(trial_id, {"status": "early"})
        assert database.finish_trial(
            trial_id, "COMPLETE", 0.9979, attrs={"status": "complete"}, artifacts={"artifacts:x": "{}"}
        )
        (trial,) = database.trials(study_id)
        assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.9979)
        assert trial.user_attrs == {"status": "complete"}
        assert trial.system_attrs == {"artifacts:x": "{}"}
        assert trial.intermediate_values == {50: 3.5}
        assert trial.datetime_complete is not None

    @pytest.mark.parametrize(
        ("state", "value"), [("COMPLETE", None), ("COMPLETE", math.nan), ("COMPLETE", math.inf), ("PRUNED", 1.0)]
    )
    def test_a_value_belongs_to_complete_and_is_finite(
        self, database: Database, study_id: int, state: Any, value: float | None
    ) -> None:
        trial_id = new_trial(database, study_id)
        with pytest.raises(ValueError, match="finite value"):
            database.finish_trial(trial_id, state, value)
        assert database.counts(study_id)["RUNNING"] == 1

    def test_a_trial_that_someone_else_finished_is_left_as_it_is(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        optuna.load_study(study_name="cpu", storage=database.storage).tell(0, state=TrialState.FAIL)
        assert not database.finish_trial(trial_id, "COMPLETE", 1.0, attrs={"status": "complete"})
        (trial,) = database.trials(study_id)
        assert (trial.state, trial.value, trial.user_attrs) == (TrialState.FAIL, None, {})

    def test_finishing_again_in_the_same_way_is_no_contradiction(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        for _ in range(2):  # as after an answer that was lost with the connection
            assert database.finish_trial(trial_id, "COMPLETE", 1.0, attrs={"status": "complete"})
        assert not database.finish_trial(trial_id, "COMPLETE", 2.0, attrs={"status": "complete"})

    def test_a_finished_trial_does_not_change(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.finish_trial(trial_id, "PRUNED")
        with pytest.raises(StorageError, match="finished or deleted"):
            database.set_trial_attrs(trial_id, {"late": 1})
        with pytest.raises(StorageError, match="finished or deleted"):
            database.report(trial_id, 50, 1.0)

    def test_nan_is_refused_as_an_attribute(self, database: Database, study_id: int) -> None:
        with pytest.raises(ValueError, match="JSON"):
            database.set_study_attr(study_id, "x", math.nan)

    def test_a_curve_may_hold_what_no_result_may(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        for step, value in enumerate((math.nan, math.inf, -math.inf, 2.0)):
            database.report(trial_id, step, 9.0)
            database.report(trial_id, step, value)
        (trial,) = database.trials(study_id)
        assert str(list(trial.intermediate_values.values())) == "[nan, inf, -inf, 2.0]"

    def test_finished_trials_are_read_once(self, database: Database, study_id: int) -> None:
        finished, running = new_trial(database, study_id), new_trial(database, study_id)
        database.finish_trial(finished, "COMPLETE", 1.0)
        before = database.trials(study_id)
        database.set_trial_attrs(running, {"new": 1})
        after = database.trials(study_id)
        assert after[0] is before[0]
        assert after[1].user_attrs == {"new": 1}

    def test_trials_stay_in_order_whichever_ends_first(self, database: Database, study_id: int) -> None:
        ids = [new_trial(database, study_id) for _ in range(6)]
        for trial_id in (ids[4], ids[1], ids[5], ids[0]):
            database.finish_trial(trial_id, "PRUNED")
            assert [trial.number for trial in database.trials(study_id)] == list(range(6))
        assert [trial.number for trial in database.trials(study_id, ["RUNNING"])] == [2, 3]

    def test_trials_are_counted_without_being_loaded(self, database: Database, study_id: int) -> None:
        ids = [new_trial(database, study_id) for _ in range(3)]
        new_trial(database, study_id, "WAITING")
        database.finish_trial(ids[0], "COMPLETE", 1.0)
        database.finish_trial(ids[1], "FAIL")
        assert database.counts(study_id) == {"RUNNING": 1, "COMPLETE": 1, "PRUNED": 0, "FAIL": 1, "WAITING": 1}

    def test_the_best_trial_is_the_best_complete_one(self, database: Database, study_id: int) -> None:
        assert database.best_trial(study_id) is None
        for value in (2.0, 1.0, 3.0):
            database.finish_trial(new_trial(database, study_id), "COMPLETE", value)
        pruned = new_trial(database, study_id)
        database.report(pruned, 50, 0.1)
        database.finish_trial(pruned, "PRUNED")
        best = database.best_trial(study_id)
        assert best is not None
        assert (best.number, best.value) == (1, 1.0)

    def test_a_trial_is_found_by_its_number(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id, origin={"kind": "start"})
        found = database.find_trial(study_id, 0)
        assert found is not None
        assert (found._trial_id, found.params, found.user_attrs) == (trial_id, PARAMS, {"origin": {"kind": "start"}})
        assert database.find_trial(study_id, 1) is None

    def test_the_newest_result_has_a_time_in_utc(self, database: Database, study_id: int) -> None:
        assert database.last_finish(study_id) is None
        database.finish_trial(new_trial(database, study_id), "FAIL")
        moment = database.last_finish(study_id)
        assert moment is not None
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)

    def test_the_clock_is_that_of_the_world(self, database: Database) -> None:
        assert database.now() == pytest.approx(time.time(), abs=60)

    def test_a_transaction_is_all_or_nothing(self, database: Database, study_id: int) -> None:
        lost = new_trial(database, study_id)
        with pytest.raises(KeyboardInterrupt):
            _requeue_and_be_interrupted(database, study_id, lost)
        assert [(trial.state.name, trial.user_attrs) for trial in database.trials(study_id)] == [("RUNNING", {})]
        with database.transaction():
            new_trial(database, study_id, "WAITING")
            database.finish_trial(lost, "FAIL", attrs={"status": "lost"})
        assert [trial.state.name for trial in database.trials(study_id)] == ["FAIL", "WAITING"]

    def test_a_deleted_study_is_gone_with_everything(self, database: Database, study_id: int) -> None:
        kept = database.create_study("kept", "minimize", "val_bpb")
        for study in (study_id, kept):
            database.report(trial_id := new_trial(database, study, a=1), 50, 1.0)
            database.finish_trial(trial_id, "COMPLETE", 1.0, artifacts={"artifacts:x": "{}"})
        database.delete_study("cpu")
        database.delete_study("cpu")
        assert database.study_names() == ["kept"]
        for table in ("trials", "trial_params", "trial_values", "trial_user_attributes", "trial_intermediate_values"):
            ((count,),) = database.rows(sqlalchemy.text(f"SELECT COUNT(*) FROM {table}"))
            assert count == (len(PARAMS) if table == "trial_params" else 1)
        with pytest.raises(StorageError, match="gone"):
            database.trials(study_id)
        with pytest.raises(StorageError, match="gone"):
            new_trial(database, study_id)

    def test_optuna_reads_what_we_write_as_if_it_had_written_it(self, database: Database, study_id: int) -> None:
        _write_by_us(database, study_id)
        by_optuna = database.storage.create_new_study([StudyDirection.MINIMIZE], "by optuna")
        _write_by_optuna(database, by_optuna)
        for one, other in zip(
            database.storage.get_all_trials(study_id), database.storage.get_all_trials(by_optuna), strict=True
        ):
            assert _without_times(one) == _without_times(other)
        for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes"):
            assert _raw(database, table, study_id) == _raw(database, table, by_optuna), table

    def test_we_read_what_optuna_reads(self, database: Database, study_id: int) -> None:
        _write_by_us(database, study_id)
        study = optuna.load_study(study_name="cpu", storage=database.storage)
        study.enqueue_trial({"DEPTH": 2})
        asked = study.ask()
        asked.suggest_float("MATRIX_LR_free", 1e-5, 1.0, log=True)
        asked.suggest_int("LAYERS", 1, 9)
        study.tell(asked, 3.0)
        study.add_trial(create_trial(value=-math.inf))
        ours, optunas = database.trials(study_id), database.storage.get_all_trials(study_id)
        assert len(ours) == 6
        assert [str(trial) for trial in ours] == [str(trial) for trial in optunas]  # as text, where NaN equals itself


def _requeue_and_be_interrupted(database: Database, study_id: int, lost: int) -> None:
    with database.transaction():
        new_trial(database, study_id, "WAITING")
        database.finish_trial(lost, "FAIL", attrs={"status": "lost"})
        raise KeyboardInterrupt


def _write_by_us(database: Database, study_id: int) -> None:
    new_trial(database, study_id, "WAITING", origin={"kind": "start"})
    done = new_trial(database, study_id, origin={"kind": "baseline"})
    database.report(done, 25, 4.5)
    database.report(done, 50, math.nan)
    database.finish_trial(done, "COMPLETE", 0.9979, attrs={"status": "complete"}, artifacts={"artifacts:x": "{}"})
    database.finish_trial(new_trial(database, study_id), "PRUNED")
    new_trial(database, study_id)


def _write_by_optuna(database: Database, study_id: int) -> None:
    optunas = database.storage

    def create(state: TrialState, attrs: dict[str, Any]) -> int:
        template = FrozenTrial(
            number=-1, trial_id=-1, state=state, value=None, params=dict(PARAMS), user_attrs=attrs,
            datetime_start=datetime.now() if state is TrialState.RUNNING else None, datetime_complete=None,
            distributions={name: CategoricalDistribution(tuple(values)) for name, values in CHOICES.items()},
            system_attrs={}, intermediate_values={},
        )  # fmt: skip
        return optunas.create_new_trial(study_id, template)

    create(TrialState.WAITING, {"origin": {"kind": "start"}})
    done = create(TrialState.RUNNING, {"origin": {"kind": "baseline"}})
    optunas.set_trial_intermediate_value(done, 25, 4.5)
    optunas.set_trial_intermediate_value(done, 50, math.nan)
    optunas.set_trial_user_attr(done, "status", "complete")
    optunas.set_trial_system_attr(done, "artifacts:x", "{}")
    optunas.set_trial_state_values(done, TrialState.COMPLETE, [0.9979])
    optunas.set_trial_state_values(create(TrialState.RUNNING, {}), TrialState.PRUNED)
    create(TrialState.RUNNING, {})


def _without_times(trial: FrozenTrial) -> dict[str, Any]:
    """Everything else; NaN by its text, so that it equals itself."""
    parts = {key: str(value) for key, value in vars(trial).items() if key not in ("_trial_id", "datetime_start")}
    return parts | {"started": trial.datetime_start is not None, "_datetime_start": ""} | {"datetime_complete": ""}


def _raw(database: Database, table: str, study_id: int) -> list[tuple[Any, ...]]:
    """The rows of a study as they lie in the file, but for ids and times."""
    found = database.rows(
        sqlalchemy.text(f"SELECT t.number, x.* FROM {table} x JOIN trials t ON t.trial_id = x.trial_id "
                        "WHERE t.study_id = :study ORDER BY t.number"), study=study_id)  # fmt: skip
    first = 5 if table == "trials" else 3  # after the ids
    columns = slice(4, 5) if table == "trials" else slice(first, None)
    return [(row[0], *row[columns]) for row in found]


class TestSqlite(StorageContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        with closing(open_database(empty_database(tmp_path))) as database:
            yield database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small sound database."""
    path = empty_database(tmp_path)
    with closing(open_database(path)) as database:
        database.finish_trial(new_trial(database, database.create_study("cpu", "minimize", "val_bpb")), "COMPLETE", 1.0)
    return path


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
        (_a_newer_one, "of a newer Optuna"),
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


def test_a_lock_is_waited_for(path: Path) -> None:
    with closing(open_database(path)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
        started = time.monotonic()
        database.set_study_attr(1, "x", 1)
        assert time.monotonic() - started > 0.2


def test_a_lock_that_stays_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.BUSY_S", 0.1)
    with closing(open_database(path, patience_s=0.2)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another program"):
            database.set_study_attr(1, "x", 1)
        with pytest.raises(StorageError, match="locked by another program"), database.transaction():
            pass
        other.execute("ROLLBACK")
        database.set_study_attr(1, "x", 1)


def test_reading_goes_on_while_another_program_writes(path: Path) -> None:
    with closing(open_database(path)) as database, closing(connect(path, "WAL", "FULL")) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM trials")
        assert len(database.trials(1)) == 1


def test_a_full_disk_is_told_and_what_was_finished_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.connect", _connect_to_a_small_disk)
    with closing(open_database(path)) as database:
        with pytest.raises(StorageFullError, match="no space left"):
            _fill(database)
        assert database.counts(1)["COMPLETE"] == 1
        assert database.integrity_check() == []
    monkeypatch.undo()
    with closing(open_database(path)) as database:
        database.set_study_attr(1, "after", 1)
        assert database.study_attrs(1)["after"] == 1


def test_a_full_disk_while_a_database_is_made_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sqlite.connect", functools.partial(_connect_to_a_small_disk, pages=5))
    with pytest.raises(StorageFullError, match="no space left"):
        open_database(tmp_path / "optuna.db")
    assert list(tmp_path.iterdir()) == []


def _connect_to_a_small_disk(path: Path, journal: str, sync: str, pages: int = 60) -> sqlite3.Connection:
    connection = connect(path, journal, sync)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return connection


def _fill(database: Database) -> None:
    for number in range(1000):
        database.set_study_attr(1, f"key {number}", "x" * 1000)


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


SECRET = "s3cr3t/?#"
QUOTED = "s3cr3t%2F%3F%23"


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
        open_database(url, patience_s=0)
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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_are_utc_wherever_the_machine_is(path: Path, zone: str) -> None:
    program = (
        "import sys; from storage import *; database = open_database(sys.argv[1]);"
        "database.finish_trial(database.create_trial(1, state='RUNNING', params={}, choices={}).trial_id, 'FAIL');"
        "record = read_records(database, 1)[-1];"
        "print(record.started.isoformat(), record.finished.isoformat(), database.last_finish(1).isoformat())"
    )
    answer = _python(program, path, TZ=zone)
    for moment in map(datetime.fromisoformat, answer.split()):
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
    with closing(sqlite3.connect(path)) as connection:
        raw = connection.execute("SELECT MAX(datetime_complete) FROM trials").fetchone()[0]
    assert abs(datetime.fromisoformat(raw).replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


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
            studies = _get(app, "/api/studies")["study_summaries"]
            study = _get(app, "/api/studies/1", "after=0")
    assert [each["study_name"] for each in studies] == ["cpu"]
    assert study["objective_names"] == ["val_bpb"]
    assert [trial["state"] for trial in study["trials"]] == ["Complete", "Running"]
    assert len(study["trials"][1]["params"]) == len(PARAMS)


def _get(app: Any, path: str, query: str = "") -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda *_: None)))


WRITER = """
import sys
import tempfile
from storage import open_database
database = open_database(sys.argv[1])
params = {f"P{i}": 1 for i in range(14)}
choices = {name: [1, 2] for name in params}
while True:
    trial = database.create_trial(1, state="RUNNING", params=params, choices=choices, attrs={"origin": {"a": 1}})
    database.report(trial.trial_id, 50, 3.0)
    ending = {"status": "complete", "reason": "", "summary": {"x": 1}, "ending": {}}
    with database.transaction():
        database.create_trial(1, state="WAITING", params=params, choices=choices, attrs={"of": trial.number})
        database.finish_trial(trial.trial_id, "COMPLETE", 1.0, attrs=ending, artifacts={"artifacts:1": "x"})
    print(trial.number, flush=True)
"""


@pytest.mark.slow
def test_a_driver_killed_at_any_moment_leaves_every_trial_whole(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    with closing(open_database(path)) as database:
        database.create_study("cpu", "minimize", "val_bpb")
    for seed in range(12):
        told = _killed(WRITER, path, after_s=0.8 + random.Random(seed).random())
        with closing(open_database(path)) as database:
            trials = database.trials(1)
            assert database.integrity_check() == []
        assert all(len(trial.params) == 14 for trial in trials)
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        assert all(len(trial.user_attrs) == 5 and trial.system_attrs and trial.value == 1.0 for trial in complete)
        assert sorted(t.user_attrs["of"] for t in trials if "of" in t.user_attrs) == [t.number for t in complete]
        assert {int(number) for number in told} <= {trial.number for trial in complete}
    assert len(complete) > 12


@pytest.mark.slow
def test_a_database_created_by_processes_that_are_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    create = "import sys, storage; print(1, flush=True); storage.open_database(sys.argv[1]).close()"
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        _killed(create, folder / "optuna.db", after_s=random.Random(seed).random() / 4, wait_for_line=True)
        if (folder / "optuna.db").exists():
            assert (folder / "optuna.db").stat().st_size > 0
        with closing(open_database(folder / "optuna.db")) as database:
            database.create_study("cpu", "minimize", "val_bpb")
            assert database.integrity_check() == []


def _killed(program: str, path: Path, after_s: float, wait_for_line: bool = False) -> list[str]:
    """The lines that a program wrote before it was killed."""
    argv = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        first = [process.stdout.readline()] if wait_for_line else []
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        return first + process.stdout.read().split()
