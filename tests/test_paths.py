"""Every name that a study leaves is in one place, and no study name leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import StorageError, StudyPaths, parent_of

ROOT = Path("runs")
NAMES = ("folder", "work", "results_tsv", "trials_csv", "best", "settings_json", "lock")


def test_the_names_are_those_that_the_readme_shows() -> None:
    paths = StudyPaths(ROOT, "cpu")
    assert (paths.database, paths.artifacts) == (Path("runs/optuna.db"), Path("runs/artifacts"))
    assert [str(getattr(paths, name)) for name in NAMES] == [
        "runs/cpu", "runs/cpu/work", "runs/cpu/results.tsv", "runs/cpu/trials.csv", "runs/cpu/best",
        "runs/cpu/settings.json", "runs/cpu/driver.lock",
    ]  # fmt: skip


def test_a_child_study_lives_inside_its_parents_folder() -> None:
    paths = StudyPaths(ROOT, "cpu/confirm")
    assert paths.results_tsv == Path("runs/cpu/confirm/results.tsv")
    assert paths.database == Path("runs/optuna.db")
    assert parent_of("cpu/confirm") == "cpu"


@pytest.mark.parametrize("name", ["cpu", "cpu/lr", "cpu/", "cpu/confirm/x"])
def test_a_study_of_another_program_with_a_slash_in_its_name_is_nobodys_child(name: str) -> None:
    assert parent_of(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc", "a/b", "a/../b", "a/confirm/x", "a/", "-x", ".hidden", "a b", "a\n", "ä", "a\0", "x" * 101,
     "artifacts", "optuna.db", "Optuna.DB", "optuna.db-wal"],
)  # fmt: skip
def test_what_is_no_name_for_a_study_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(StorageError, match="not a name for a study") as caught:
        StudyPaths(ROOT, name)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="ab./\\-_~*\0\n ", max_size=12))
def test_no_name_leads_out_of_the_root(name: str) -> None:
    try:
        paths = StudyPaths(Path("/runs"), name)
    except StorageError:
        return
    for each in NAMES:
        path = Path(getattr(paths, each))
        assert path.is_relative_to("/runs")
        assert ".." not in path.parts


@given(st.text(max_size=80), st.text(max_size=80))
def test_every_study_in_a_database_has_a_folder_of_its_own(one: str, other: str) -> None:
    paths = [StudyPaths.of(Path("/runs"), name) for name in (one, other)]
    assert (paths[0].folder == paths[1].folder) == (one == other)
    assert all(each.folder.parent in (Path("/runs"), Path("/runs") / each.study.split("/")[0]) for each in paths)


def test_a_report_lies_in_the_studys_folder() -> None:
    report = StudyPaths(ROOT, "cpu").report
    assert report.html == Path("runs/cpu/report.html")
    assert report.plot("progress") == Path("runs/cpu/plots/progress.png")


def test_the_folder_is_made_once_and_again(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "runs", "cpu")
    paths.create()
    paths.create()
    assert paths.folder.is_dir()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path / "runs/cpu")):
        StudyPaths(tmp_path / "runs", "cpu").create()
