"""A Ctrl-C outside the loop: one line and exit code 130, never a traceback and never a process that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HELP = "import atexit, os, signal, sys; sys.argv = ['optimize', '--help']\n"
MAIN = "from optimize.__main__ import main; main()\n"
AT_IMPORT = """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
IN_A_COMMAND = """
import optimize.cli
optimize.cli.app.command("wait")(lambda: signal.raise_signal(signal.SIGINT))
sys.argv = ["optimize", "wait"]
"""
AT_EXIT = "atexit.register(lambda: signal.raise_signal(signal.SIGINT))\n"
AT_THE_VERY_END = """
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGINT):
        kill(pid, number)  # Python has given its signals back by now
sys.modules["last"] = Last()
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("moment", [AT_IMPORT, IN_A_COMMAND])
def test_before_the_loop_it_is_a_line(moment: str) -> None:
    ended = python(HELP + moment + MAIN)
    assert (ended.returncode, ended.stderr) == (130, "stopped by Ctrl-C\n")


@pytest.mark.parametrize("moment", [AT_EXIT, AT_THE_VERY_END])
def test_after_the_end_it_changes_nothing(moment: str) -> None:
    ended = python(HELP + moment + MAIN)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage" in ended.stdout


@pytest.mark.parametrize("name", ["storage.py", "search_spaces/__init__.py", "signal.py", "typing.py", "typer.py"])
def test_modules_of_the_folder_that_it_is_called_in_hide_none_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('not the one that was meant')\n")
    command = [sys.executable, "-m", "optimize", "status"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "no database here yet" in ended.stderr


def test_a_checkout_that_is_not_installed_runs_in_its_own_folder() -> None:
    """`-S` leaves site-packages out, and the editable install with it; what else is needed is named."""
    code = f"import sys; sys.path[1:1] = {[path for path in sys.path if path.endswith('site-packages')]}"
    runs = "import runpy; sys.argv = ['optimize', '--help']; runpy.run_module('optimize', run_name='__main__', alter_sys=True)"
    ended = subprocess.run(
        [sys.executable, "-S", "-c", f"{code}; {runs}"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "Usage" in ended.stdout, ended.stderr
