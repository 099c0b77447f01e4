"""Studies of another Optuna database, of 4 and 5: every trial with all that it had and its true times, nothing trusted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from optimize.errors import SettingsError
from optimize.reporting.files import write_views
from storage import open_database
from tests.conftest import Driver
from tests.imports import OPTUNA_4, bring, database, optuna_4, study
from tests.postgres import Server
from tests.test_cli import ROOT

NEW_YORK = "America/New_York"


def refused(folder: Path, source: Path | str, **said: object) -> list[str]:
    with pytest.raises(SettingsError) as error:
        bring(folder, source, **said)  # type: ignore[arg-type]
    with database(folder) as opened:
        assert opened.study_names() == []
    assert all("\n" not in line and str(folder / "copy") not in line for line in error.value.problems)
    return list(error.value.problems)


def spoilt(folder: Path, *statements: str) -> Path:
    path = optuna_4(folder)
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_every_trial_of_an_optuna_4_database_comes_with_all_that_it_had(tmp_path: Path) -> None:
    path = optuna_4(tmp_path)
    before = path.read_bytes()
    said = bring(tmp_path, path, source_study="night", zone=NEW_YORK)
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"runs", "optuna4.db"}
    shutil.copy(path, tmp_path / "as_optuna_reads_it.db")
    theirs = optuna.load_study(study_name="night", storage=f"sqlite:///{tmp_path / 'as_optuna_reads_it.db'}")
    with study(tmp_path) as stored:
        ours, records = stored.database.trials(stored.study_id), stored.records()
        systems = [stored.database.system_attrs(trial._trial_id) for trial in ours]
        about = stored.database.study_attrs(stored.study_id)["imported"]
    assert len(ours) == len(theirs.trials) == 300
    for one, other in zip(theirs.trials, ours, strict=True):
        assert (one.number, one.state, one.params, one.values) == (
            other.number,
            other.state,
            other.params,
            other.values,
        )
        assert one.distributions == other.distributions
        assert one.intermediate_values == other.intermediate_values
        assert one.user_attrs.items() <= other.user_attrs.items()
    assert any(trial.system_attrs for trial in theirs.trials)
    assert not any(systems)
    assert ours[1].distributions["lr"] == FloatDistribution(1e-4, 0.1, log=True)
    assert ours[0].distributions["n"] == IntDistribution(1, 9)
    assert ours[1].distributions["n"] == IntDistribution(1, 9, step=2)  # another range: Optuna allows it for numbers
    assert ours[0].distributions["act"] == CategoricalDistribution(("relu", "gelu", None))
    for record in records:
        assert record.started == datetime.fromisoformat(ours[record.number].user_attrs["utc"])
    assert {record.seconds for record in records[40:]} == {300.0}
    assert records[3].status == "hopeless"
    assert records[7].taken_from == "study night, trial 7"
    assert about["made_by"] == "Optuna 4.5.0"
    assert about["attributes"] == {"who": "a stranger"}
    assert "300 trials" in said[0]


TIMES = """
import sys
from pathlib import Path
from tests.imports import bring, study

bring(Path(sys.argv[1]), sys.argv[2], source_study=sys.argv[3])
with study(Path(sys.argv[1])) as stored:
    for record in stored.records():
        print(record.started.isoformat())
"""


def times_brought_in(folder: Path, source: Path, name: str, zone: str) -> list[datetime]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": zone}
    argv = [sys.executable, "-c", TIMES, str(folder), str(source), name]
    shown = subprocess.run(argv, capture_output=True, text=True, env=environ, check=True).stdout
    return [datetime.fromisoformat(line) for line in shown.split()]


@pytest.mark.slow
def test_times_of_optuna_4_are_of_the_machine_that_wrote_them(tmp_path: Path) -> None:
    path = optuna_4(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT a.value_json FROM trial_user_attributes a ORDER BY a.trial_id").fetchall()
    true = [datetime.fromisoformat(text.strip('"')) for (text,) in rows]
    assert times_brought_in(tmp_path, path, "night", NEW_YORK) == true
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    in_tokyo = times_brought_in(elsewhere, path, "night", "Asia/Tokyo")
    assert in_tokyo != true  # which is why there is --zone


MADE = """
import sys
import optuna

study = optuna.create_study(study_name="made", storage="sqlite:///" + sys.argv[1])
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
for trial in study.trials:
    print(trial.datetime_start.astimezone().isoformat())
"""


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC"])
def test_times_of_optuna_5_are_utc_wherever_they_are_read(tmp_path: Path, zone: str) -> None:
    path = tmp_path / "made.db"
    argv = [sys.executable, "-W", "ignore", "-c", MADE, str(path)]
    environ = {**os.environ, "TZ": NEW_YORK}
    made = subprocess.run(argv, capture_output=True, text=True, env=environ, check=True).stdout
    assert times_brought_in(tmp_path, path, "made", zone) == [datetime.fromisoformat(line) for line in made.split()]


def test_all_studies_come_with_names_of_their_own_or_none_does(tmp_path: Path) -> None:
    path = optuna_4(tmp_path)
    (line,) = refused(tmp_path, path)
    assert line == (
        f"import {path}: study 'two aims' has 2 objectives, studies here have one. Name another with --source-study"
    )
    spoilt_path = tmp_path / "two"
    spoilt_path.mkdir()
    delete = [f"DELETE FROM {table} WHERE study_id = 2" for table in ("studies", "study_directions")]
    said = bring(tmp_path, spoilt(spoilt_path, *delete), zone=NEW_YORK)
    with database(tmp_path) as opened:
        assert opened.study_names() == ["new-night", "new-small"]
    assert any("1 still running there, kept as failed" in line for line in said)
    with study(tmp_path, "new-small") as stored:
        assert [record.state for record in stored.records()] == ["COMPLETE"] * 3 + ["FAIL", "WAITING"]
        assert stored.metric.direction == "maximize"


def test_a_study_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, optuna_4(tmp_path), source_study="day")
    assert "there is no study 'day'. There are: night, small, two aims" in line


def test_two_names_that_would_become_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alike.db"
    for name in ("a b", "a/b"):
        optuna.create_study(study_name=name, storage=f"sqlite:///{path}")
    assert refused(tmp_path, path) == [
        "study new-a-b: two would have this name. Choose one of them with --source-study."
    ]


def test_what_belongs_to_tables_is_refused_for_a_database(tmp_path: Path) -> None:
    told = refused(tmp_path, optuna_4(tmp_path), source_study="night", direction="maximize", params=("x",))
    assert [line.split(":")[0] for line in told] == ["--direction", "--params"]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE alembic_version SET version_num = 'v2.6.0.a'", "of an older Optuna"),
        ("DELETE FROM alembic_version", "not one of Optuna"),
        ("DROP TABLE trial_params", "no such table"),
        ("DROP TABLE alembic_version", "not one of Optuna"),
        ("UPDATE trial_params SET distribution_json = '{}' WHERE param_id = 7", "what Optuna never writes"),
        ("UPDATE trial_params SET distribution_json = 'nonsense' WHERE param_id = 7", "what Optuna never writes"),
        ("UPDATE trial_params SET param_value = 9 WHERE param_name = 'act'", "what Optuna never writes"),
        ("UPDATE trials SET state = 'ASLEEP' WHERE number = 7", "what Optuna never writes"),
        ("UPDATE trials SET datetime_start = 'noon' WHERE number = 7", "what Optuna never writes"),
        ("UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = 7", "what Optuna never writes"),
        ("CREATE VIEW v AS SELECT 1", "has a view (v)"),
    ],
)  # fmt: skip
def test_a_database_that_is_not_as_optuna_writes_it_is_one_line(tmp_path: Path, statement: str, what: str) -> None:
    (line,) = refused(tmp_path, spoilt(tmp_path, statement), source_study="night", zone=NEW_YORK)
    assert line.startswith("import ")
    assert what in line
    assert "copy.db" not in line


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"SQLite format 3\0" + b"\xff" * 5000, "damaged"),
        (b"", "not a SQLite database"),
        (OPTUNA_4.read_bytes(), "not a SQLite database"),
    ],
)
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "some.db"
    path.write_bytes(content)
    (line,) = refused(tmp_path, path)
    assert what in line
    assert path.read_bytes() == content


def test_another_programs_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    (line,) = refused(tmp_path, path)
    assert "not one of Optuna" in line


def test_texts_of_a_stranger_steer_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "evil.db"
    theirs = optuna.create_study(study_name="evil\x1b[2J", storage=f"sqlite:///{path}")
    choices = CategoricalDistribution(("a\x1b[31m", "b" * 5_000))
    for choice in choices.choices:
        attrs = {
            "status": "x\x1b[2J",
            "note": "n\x00",
            "far": float("nan"),
            "origin": "mine",
            "ending": {"device": "d\x1b"},
        }
        theirs.add_trial(
            create_trial(value=1.0, params={"p\x1b": choice}, distributions={"p\x1b": choices}, user_attrs=attrs)
        )
    theirs.add_trial(create_trial(state=TrialState.COMPLETE, value=float("inf")))
    bring(tmp_path, path)
    with study(tmp_path) as stored:
        trials, records = stored.database.trials(stored.study_id), stored.records()
        write_views(stored)
    texts = [str(trial.params) + str(trial.user_attrs) + str(trial.distributions) for trial in trials]
    assert all(text.isprintable() for text in texts)
    assert trials[0].params == {"p": "a [31m"}
    assert len(str(trials[1].params["p"])) == 200
    assert records[0].status == "x [2J"
    assert trials[0].user_attrs["far"] == "nan"
    assert records[2].value is None  # as it was: no finite value is the best


def test_choices_of_optuna_4_that_are_lists_become_texts(tmp_path: Path) -> None:
    listed = '{"name": "CategoricalDistribution", "attributes": {"choices": [[0.8, 0.95], [0.9, 0.95], null]}}'
    path = spoilt(tmp_path, f"UPDATE trial_params SET distribution_json = '{listed}' WHERE param_name = 'act'")
    bring(tmp_path, path, source_study="night", zone=NEW_YORK)
    with study(tmp_path) as stored:
        assert {record.params["act"] for record in stored.records() if "act" in record.params} == {
            "[0.8, 0.95]", "[0.9, 0.95]", None,
        }  # fmt: skip


def test_a_study_of_ours_that_runs_elsewhere_is_read_as_it_is_now(driver: Driver, tmp_path: Path) -> None:
    driver.run(trials=4)
    place = tmp_path / "place"
    place.mkdir()
    with driver.open() as running:
        running.ask()
        bring(place, driver.paths.database)
    with study(place) as stored:
        records = stored.records()
        attrs = stored.database.study_attrs(stored.study_id)
    assert [record.state for record in records] == ["COMPLETE"] * 4 + ["FAIL"]
    assert records[0].kind == "baseline"
    assert records[0].taken_from == "study s, trial 0"
    assert set(attrs) == {"imported", "baseline"}  # no fingerprint: nothing that it says of its scripts is believed


@pytest.mark.slow
def test_a_study_comes_from_a_server(driver: Driver, tmp_path: Path, postgres: Server) -> None:
    with postgres.database() as url:
        with closing(open_database(url)):
            pass
        theirs = optuna.create_study(study_name="far", storage=url)
        theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
        values = [trial.value for trial in theirs.trials]
        theirs._storage.remove_session()
        theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        bring(tmp_path, url)
    with study(tmp_path) as stored:
        assert [record.value for record in stored.records()] == values
