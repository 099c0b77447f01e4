"""Commands without --study where there are several studies, and studies of several objectives, which have no best trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest

from optimize.cli import run
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.study.held import hold_study
from optimize.study.stored import find_study, present_study
from storage import Database, StudyPaths, count_objectives
from tests.conftest import Driver


@pytest.fixture
def database(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Three studies, the replicates of one of them the newest; the commands look into its folder."""
    monkeypatch.chdir(driver.folder)
    with driver.database() as database:
        for name in ("old", "night", "old/confirm", "new"):
            database.create_study(name, "minimize", "loss")
        for name in ("new", "night", "old/confirm"):
            study_id = database.find_study(name)
            assert study_id is not None
            trial = database.create_trial(study_id, state="RUNNING", params={}, choices={})
            database.finish_trial(trial.trial_id, "COMPLETE", 1.0)
        yield database


def paths(database: Database, name: str) -> StudyPaths:
    assert database.path is not None
    return StudyPaths(database.path.parent, name)


def hold(database: Database, name: str, stack: ExitStack) -> None:
    study_id = database.find_study(name)
    assert study_id is not None
    stack.enter_context(hold_study(database, study_id, paths(database, name)))


def told(capsys: pytest.CaptureFixture[str], words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(words.split()) == code
    return capsys.readouterr().err


def test_without_a_name_a_command_is_about_the_study_that_was_worked_on_last(database: Database) -> None:
    """Its replicates count as its own."""
    assert present_study(database) == ("old", "study old, the latest of 3; --study names another")
    database.delete_study("old/confirm")
    assert present_study(database)[0] == "night"


def test_the_one_that_runs_goes_before_the_latest(database: Database) -> None:
    with ExitStack() as stack:
        hold(database, "new", stack)
        assert present_study(database, driven=True) == ("new", "study new, which runs of 3; --study names another")
        hold(database, "night", stack)
        assert present_study(database)[0] == "night"


def test_the_only_study_needs_no_word(driver: Driver) -> None:
    with driver.database() as database:
        assert present_study(database) == (None, "")
        database.create_study("one", "minimize", "loss")
        assert present_study(database) == (None, "")


def test_show_and_copy_say_which_study_they_are_about(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    database.delete_study("old/confirm")
    assert told(capsys, "show 0") == "study night, the latest of 3; --study names another\n"
    assert told(capsys, "show 0 --study new") == ""
    assert "study night, the latest of 3" in told(capsys, "show 7", 2)
    assert "study night, the latest of 3" in told(capsys, "copy --to copy.db")


def test_stop_takes_the_study_that_runs_and_no_other(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    none = "none of the studies new, night, old is running. There is nothing to stop.\n"
    assert told(capsys, "stop", 2) == none
    with ExitStack() as stack:
        hold(database, "new", stack)
        assert "study new, which runs of 3" in (said := told(capsys, "stop"))
        assert "was asked to stop" in said
        hold(database, "night", stack)
        assert told(capsys, "stop", 2) == "--study: which one? There are several that run: new, night.\n"


def test_a_database_that_is_not_there_is_named_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ("status", "show 1", "stop", "report"):
        assert f"{tmp_path}/runs/optuna.db: no database here yet." in told(capsys, words, 2)
    assert f"{tmp_path}/theirs.db: no database here yet." in told(capsys, "status --storage sqlite:///theirs.db", 2)


@pytest.fixture
def two_objectives(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.chdir(driver.folder)
    with driver.database() as database:
        study = optuna.create_study(study_name="pareto", storage=database.storage, directions=["minimize", "maximize"])
        x = optuna.distributions.FloatDistribution(0, 1)
        for value in (0.25, 0.5, 0.75):
            study.add_trial(optuna.create_trial(values=[value, 1 - value], params={"x": value}, distributions={"x": x}))
    return driver


def test_two_objectives_have_no_best(two_objectives: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    with two_objectives.database() as database:
        stored = find_study(database, "pareto", two_objectives.settings.runs)
        assert count_objectives(database, stored.study_id) == 2
        assert stored.best() is None
        assert stored.no_best == "it has 2 objectives, so no one trial is the best"
        assert stored.record(0).reason == "values 0.25, 0.75"
    assert run(["status"]) == 0
    shown = capsys.readouterr().out
    assert "it has 2 objectives, so no one trial is the best. All of them: " in shown
    assert "best value" not in shown


def test_report_note_and_tables_say_that_two_objectives_have_no_best(
    two_objectives: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "runs/pareto/best" not in told(capsys, "export")
    with two_objectives.database() as database:
        page = render_page(gather(find_study(database, "pareto", two_objectives.settings.runs)), {})
    assert "it has 2 objectives, so no one trial is the best" in page
    assert "No trial has completed yet" not in page
    with two_objectives.database() as database:
        attrs = database.storage.get_study_system_attrs(1)
    notes = [value for key, value in attrs.items() if key.startswith("dashboard:note")]
    assert any("This study has no best trial: it has 2 objectives" in str(note) for note in notes)


def test_two_objectives_are_no_source_of_starts(two_objectives: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    words = "run --study new --from pareto --workload ./workload --space ./space.toml --profile ./profile.toml --trust"
    assert told(capsys, words, 2).endswith(
        "--from pareto: it has 2 objectives, so no one trial is the best. Name another source, or leave --from out.\n"
    )
