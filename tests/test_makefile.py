"""The Makefile before it has anything installed: misspelt variables, values with quotes, a clone that was moved, no such Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import typer

from optimize.cli import app
from optimize.commands.make_variables import ONLY_COMMANDS, misspelt, no_targets
from optimize.reporting.hints import TARGETS

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PROGRAM = "#!{}/.venv/bin/python\nimport sys\nprint(sys.prefix, sys.argv[1:])\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the Makefile needs of a clone, and a `.venv` whose `optimize` prints where it is and what it was given."""
    folder = tmp_path / "clone"
    for name in ("Makefile", "optimize/commands/make_variables.py", "optimize/commands/mend_venv.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    venv.create(folder / ".venv", symlinks=True)
    site = next(folder.glob(".venv/lib/python*/site-packages"))
    (site / "__editable__.optimize.pth").write_text(f"{folder}\n")
    program = folder / ".venv/bin/optimize"
    program.write_text(PROGRAM.format(folder))
    program.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (folder / name).touch()
    return folder


def make(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", *words], cwd=folder, env=env | environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("goals", "given", "meant"),
    [
        ("optimize", "TRAILS", "TRIALS"),
        ("optimize", "trials", "TRIALS"),
        ("confirm", "FINALIST", "FINALISTS"),
        ("status", "study", "STUDY"),
        ("stop", "STDUY", "STUDY"),
        ("show", "n", "N"),
        ("test", "AGRS", "ARGS"),
        ("setup", "PYHTON", "PYTHON"),
        ("dashboard", "PROT", "PORT"),
        ("autoresearch", "COMIT", "COMMIT"),
        ("optimize report", "FORM", "FROM"),
    ],
)
def test_a_misspelt_variable_is_named_with_what_was_meant(goals: str, given: str, meant: str) -> None:
    line = f"make {goals}: did you mean {meant}? There is no variable {given} here"
    assert misspelt(MAKEFILE, goals, [given]) == [line]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("optimise", "make optimize"),
        ("OPTIMIZE", "make optimize"),
        ("stauts", "make status"),
        ("dash", "make dashboard"),
        ("tests", "make test"),
        ("run", "make optimize"),
        ("init", ".venv/bin/optimize init"),
    ],
)
def test_a_misspelt_target_is_named_with_what_was_meant(given: str, meant: str) -> None:
    line = f"make {given}: did you mean {meant}? There is no target {given} here; make help lists them"
    assert no_targets(MAKEFILE, ["status", given]) == [line]


def test_what_resembles_no_target_is_named_unless_it_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert no_targets(MAKEFILE, ["xyz"]) == ["make xyz: there is no target xyz here; make help lists them"]
    assert no_targets(MAKEFILE, ["status", "docs", ".venv/.installed", "moved.txt"]) == []


def test_commands_without_a_target_are_known() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    of_make = {*re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)}
    assert {*ONLY_COMMANDS} == commands.keys() - of_make - {"run"}


@pytest.mark.parametrize(
    "name",
    [
        "CUDA_VISIBLE_DEVICES",
        "OPENAI_API_KEY",
        "HF_HOME",
        "TMPDIR",
        "PYTHONPATH",
        "LANG",
        "CC",
        "http_proxy",
        "VENV",
        "V",
    ],
)
def test_what_make_hands_on_in_the_environment_is_not_refused(name: str) -> None:
    assert misspelt(MAKEFILE, "optimize", [name]) == []


def test_each_variable_of_any_target_is_known() -> None:
    """Those of another target are left aside: `make confirm` may be given with all that `make optimize` was."""
    of_all = {flag.upper().replace("-", "_") for _, flags in TARGETS.values() for flag in flags}
    assert misspelt(MAKEFILE, "confirm", sorted(of_all | {"PYTHON", "PORT", "DIR", "COMMIT", "ARGS", "N"})) == []


def test_make_refuses_a_misspelt_variable_of_its_command_line_only(clone: Path) -> None:
    refused = make(clone, "status", "STDUY=night")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "make status: did you mean STUDY? There is no variable STDUY here.  Stop." in refused.stderr
    assert make(clone, "status", STDUY="night").returncode == 0
    assert (
        make(clone, "status", "STDUY=night", MAKELEVEL="1").returncode == 0
    )  # of another Makefile, that calls this one


def test_make_refuses_a_misspelt_target_before_it_begins_with_another_one(clone: Path) -> None:
    refused = make(clone, "status", "optimise")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "make optimise: did you mean make optimize?" in refused.stderr
    assert make(clone, "status").returncode == 0


def test_a_value_reaches_the_program_as_it_was_given(clone: Path) -> None:
    value = 'it\'s a "$x" \\ `b`'
    assert str(["status", "--study", value]) in make(clone, "status", f"STUDY={value}").stdout
    assert str(["show", value]) in make(clone, "show", f"N={value}").stdout
    assert str(["--log", "it's"])[1:-1] in make(clone, "check", "LOG=it's").stdout
    assert str(["--to", "it's.zip"])[1:-1] in make(clone, "export", "BUNDLE=it's.zip").stdout


@pytest.mark.parametrize("name", ["moved", "into a blank"])
def test_the_venv_of_a_moved_clone_mends_itself(clone: Path, name: str) -> None:
    elsewhere = clone.rename(clone.with_name(name))
    first, second = make(elsewhere, "status"), make(elsewhere, "status")
    assert f"{elsewhere}/.venv ['status']" in first.stdout, first.stderr
    assert "was moved or copied" in first.stdout
    assert second.stdout == f"{elsewhere}/.venv ['status']\n"
    (pth,) = elsewhere.rglob("__editable__.optimize.pth")
    assert pth.read_text() == f"{elsewhere}\n"


@pytest.mark.parametrize("activate", [None, "# names no folder\n"])
def test_a_venv_that_does_not_say_where_it_was_made_is_left_alone(clone: Path, activate: str | None) -> None:
    (clone / ".venv/bin/activate").unlink()
    if activate is not None:
        (clone / ".venv/bin/activate").write_text(activate)
    told = make(clone, "status")
    assert (told.stdout, told.stderr) == (f"{clone}/.venv ['status']\n", "")


def test_a_venv_whose_python_has_gone_is_made_anew(clone: Path) -> None:
    for program in (clone / ".venv/bin").glob("python*"):
        program.unlink()
        program.symlink_to("/nowhere/python3")
    told = make(clone, "-n", "status").stdout
    assert "-m venv --clear .venv" in told
    assert "-m pip install" in told  # what another Python had installed is of no use


def test_a_python_that_is_not_there_is_said_with_the_command_to_give(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    refused = make(clone, "status", "STUDY=x", "PYTHON=python9")
    told = (
        "there is no program python9 here. Python 3.11 or newer is needed. Use: make status STUDY=x PYTHON=python3.12"
    )
    assert f"setup: {told}\n" == refused.stdout
