"""Commands in messages can be pasted where the user stands."""

from __future__ import annotations

import ast
import inspect
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from optimize import notebook
from optimize.cli import app
from optimize.cli import run as cli_run
from optimize.commands.run import run
from optimize.config.settings import Settings, read_settings
from optimize.reporting import hints, program
from optimize.reporting.hints import command_line, given_flags, optimize_command, pasteable

ROOT = Path(__file__).parent.parent
FLAGS = {"study": "night", "workload": "./a folder", "trials": 40, "storage": None, "runs": Path("runs")}


@pytest.fixture
def through_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process that the Makefile of this folder has started, and the user in the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTIMIZE_MAKE_FROM", str(tmp_path))
    started(monkeypatch, ".venv/bin/optimize", "status")
    return tmp_path


def started(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", list(words))


def test_through_make_commands_are_its_targets(through_make: Path) -> None:
    assert command_line("run", FLAGS) == "make optimize STUDY=night WORKLOAD='./a folder' TRIALS=40"
    assert command_line("show", {"study": "night"}, 12) == "make show N=12 STUDY=night"
    assert command_line("stop", {"now": True}) == "make stop NOW=1"


def test_elsewhere_they_are_commands_of_optimize() -> None:
    assert command_line("run", FLAGS) == "optimize run --study night --workload './a folder' --trials 40"
    assert command_line("show", {"study": "night"}, 12) == "optimize show 12 --study night"
    assert command_line("stop", {"now": True}) == "optimize stop --now"


@pytest.mark.parametrize(
    ("command", "flags", "words"),
    [
        ("report", {"study": "s", "runs": Path("/mnt/runs")}, "report --study s --runs /mnt/runs"),
        ("clean", {"study": "s"}, "clean --study s"),  # `make clean` removes .venv
        ("migrate", {"study": "s"}, "migrate --study s"),
        ("status", {"study": "s", "last": 50}, "status --study s --last 50"),
        ("run", {"workload": "./it's"}, """run --workload './it'"'"'s'"""),
        ("run", {"workload": "./$HOME"}, "run --workload './$HOME'"),
    ],
)
def test_what_make_cannot_say_is_a_command_of_optimize(
    command: str, flags: dict[str, object], words: str, through_make: Path
) -> None:
    assert command_line(command, flags) == f".venv/bin/optimize {words}"


def test_make_of_another_folder_is_named_with_it(through_make: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = through_make / "it's mine"
    project.mkdir()
    monkeypatch.chdir(project)
    quoted = shlex.quote(str(project))
    assert command_line("stop", {"study": "s"}) == f"make -C {quoted} stop STUDY=s"
    assert command_line("clean", {"study": "s"}) == f"cd {quoted} && .venv/bin/optimize clean --study s"


def test_a_command_begins_with_the_program_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "a place" / "optimize"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    for typed in ("./a place/optimize", str(script)):
        started(monkeypatch, typed, "status")
        assert shlex.split(command_line("status")) == [typed, "status"]
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_line("status") == "optimize status"


@pytest.mark.parametrize("python", [["python"], [".venv/bin/python", "-X", "dev"], ["/a b/python3"]])
def test_or_with_python_as_it_was_typed(python: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, str(ROOT / "optimize" / "__main__.py"), "status", "--json")
    monkeypatch.setattr(sys, "orig_argv", [*python, "-m", "optimize", "status", "--json"])
    assert shlex.split(command_line("status")) == [*python, "-m", "optimize", "status"]


def test_in_a_program_of_another_name_it_is_a_module_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, "/usr/lib/ipykernel_launcher.py", "-f", "kernel.json")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir("/")
    assert shlex.split(command_line("status"))[1:] == ["-m", "optimize", "status"]
    assert Path("/", shlex.split(command_line("status"))[0]) == Path(sys.executable)


def test_in_a_cell_of_a_notebook_a_command_begins_with_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert command_line("status") == "!optimize status"


@pytest.mark.parametrize(
    ("command", "flags", "call"),
    [
        ("dashboard", {}, "dashboard()"),
        ("run", {"workload": "./it's", "trials": 20}, """run(workload="./it's", trials=20)"""),
        ("run", {"study": "s", "hours": "0.5", "seed": 3}, "run(study='s', hours=0.5, more=['--seed', '3'])"),
        (
            "run",
            {"workload": "./mine", "trust": True},
            "run(workload='./mine')",
        ),  # naming the folder accepts its commands
    ],
)
def test_in_a_cell_what_shows_pictures_is_a_call_of_the_notebooks_functions(
    command: str, flags: dict[str, object], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    written = command_line(command, flags)
    assert written == f"from optimize import notebook; notebook.{call}"
    found = next(node for node in ast.walk(ast.parse(written)) if isinstance(node, ast.Call))
    names = {word.arg: ast.literal_eval(word.value) for word in found.keywords if word.arg}
    inspect.signature(getattr(notebook, command)).bind(**names)


def test_in_a_cell_what_such_a_call_cannot_say_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert command_line("run", {"trust": True}) == "!optimize run --trust"
    assert command_line("run", {"runs": "there"}) == "!optimize run --runs there"
    assert command_line("dashboard", {"port": 8081}) == "!optimize dashboard --port 8081"


def test_a_cell_that_has_started_this_program_by_its_pythons_path_shows_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    started(monkeypatch, str(ROOT / "optimize" / "__main__.py"), "run")
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-m", "optimize", "run"])
    (tmp_path / "optimize").write_text("#!/bin/sh\n")
    (tmp_path / "optimize").chmod(0o755)
    monkeypatch.setattr(program.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line("status") == "!optimize status"
    monkeypatch.setenv("PATH", "/nowhere")  # or another program of that name
    assert command_line("status") == f"!{shlex.quote(sys.executable)} -m optimize status"


def test_a_command_finds_the_studies_of_this_call(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["--storage", "sqlite:///a b.db", "--runs=my runs"]
    started(
        monkeypatch,
        "optimize",
        "run",
        *place,
        "--profile",
        "cpu",
        "--trials",
        "3",
        "--mixed-devices",
        "--log",
        "mlflow",
    )
    where = "--storage 'sqlite:///a b.db' --runs 'my runs'"
    assert command_line("stop", {"study": "s"}) == f"optimize stop --study s {where}"
    assert command_line("run", {"study": "t"}) == f"optimize run --study t {where} --profile cpu --mixed-devices"
    assert command_line("restore", {"runs": "new"}) == "optimize restore --runs new"
    assert command_line("export", {"storage": None, "runs": "new"}) == "optimize export --runs new"
    assert command_line("prepare") == "optimize prepare --profile cpu"


def test_no_command_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, "optimize", "run", "--storage", "postgresql://me:secret@host/studies")
    assert command_line("stop", {"study": "s"}) == "optimize stop --study s"
    assert "secret" not in pasteable("`optimize ... --trust`")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Stop it (`optimize stop --study s`), then go on", "Stop it (`optimize stop --study s --runs r`), then go on"),
        ("`optimize ... --trust`", "`optimize run --study s --log tensorboard --log mlflow --runs r --trust`"),
        ("`optimize ... --study t`", "`optimize run --study t --log tensorboard --log mlflow --runs r`"),
        ("`optimize restore BACKUP --runs NEW`", "`optimize restore BACKUP --runs NEW`"),
        ("`optimize run --study 'a b'`", "`optimize run --study 'a b' --runs r`"),
        ("`optimize nothing`", "`optimize nothing`"),
        ("`optimize it's`", "`optimize it's`"),
        ("`pip download x`", "`pip download x`"),
        ("an optimize stop in a log", "an optimize stop in a log"),
    ],
)
def test_a_printed_line_has_its_commands_replaced(line: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, "optimize", "run", "--study", "s", "--log", "tensorboard", "--log", "mlflow", "--runs", "r")
    assert pasteable(line) == words


def test_a_line_of_pip_is_for_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hints, "CONSTRAINTS", tmp_path / "constraints.txt")
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    assert pasteable("Run `pip install 'ray>=2,<3'`.") == f"Run `{pip} 'ray>=2,<3'`."
    (tmp_path / "constraints.txt").touch()
    assert pasteable("`pip install x`") == f"`{pip} -c constraints.txt x`"


def test_where_uv_made_the_environment_it_is_for_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert pasteable("`pip install 'x>1'`") == f"`uv pip install --python {shlex.quote(sys.executable)} 'x>1'`"


INSTALLED_FROM = {
    '{"url": "file:///a%20b/o.whl", "archive_info": {}}': "'/a b/o.whl'",
    '{"url": "https://host/o", "vcs_info": {"vcs": "git", "commit_id": "1"}}': "git+https://host/o",
    '{"url": "https://host/o", "vcs_info": {"vcs": "git", "requested_revision": "v1"}}': "git+https://host/o@v1",
    '{"url": "https://host/o.whl"}': "https://host/o.whl",
    "": "optimize-train",
}


@pytest.mark.parametrize("told", INSTALLED_FROM)
def test_under_uvx_commands_begin_with_uvx_and_packages_stand_beside_them(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "archive-v0" / "x"
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(read_text=lambda file: told))
    monkeypatch.setattr("shutil.which", lambda name: str(prefix / "bin" / name))  # uvx puts it on the PATH
    started(monkeypatch, str(prefix / "bin" / "optimize"), "run", "--trials", "4")
    uvx = f"uvx --from {INSTALLED_FROM[told]}"
    assert pasteable("`optimize status`") == f"`{uvx} optimize status`"
    assert pasteable("`pip install 'x>1' y`") == f"`{uvx} --with 'x>1' --with y optimize run --trials 4`"
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    assert program.python() == str(prefix / "bin" / "python")


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
    "until_worth": 0.0005,
    "seed": 5,
    "sampler": "tpe",
    "pruner": "halving",
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
    """A new flag needs a place here: --from, --prior and --no-prior are left out because the study has begun so, --trust
    because it is remembered, --set-aside because it is done, --events, --detach and --json because a program said so for one
    call."""
    names = {
        name
        for name in inspect.signature(run).parameters
        if name
        not in (
            "start_from",
            "prior",
            "own_prior",
            "trust",
            "confirm",
            "backup",
            "set_aside",
            "events",
            "detach",
            "as_json",
        )
    }
    assert names == set(GIVEN)


def test_a_document_names_no_place_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["--runs", "/home/me/secret", "--storage", "sqlite:////home/me/o.db"]
    monkeypatch.setattr(sys, "argv", ["optimize", "report", *place])
    assert optimize_command("export", {"study": "s", "trial": 3}) == "optimize export --study s --trial 3"


def test_the_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"optimize-train": "9.8.7"}[name])
    assert cli_run(["--version"]) == 0
    assert capsys.readouterr().out == "optimize-train 9.8.7\n"
    assert cli_run(["--help"]) == 0
    assert "--version" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(program, "_NAME", "no-such-package")
    assert program.version_line() == f"no-such-package, not installed: run from {program.near(ROOT)}"
