"""Commands that are printed are pasted where they were printed, and do what the line says.

The user stands in a folder without a Makefile and knows the program only by its path. Studies are in a folder and a database whose
names have blanks and a quote. Every command here comes out of a line that was printed before.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import socket
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from optimize.config.trust import accept
from optimize.script.load_workload import load_workload
from tests.forked import PROGRAM, server_for_programs
from tests.replicating import SEEDED

ROOT = Path(__file__).parent.parent
SPACE = (
    '[parameters]\nX = [1, 2, 4, 8]\nY = [0.125, 0.25, 0.5, 1.0]\n\n[[rules]]\nrule = "SIZE % X == 0"\nwhy = "halves"\n'
)
FILES = {
    "workload/train.py": SEEDED,
    "space.toml": SPACE,
    "it's a profile.toml": '[slots]\ndevice = "cpu"\n',
}
RUNS = "it's my runs"
PLACE = ["--runs", RUNS, "--storage", "sqlite:///it's a database.db"]
PLAN = [
    "--workload",
    "./workload",
    "--space",
    "./space.toml",
    "--profile",
    "./it's a profile.toml",
    "--sampler",
    "random",
]


@dataclass(frozen=True)
class Shell:
    """Where the user stands, and what the user types to start the program."""

    folder: Path
    program: str
    config: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self.config),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()]),
            "XDG_CONFIG_HOME": str(self.config),
            "FORKED_SERVER": str(server_for_programs()),
        }

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Paste a line."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.env,
            pass_fds=[server_for_programs()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def optimize(self, *words: object, code: int = 0) -> str:
        """Type a command; return what it prints."""
        ended = self.run(f"{self.program} {shlex.join(map(str, words))}")
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    def paste(self, line: str, code: int = 0) -> str:
        ended = self.run(line)
        assert ended.returncode == code, f"{line}\n{ended.stderr}"
        return ended.stdout + ended.stderr


def make_shell(tmp_path: Path, program: str) -> Shell:
    folder = tmp_path / "here"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Shell(folder, program, tmp_path / "config")


def installed(tmp_path: Path) -> Shell:
    script = tmp_path / "it's elsewhere" / "bin" / "optimize"
    script.parent.mkdir(parents=True)
    script.write_text(PROGRAM)
    script.chmod(0o755)
    return make_shell(tmp_path, shlex.quote(str(script)))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return installed(tmp_path)


@pytest.fixture(scope="module")
def three_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Study s in a folder of its own."""
    shell = installed(tmp_path_factory.mktemp("begun"))
    shell.optimize("run", *PLAN, *PLACE, "--study", "s", "--trials", 3, "--trust")
    return shell.folder


@pytest.fixture
def begun(three_trials: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A copy of it, whose scripts have been accepted."""
    shutil.copytree(three_trials, shell.folder, dirs_exist_ok=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.config))
    accept(load_workload(str(shell.folder / "workload")), lambda commands: True)
    return shell


def commands(text: str, shell: Shell) -> list[str]:
    """The commands between backticks in what was printed."""
    return [found for found in re.findall(r"`([^`]+)`", text) if found.startswith(shell.program)]


def hints(text: str, shell: Shell) -> dict[str, str]:
    """The commands at the end of lines such as `go on: COMMAND`, by what stands before."""
    found = re.findall(rf"^ *([a-z ]+): +({re.escape(shell.program)} .*)$", text, re.M)
    return dict(found)


def numbers(shell: Shell, study: str = "s") -> list[str]:
    listed = shell.optimize("status", *PLACE, "--study", study)
    return re.findall(r"^ *(\d+) ", listed, re.M)


pytestmark = pytest.mark.slow


def test_what_is_printed_at_the_end_of_a_study(begun: Shell) -> None:
    found = hints(begun.optimize("run", *PLAN, *PLACE, "--study", "s", "--trials", 3), begun)
    assert set(found) == {"more", "be sure", "report", "view", "go on"}
    shown = begun.paste(found["more"])
    assert "report.html" in begun.paste(found["report"])
    assert "val_bpb" in begun.paste(shown.strip().splitlines()[-1])  # train it again
    begun.paste(found["go on"])
    assert len(numbers(begun)) == 6
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = f"{found['view']} --port {taken.getsockname()[1]}"
        (another,) = re.findall(rf"Choose another port: ({re.escape(begun.program)}.*)$", begun.paste(line, 2), re.M)
    assert shlex.split(another)[1:] == ["dashboard", "--port", "8081", *PLACE[2:], *PLACE[:2]]
    assert "confirmation" in begun.paste(found["be sure"])


def test_commands_that_need_a_study_where_there_is_none(shell: Shell) -> None:
    (line,) = commands(shell.optimize("status", *PLACE, code=2), shell)
    assert shlex.split(line)[1:] == ["run", *PLACE[2:], *PLACE[:2]]


def test_scripts_that_nobody_has_accepted(shell: Shell) -> None:
    (line,) = commands(shell.optimize("run", *PLAN, *PLACE, "--study", "s", "--trials", 2, code=2), shell)
    shell.paste(line)
    assert len(numbers(shell)) == 2


def test_another_driver_at_work(begun: Shell) -> None:
    train = begun.folder / "workload" / "train.py"
    train.write_text(
        train.read_text().replace("for step in range(4):", "import time\nfor step in range(4):\n    time.sleep(1)")
    )
    words = shlex.join(["run", *PLAN, *PLACE, "--study", "busy", "--slots", "1"])
    with subprocess.Popen(
        ["bash", "-c", f"exec {begun.program} {words}"],
        cwd=begun.folder,
        env=begun.env,
        pass_fds=[server_for_programs()],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        try:
            assert driver.stderr is not None
            assert any("slots: 1" in line for line in driver.stderr)
            (line,) = commands(begun.optimize("run", *PLAN, *PLACE, "--study", "busy", code=2), begun)
            assert "asked to stop" in begun.paste(line)
            assert driver.wait(120) == 0
        finally:
            driver.kill()


def test_a_changed_search_space(begun: Shell) -> None:
    (begun.folder / "space.toml").write_text(SPACE.replace("1, 2, 4, 8", "2, 4, 8"))
    own, moved = commands(begun.optimize("run", *PLAN, *PLACE, "--study", "s", code=2), begun)
    begun.paste(moved)
    assert 1 <= len(numbers(begun, "s-2")) <= 3
    begun.paste(f"{own} --to own.toml")
    assert (begun.folder / "own.toml").read_text() == SPACE


def test_a_trial_or_a_study_that_is_not_there(begun: Shell) -> None:
    (line,) = commands(begun.optimize("show", 99, *PLACE, code=2), begun)
    assert len(re.findall(r"^ *\d ", begun.paste(line), re.M)) == 3


def test_a_confirmation_of_what_is_not_there(begun: Shell) -> None:
    begun.optimize("clean", *PLACE, "--study", "s", "--yes")
    (line,) = commands(begun.optimize("confirm", *PLAN[:6], *PLACE, "--study", "s", code=2), begun)
    begun.paste(f"{line} --trials 1")
    assert len(numbers(begun)) == 1


def test_a_backup_that_is_restored_elsewhere(begun: Shell) -> None:
    begun.optimize("backup", "kept it's", *PLACE)
    found = hints(begun.optimize("restore", "kept it's", "--runs", "it's new"), begun)
    begun.paste(f"{found['go on']} --trials 4")
    listed = begun.optimize("status", "--runs", "it's new")
    assert len(re.findall(r"^ *\d ", listed, re.M)) == 4


def test_what_is_printed_in_an_unpacked_bundle(begun: Shell) -> None:
    begun.optimize("export", *PLACE, "--study", "s", "--bundle", "--to", "s.zip")
    with zipfile.ZipFile(begun.folder / "s.zip") as archive:
        archive.extractall(begun.folder / "there")
    there = replace(begun, folder=begun.folder / "there" / "s-bundle")
    listed = there.optimize("status", "--runs", ".")
    assert "Not here: ./workload, ./it's a profile.toml." in listed
    found = hints(listed, there)
    assert set(found) == {"all about it"}
    assert "val_bpb" in there.paste(there.paste(found["all about it"]).strip().splitlines()[-1])  # train it again


def test_a_first_search_space(shell: Shell) -> None:
    said = shell.optimize("space", "init", "./workload/train.py", "--to", "it's new.toml")
    (line,) = commands(said, shell)
    shell.paste(line)


def test_a_mistake_and_its_help(shell: Shell) -> None:
    (line,) = re.findall(r"See: (.* --help)", shell.optimize("run", "--nothing", code=2))
    assert "Example:" in shell.paste(line)


@pytest.mark.parametrize("typed", ["python -m optimize", "python -X utf8 -m optimize"])
def test_python_as_it_was_typed(tmp_path: Path, typed: str) -> None:
    shell = make_shell(tmp_path, f"./bin/{typed}")
    (shell.folder / "bin").mkdir()
    starts = f'#!/bin/bash\nexec -a "$0" {shlex.quote(sys.executable)} "$@"\n'
    (shell.folder / "bin" / "python").write_text(starts)
    (shell.folder / "bin" / "python").chmod(0o755)
    (line,) = commands(shell.optimize("status", *PLACE, code=2), shell)
    assert line.startswith(f"{shell.program} run")
