"""The dashboard's notes and plots of a real study: written while it runs, a person's words kept, bounded, never fatal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna_dashboard import _custom_plot_data as plots
from optuna_dashboard import _note as notes

from optimize.reporting.dashboard import DashboardWriter, write_dashboard
from optimize.reporting.program import elsewhere_python
from optimize.reporting.shown_study import ShownStudy
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import Job, Outcome, TrialStatus
from storage import (
    Database,
    StorageError,
    StudyPaths,
    TrialRecord,
    copy_study,
    most_notes,
    open_database,
    put_trial_notes,
    write_study_notes,
)
from storage import dashboard_notes as stored_notes
from tests.conftest import Driver, complete
from tests.databases import empty_database
from tests.postgres import Server


def some_fail(job: Job) -> Outcome:
    if job.number == 2:
        return Outcome(TrialStatus.INFEASIBLE, 1.0, "AssertionError: <script>alert(1)</script>", log="```\n<b>\n")
    return complete(job)


@contextmanager
def opened(driver: Driver, run: bool = True) -> Iterator[StoredStudy]:
    if run:
        driver.once("story", lambda: driver.run(some_fail, trials=5))
    with driver.database() as database:
        yield find_study(database, "s", driver.settings.runs)


def writer_of(stored: StoredStudy, said: list[str] | None = None) -> DashboardWriter:
    said = [] if said is None else said
    return DashboardWriter(ShownStudy(stored, stored.finished, said.append))


def attrs(database: Database, name: str = "s") -> dict[str, Any]:
    study_id = database.find_study(name)
    assert study_id is not None
    return database.storage.get_study_system_attrs(study_id)


def study_note(stored: StoredStudy) -> str:
    return str(notes.get_note_from_system_attrs(attrs(stored.database), None)["body"])


def trial_note(stored: StoredStudy, number: int) -> str:
    trial_id = stored.record(number).trial_id
    return str(notes.get_note_from_system_attrs(attrs(stored.database), trial_id)["body"])


def edit(stored: StoredStudy, trial_id: int | None, text: str) -> None:
    """As the dashboard does for a person, who has the note's present version before them."""
    storage, there = stored.database.storage, attrs(stored.database)
    version = notes.get_note_from_system_attrs(there, trial_id)["version"] + 1
    assert notes.version_is_incremented(there, trial_id, version)
    notes.save_note_with_version(storage, stored.study_id, trial_id, version, text)


def test_the_dashboard_reads_what_was_told(driver: Driver) -> None:
    with opened(driver) as stored:
        writer_of(stored).write()
        assert "## Study `s`" in study_note(stored)
        assert "X = " in trial_note(stored, 1)
        assert "a log" in trial_note(stored, 1)
        assert "<script>" in trial_note(stored, 2)
        drawn = plots.get_plotly_graph_objects(attrs(stored.database))
        assert {name: bool(json.loads(text)["data"]) for name, text in drawn.items()} == {
            "best-so-far": True,
            "cost": True,
        }


def test_a_study_of_another_program_is_told_whatever_its_name(tmp_path: Path) -> None:
    said: list[str] = []
    with closing(open_database(tmp_path / "optuna.db")) as database:
        database.create_study("my study!", "minimize", "loss", {})
        write_dashboard(find_study(database, "my study!", tmp_path), said.append)
        assert "## Study `my study!`" in notes.get_note_from_system_attrs(attrs(database, "my study!"), None)["body"]
    assert said == ["written: the notes and plots of study my study! in the dashboard"]


@pytest.mark.parametrize("words", ["", "'-u', "])
def test_the_note_trains_the_best_again_as_it_was_trained(
    driver: Driver, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where no other Python is
    (driver.folder / "workload" / "workload.toml").write_text(f"command = ['{{python}}', {words}'train.py']\n")
    with opened(driver) as stored:
        writer_of(stored).write()
        assert f"/best && PYTHON={elsewhere_python()} sh run.sh\n" in study_note(stored)


def test_the_links_of_a_note_lead_to_what_the_trial_left(driver: Driver) -> None:
    with opened(driver) as stored:
        writer_of(stored).write()
        record = stored.record(1)
        for artifact_id in stored.artifacts().ids(record.trial_id).values():
            assert f"(/artifacts/{stored.study_id}/{record.trial_id}/{artifact_id})" in trial_note(stored, 1)


def test_a_trial_has_its_note_soon_after_its_end(driver: Driver) -> None:
    with opened(driver) as stored:
        writer = writer_of(stored)
        writer.on_trial_end(stored.record(1))
        writer.on_tick()
        assert trial_note(stored, 1)


def test_the_study_is_not_told_again_at_every_trial(driver: Driver) -> None:
    with opened(driver) as stored:
        writer = writer_of(stored)
        writer.on_tick()
        told = attrs(stored.database)
        writer.on_trial_end(replace(stored.record(1), number=99, trial_id=99))
        writer.on_tick()
        assert attrs(stored.database).items() >= told.items()


def test_the_first_ending_is_told_at_once(driver: Driver) -> None:
    ended: list[TrialRecord] = []
    with opened(driver) as stored:
        writer = DashboardWriter(ShownStudy(stored, lambda: ended, print))
        writer.on_tick()
        assert "No trial has completed yet" in study_note(stored)
        ended += stored.finished()[:1]
        writer.on_trial_end(ended[0])
        writer.on_tick()
        assert "| baseline" in study_note(stored)


def test_an_old_study_is_told_a_few_trials_at_a_time(driver: Driver) -> None:
    with opened(driver) as stored:
        writer = writer_of(stored)
        writer._write_trial_notes(2)
        assert [bool(trial_note(stored, number)) for number in range(5)] == [False, False, False, True, True]
        writer._write_trial_notes(2)
        writer._write_trial_notes(2)
        assert all(trial_note(stored, number) for number in range(5))


def test_what_a_person_has_written_stays(driver: Driver) -> None:
    with opened(driver) as stored:
        writer_of(stored).write()
        trial_id = stored.record(1).trial_id
        edit(stored, None, "mine")
        edit(stored, trial_id, "mine too")
    driver.run(trials=8)
    with opened(driver, run=False) as stored:
        write_dashboard(stored, driver.said.append)
        assert study_note(stored) == "mine"
        assert trial_note(stored, 1) == "mine too"
        assert trial_note(stored, 6)


def test_a_note_that_was_there_before_is_not_touched(driver: Driver) -> None:
    with opened(driver) as stored:
        edit(stored, None, "before")
        edit(stored, stored.record(3).trial_id, "")
        writer_of(stored).write()
        assert study_note(stored) == "before"
        assert trial_note(stored, 3) == ""


def test_somebody_who_edits_the_note_meanwhile_can_still_save_it(driver: Driver) -> None:
    with opened(driver) as stored:
        writer_of(stored).write()
        version = attrs(stored.database)[notes.note_ver_key(None)] + 1  # what the editor will send
        write_study_notes(stored.database, stored.study_id, "a new best", {})
        assert study_note(stored) == "a new best"
        assert notes.version_is_incremented(attrs(stored.database), None, version)


def test_a_shorter_note_or_plot_leaves_nothing_of_the_longer_one(driver: Driver) -> None:
    with opened(driver) as stored:
        for text in ("x" * 5000, "short", "é" * 3000):
            write_study_notes(stored.database, stored.study_id, text, {"plot": json.dumps(text)})
            assert study_note(stored) == text
            assert json.loads(plots.get_plotly_graph_objects(attrs(stored.database))["plot"]) == text


def test_there_are_never_too_many_notes_and_none_of_a_person_is_dropped(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_notes, "MOST_NOTES", 2)
    with opened(driver) as stored:
        ids = [stored.record(number).trial_id for number in range(5)]
        put_trial_notes(stored.database, stored.study_id, {each: f"trial {each}" for each in ids})
        edit(stored, ids[1], "mine")
        write_study_notes(stored.database, stored.study_id, "note", {}, keep={ids[0]})
        assert [bool(trial_note(stored, number)) for number in range(5)] == [True, True, False, True, True]
        assert trial_note(stored, 1) == "mine"


def test_the_more_trials_the_fewer_notes(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [most_notes(trials) for trials in (0, 5, 2_000, 10_000, 100_000)] == [1_000, 1_000, 1_000, 200, 20]
    monkeypatch.setattr(stored_notes, "_MOST_LOOKS", 10)  # the five trials of this study may have two
    with opened(driver) as stored:
        writer_of(stored).write()
        assert [bool(trial_note(stored, number)) for number in range(5)] == [False, False, False, True, True]
        put_trial_notes(stored.database, stored.study_id, {stored.record(2).trial_id: "an older one"})
        write_study_notes(stored.database, stored.study_id, "note", {})
        assert [bool(trial_note(stored, number)) for number in range(5)] == [False, False, False, True, True]


def test_a_copy_takes_the_notes_along_under_its_own_ids(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with opened(driver) as stored, closing(open_database(empty_database(tmp_path / "elsewhere"))) as other:
        writer_of(stored).write()
        other.create_study("first", "minimize", "loss")
        other.create_trial(1, state="RUNNING", params={}, choices={})
        copy_study(stored.database, other, "s")
        copied = StoredStudy("s", stored.metric, {}, StudyPaths(tmp_path, "s"), other, 2)
        assert copied.record(1).trial_id != stored.record(1).trial_id
        link = f"/artifacts/2/{copied.record(1).trial_id}/"
        assert trial_note(copied, 1) == trial_note(stored, 1).replace(
            f"/artifacts/1/{stored.record(1).trial_id}/", link
        )
        assert link in trial_note(copied, 1)
        assert study_note(copied) == study_note(stored)


def test_what_cannot_be_told_is_one_line_and_no_end(driver: Driver) -> None:
    said: list[str] = []
    with opened(driver) as stored:
        writer = DashboardWriter(ShownStudy(stored, broken_records, said.append))
        writer.write()
        writer.on_tick()
        writer.write()
    assert said == ["the dashboard's notes and plots: the disk is full (the study goes on)"]


def broken_records() -> list[Any]:
    raise StorageError("the disk is full")


def test_an_artifact_that_is_gone_is_not_quoted(driver: Driver) -> None:
    with opened(driver) as stored:
        for path in stored.artifacts().folder.iterdir():
            path.unlink()
        writer_of(stored).write()
        assert "val_bpb" in trial_note(stored, 1)
        assert "a log" not in trial_note(stored, 1)


@pytest.mark.slow
def test_a_server_keeps_the_story_as_well(driver: Driver, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.database() as url:
        driver.set(storage=url)
        with opened(driver) as stored:
            writer_of(stored).write()
            assert "## Study `s`" in study_note(stored)
            assert "X = " in trial_note(stored, 1)
            edit(stored, stored.record(0).trial_id, "mine")
            monkeypatch.setattr(stored_notes, "MOST_NOTES", 2)
            write_study_notes(stored.database, stored.study_id, "another", {"cost": "{}"})
            assert study_note(stored) == "another"
            assert [bool(trial_note(stored, number)) for number in range(5)] == [True, False, False, True, True]


def test_nothing_is_said_to_be_written_that_is_not(driver: Driver) -> None:
    said: list[str] = []
    with opened(driver) as stored:
        stored.database.delete_study("s")
        write_dashboard(stored, said.append)
    assert said
    assert not any(line.startswith("written") for line in said)
