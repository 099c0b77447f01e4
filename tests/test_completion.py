"""What a shell offers after TAB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimize.commands.completion import EXECUTORS, LOGS, PRUNERS, SAMPLERS, UNTIL, study_names, trial_numbers
from optimize.config.environment import STORAGE_VARIABLE
from optimize.config.plan import TRACKERS
from optimize.config.settings import profiles
from optimize.executors import EXECUTORS as THERE_ARE_EXECUTORS
from optimize.reporting import waiting
from optimize.search import SAMPLERS as THERE_ARE_SAMPLERS
from optimize.search.pruners import PRUNERS as THERE_ARE_PRUNERS
from search_spaces import shipped_spaces
from tests.conftest import Driver

ROOT = Path(__file__).parent.parent


def context(driver: Driver, **params: object) -> Any:
    return SimpleNamespace(params={"runs": driver.paths.root, **params})


def completed(folder: Path, line: str, shell: str = "bash") -> list[str]:
    """What the shell is told for this line, by the protocol that `--install-completion` sets up."""
    words = line.split(" ")
    code = "import sys; sys.argv = ['optimize']; from optimize.__main__ import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != STORAGE_VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT), "_OPTIMIZE_COMPLETE": f"complete_{shell}", "COMP_WORDS": line}
    environment |= {"COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.stderr == ""
    return [line for line in ended.stdout.splitlines() if line]


@pytest.mark.slow
def test_the_shell_is_told_the_names_of_ours(tmp_path: Path) -> None:
    assert completed(tmp_path, "optimize run --profile ") == profiles()
    assert completed(tmp_path, "optimize run --profile c") == ["colab", "cpu"]
    assert completed(tmp_path, "optimize check --space ") == list(shipped_spaces())
    assert completed(tmp_path, "optimize run --workload ") == ["gpt"]
    assert completed(tmp_path, "optimize space init gpt --profile h") == ["h100"]
    assert "cmaes" in "".join(completed(tmp_path, "optimize run --sampler ", "zsh"))


@pytest.mark.slow
def test_the_shell_is_told_studies_and_trials(driver: Driver) -> None:
    driver.run(trials=3)
    assert completed(driver.folder, "optimize show --study ") == ["s"]
    assert completed(driver.folder, "optimize show ") == ["2", "1", "0"]
    assert completed(driver.folder, "optimize show --runs nowhere ") == []


def test_studies_and_their_newest_trials_come_from_the_database_file(driver: Driver) -> None:
    driver.run(trials=3)
    assert study_names(context(driver), "") == ["s"]
    assert study_names(context(driver), "x") == []
    assert trial_numbers(context(driver, study="s"), "1") == [("1", "complete")]
    assert trial_numbers(context(driver, study="other"), "") == []
    with driver.database() as database:
        database.create_study(driver.paths.children[0], "minimize", "val_bpb", {})
    assert [number for number, _ in trial_numbers(context(driver), "")] == ["2", "1", "0"]


@pytest.mark.parametrize("broken", ["", "this is a letter", None])
def test_a_database_that_cannot_be_read_is_passed_over_in_silence(driver: Driver, broken: str | None) -> None:
    driver.paths.create()
    if broken is not None:
        driver.paths.database.write_text(broken)
    assert study_names(context(driver), "") == []
    assert trial_numbers(context(driver), "") == []
    assert driver.paths.database.exists() == (broken is not None)


def test_another_database_is_not_asked(driver: Driver) -> None:
    driver.run(trials=1)
    assert study_names(context(driver, storage="postgresql://host/db"), "") == []


def test_the_names_that_are_spelt_out_are_those_there_are() -> None:
    assert tuple(THERE_ARE_SAMPLERS) == SAMPLERS
    assert tuple(THERE_ARE_PRUNERS) == PRUNERS
    assert tuple(THERE_ARE_EXECUTORS) == EXECUTORS
    assert TRACKERS == LOGS
    assert waiting.UNTIL == UNTIL
