"""Every command that is printed and trains keeps the backup that the study has; what keeps none is not given one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from optimize import notebook
from optimize.commands.init import _next
from optimize.commands.space import moved
from optimize.reporting.four_facts import four_facts
from optimize.reporting.hints import command_line, pasteable
from optimize.reporting.standing import read_standing
from optimize.session.session import settings_json
from optimize.study.stored import StoredStudy
from optimize.transfer.repair import back_up, restore
from storage import write_text
from tests.conftest import Driver
from tests.studies import many_trials, stored_study
from tests.test_four_facts import at_the_edge
from tests.test_init import Terminal

__all__ = ["at_the_edge"]  # a fixture


def test_after_a_call_with_a_backup_each_command_that_trains_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["optimize", "run", "--backup", "my drive/kept"])
    for command in ("run", "confirm"):
        assert command_line(command, {"study": "s"}) == f"optimize {command} --study s --backup 'my drive/kept'"
    assert pasteable("`optimize run --study s`") == "`optimize run --study s --backup 'my drive/kept'`"
    for command in ("check", "status", "migrate", "report"):
        assert "backup" not in command_line(command, {"study": "s"})


@pytest.fixture
def backed_up(driver: Driver, at_the_edge: StoredStudy) -> StoredStudy:
    """A study whose last call kept a backup in `kept`."""
    write_text(at_the_edge.paths.settings_json, settings_json(driver.settings, {"backup": "kept"}))
    return at_the_edge


def test_status_and_migrate_know_the_backup_of_the_last_call(driver: Driver, backed_up: StoredStudy) -> None:
    commands = dict(four_facts(read_standing(backed_up)).commands)
    assert commands["train it again"].endswith(" --backup kept")
    assert "backup" not in commands["take the trials there"] + commands["write a wider space"]
    (driver.folder / "space.toml").write_text((driver.folder / "space.toml").read_text().replace("3, 4]", "3, 4, 8]"))
    flags = {"study": "s-2", "search_space": "./space.toml", "profile": "./profile.toml", "workload": "./workload"}
    document, _ = moved("s", {**flags, "storage": None, "runs": Path("runs")})
    assert document["next"].endswith(" --backup kept")


def test_a_place_that_is_not_here_is_not_named(driver: Driver, at_the_edge: StoredStudy) -> None:
    write_text(at_the_edge.paths.settings_json, settings_json(driver.settings, {"backup": "/nowhere/MyDrive/kept"}))
    assert read_standing(at_the_edge).backup == ""
    write_text(at_the_edge.paths.settings_json, settings_json(driver.settings, {"backup": None}))
    assert read_standing(at_the_edge).backup == ""


def test_what_is_restored_is_told_by_trials_and_repeats(at_the_edge: StoredStudy) -> None:
    stored_study(at_the_edge.database, Path("runs"), many_trials(4), name="s/confirm")
    back_up(at_the_edge.database, at_the_edge.paths.artifacts, Path("kept"))
    said: list[str] = []
    restore(Path("kept"), Path("new"), said.append)
    assert "restored to new: s, 15 trials, and 4 repeats with other seeds" in said


def test_what_restores_goes_on_with_the_same_folder(at_the_edge: StoredStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(at_the_edge.database, at_the_edge.paths.artifacts, Path("kept"))
    said: list[str] = []
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    restore(Path("kept"), Path("new"), said.append)
    assert "--backup kept" in said[-1]
    Path("kept").chmod(0o500)
    restore(Path("kept"), Path("newer"), said.append)
    assert ("backup" in said[-1]) == (Path("kept").owner() == "root")  # who may write everywhere


def test_after_init_a_cell_is_told_of_the_form_and_a_shell_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _next(Path("mine")) == "next: `optimize run --workload ./mine --trials 20 --trust`"
    assert _next(Path()) == "next: `optimize run --trials 20 --trust`"
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert _next(Path()) == "next: `optimize run --trials 20`"  # which asks
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    told = "next: run the notebook's other cells, with ./mine in its field WORKLOAD. In a notebook without that form: "
    assert _next(Path("mine")) == f"{told}`optimize run --workload ./mine --trials 20 --trust`"
    assert "with ./ in its field" in _next(Path())


def test_a_study_of_a_notebook_takes_the_folder_of_its_drive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notebook._Drive, "backup", None)
    assert notebook._backup(None) is None
    assert capsys.readouterr().out == ""
    folder = notebook.drive("mine")
    capsys.readouterr()
    assert notebook._backup(None) == folder == Path("drive/mine")
    assert capsys.readouterr().out == f"backups go to {folder}, as before\n"
    assert notebook._backup("") == ""
    assert notebook._backup("other") == "other"
    assert capsys.readouterr().out == ""
