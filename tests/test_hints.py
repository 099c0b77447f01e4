"""Commands in messages can be pasted where the user stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.reporting import hints
from optimize.reporting.hints import command_line

FLAGS = {"study": "night", "workload": "./a folder", "trials": 40, "storage": None, "runs": Path("runs")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with this project's Makefile, and the user in it."""
    (tmp_path / "Makefile").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hints, "_PROJECT", Path.cwd())
    return tmp_path


def test_beside_the_makefile_commands_are_its_targets(project: Path) -> None:
    assert command_line("run", FLAGS) == "make optimize STUDY=night WORKLOAD='./a folder' TRIALS=40"
    assert command_line("show", {"study": "night"}, 12) == "make show N=12 STUDY=night"
    assert command_line("stop", {"now": True}) == "make stop NOW=1"


def test_elsewhere_they_are_commands_of_optimize(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    assert command_line("run", FLAGS) == "optimize run --study night --workload './a folder' --trials 40"
    assert command_line("show", {"study": "night"}, 12) == "optimize show 12 --study night"
    assert command_line("stop", {"now": True}) == "optimize stop --now"


def test_the_makefile_knows_no_other_folder_of_runs(project: Path) -> None:
    assert (
        command_line("report", {"study": "s", "runs": Path("/mnt/runs")})
        == "optimize report --study s --runs /mnt/runs"
    )
