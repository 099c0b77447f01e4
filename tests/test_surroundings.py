"""The tests pass wherever they are started, and the commands work in whatever a user's shell has set."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Driver
from tests.test_cli import environment, flags, run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
# Tests that meet what the name of each says.
TOUCHY = (
    "test_completion.py::test_studies_and_their_newest_trials_come_from_the_database_file",  # OPTIMIZE_STORAGE_URL
    "test_prepare_download.py::test_partial_download_is_resumed",  # http_proxy
    "test_stopping.py::test_one_ctrl_c_finishes_and_the_second_cancels",  # SIGINT ignored
)
NONSENSE = {
    "OPTIMIZE_STORAGE_URL": "postgresql://x:y@nonsense.invalid/z",
    "OPENAI_API_KEY": "nonsense",
    "http_proxy": "http://127.0.0.1:9",
    "GIT_DIR": "/nonsense",
    "COLUMNS": "40",
    "FORCE_COLOR": "1",
}


def test_the_tests_pass_in_a_background_job_of_a_shell_with_settings_of_its_own() -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in TOUCHY)]
    ended = subprocess.run(
        ["sh", "-c", f'trap "" INT; {shlex.join(argv)} <&-'],
        cwd=ROOT, env={**os.environ, **NONSENSE}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert f"{len(TOUCHY)} passed" in ended.stdout


def test_a_terminal_that_cannot_show_a_character_is_shown_its_number(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("value = 1.0", "print('größer ▁▂▃')\nvalue = 1.0"), "utf-8")
    assert run(driver, "--trials", "1").returncode == 0
    argv = [sys.executable, "-m", "optimize", "show", "0"]
    latin = {**environment(driver), "PYTHONIOENCODING": "latin-1"}
    shown = subprocess.run(argv, cwd=driver.folder, env=latin, capture_output=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "größer \\u2581\\u2582\\u2583" in shown.stdout.decode("latin-1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_results_that_cannot_be_written_are_one_line(driver: Driver) -> None:
    assert run(driver, "--trials", "1").returncode == 0
    for words in (["status"], ["status", "--json"], ["show", "0"]):
        ended = typed(driver, words, "> /dev/full")
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert "No space left on device" in ended.stderr


def test_a_reader_that_wants_no_more_is_no_error(driver: Driver) -> None:
    assert run(driver, "--trials", "1").returncode == 0
    for end in ("| true", ">&-", ">&- 2>&- <&-"):
        assert typed(driver, ["status", "--json"], end).stderr == ""


def test_a_study_goes_on_when_nobody_listens_any_more(driver: Driver) -> None:
    typed(driver, ["run", "--trust", *flags(driver), "--trials", "4"], "2>&1 | head -n 1")
    assert len(results(driver)) == 1 + 4


def test_a_cell_of_a_notebook_has_a_terminal_at_which_nobody_sits_and_whose_cursor_stays(driver: Driver) -> None:
    code, said = in_cell(driver, ["run", *flags(driver), "--trials", "1"])
    assert code == 2
    assert "Read its scripts, then accept them" in said
    code, said = in_cell(driver, ["run", "--trust", *flags(driver), "--trials", "1"])
    assert code == 0
    assert "\x1b[" not in said


def in_cell(driver: Driver, words: list[str]) -> tuple[int, str]:
    """As `!` starts it: exit code, and all that the cell shows."""
    leader, follower = pty.openpty()
    argv, env = [sys.executable, "-m", "optimize", *words], {**environment(driver), "JPY_PARENT_PID": "1"}
    with subprocess.Popen(
        argv, cwd=driver.folder, env=env, stdin=follower, stdout=follower, stderr=follower
    ) as started:
        os.close(follower)
        said = b""
        with suppress(OSError):  # the other end is closed
            while more := os.read(leader, 65_536):
                said += more
        os.close(leader)
        return started.wait(120), said.decode()


def typed(driver: Driver, words: list[str], end: str) -> subprocess.CompletedProcess[str]:
    """As in a shell, `end` being what stands behind the command."""
    line = f"{shlex.join([sys.executable, '-m', 'optimize', *words])} {end}"
    return subprocess.run(
        ["sh", "-c", line], cwd=driver.folder, env=environment(driver), capture_output=True, text=True, timeout=120
    )


def results(driver: Driver) -> list[str]:
    return driver.paths.results_tsv.read_text().splitlines()
