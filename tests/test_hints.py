"""Commands in messages can be pasted where the user stands."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest
import typer

from optimize.cli import app
from optimize.commands.run import run
from optimize.config.settings import Settings, read_settings
from optimize.reporting import hints
from optimize.reporting.hints import command_line, given_flags, optimize_command

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


GIVEN = {
    "study": "night",
    "profile": "cpu",
    "workload": "./my folder/w",
    "search_space": "./my folder/space.toml",
    "storage": "postgresql://me@host/studies",
    "hours": 1.5,
    "executor": "ray",
    "slots": 3,
    "gpus": "0,2",
    "mixed_devices": True,
    "log": ["tensorboard", "mlflow"],
    "runs": Path("my runs"),
    "trials": 7,
    "seed": 5,
    "sampler": "tpe",
    "starts": False,
    "pruning": False,
    "advisor": "none",
    "advisor_share": 0.5,
}


def parsed(words: str) -> dict[str, object]:
    """What the command line makes of these words."""
    program, command, *rest = shlex.split(words)
    assert (program, command) == ("optimize", "run")
    group = typer.main.get_command(app)
    context = group.commands["run"].make_context("run", rest)  # type: ignore[attr-defined]
    return {name: value for name, value in context.params.items() if name in GIVEN and value not in (None, ())}


def settings_of(flags: dict[str, object]) -> Settings:
    given = {name: value for name, value in flags.items() if name != "profile"}
    return read_settings(str(flags.get("profile", "cpu")), "flag" if "profile" in flags else "the machine", given, {})[
        0
    ]


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_each_flag_of_a_call_is_in_the_command_that_goes_on(name: str) -> None:
    again = parsed(optimize_command("run", given_flags(settings_of({name: GIVEN[name]}), search=True)))
    assert again[name] == (GIVEN[name] if name != "runs" else Path("my runs"))


def test_all_flags_together_come_back_as_they_were_given() -> None:
    assert parsed(optimize_command("run", given_flags(settings_of(GIVEN), search=True))) == GIVEN


@pytest.mark.parametrize("name", ["starts", "pruning"])
def test_a_flag_that_turns_something_on_comes_back_as_well(name: str) -> None:
    assert parsed(optimize_command("run", given_flags(settings_of({name: True}), search=True)))[name] is True


def test_no_flag_of_run_is_forgotten() -> None:
    """A new flag needs a place here: --from is left out because the study has begun with it, --trust because it is remembered,
    --set-aside because it is done."""
    names = {
        name
        for name in inspect.signature(run).parameters
        if name not in ("start_from", "trust", "confirm", "backup", "set_aside")
    }
    assert names == set(GIVEN)


def test_make_knows_every_variable_that_a_hint_may_name() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    flags = {
        **given_flags(settings_of(GIVEN), search=True),
        "confirm": 3,
        "backup": "/b",
        "pruning": True,
        "starts": True,
    }
    for name in flags.keys() - {"runs"}:
        variable = name.upper().replace("-", "_")
        assert f"$({variable})" in makefile or f"call flag,{variable}," in makefile, variable
