"""Every command in a message passes through `reporting/hints.py`, and the commands, flags and variables that it knows are real."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from optimize.cli import app
from optimize.config.extras import GPT
from optimize.config.plan import PACKAGES
from optimize.reporting.hints import CARRIED, SWITCHES, TARGETS, parse_flags

ROOT = Path(__file__).parent.parent
GROUP = typer.main.get_command(app)
COMMANDS = {
    f"{name} {inner}".strip(): command
    for name, found in GROUP.commands.items()  # type: ignore[attr-defined]
    for inner, command in getattr(found, "commands", {"": found}).items()
}
WORDS = {name.split()[0] for name in COMMANDS}


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)


PRINTED = re.compile(
    rf"\boptimize (?:{'|'.join(WORDS)}|\.\.\.)\b(?!:)|\bmake (?:{'|'.join(targets())})\b|\bpip3? install|\bpython3? -m "
    r"|\boptuna storage|\b(?:ray|mlflow|tensorboard) (?:start|ui|--)"
)
# (module, text): why its command is not replaced when it is printed.
ELSEWHERE = {
    ("optimize/commands/make_variables.py", ""): "make itself shows its lines, where it was called",
    ("optimize/commands/flags.py", "Example: optimize"): "help_of replaces it",
    ("optimize/confirm/replicates.py", "optimize confirm"): "the origin of a setting, stored in settings.json",
    ("optimize/reporting/hints.py", "from optimize import"): "a statement for a cell, which is no command",
    ("optimize/reporting/program.py", " -m pip install"): "the replacement itself",
    ("optimize/reporting/program.py", "uv pip install"): "the same for uv",
    ("optimize/study/stopping.py", "optimize stop"): "who asked a study to stop",
    ("optimize/config/settings.py", "optimize run"): "stored in the database",
    ("optimize/script/pick_script.py", "optimize init"): "a name, which messages put between backticks",
    ("optimize/script/draft_space.py", "optimize "): "the head of a file; the printed line has it between backticks",
    ("optimize/transfer/bundle.py", "optimize "): "a README that says what has to be installed",
}


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string of the code but for docstrings; {} stands for what an f-string puts in."""
    inside = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    docs = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside | docs:
            yield node.value


def messages() -> Iterator[tuple[str, str]]:
    for package in ("optimize", "storage", "search_spaces"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "workloads" not in path.parts:  # scripts that run alone
                for text in texts(ast.parse(path.read_text("utf-8"))):
                    yield str(path.relative_to(ROOT)), text


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_command_in_a_message_stands_between_backticks() -> None:
    naked = [
        f"{module}: {text}"
        for module, text in messages()
        if PRINTED.search(re.sub(r"`(?:optimize|pip|optuna|ray|mlflow|tensorboard) [^`]*`", "", text))
        if not any(module == where and begin in text for where, begin in ELSEWHERE)
    ]
    assert naked == []


def test_every_command_between_backticks_exists_with_its_flags() -> None:
    found = [(module, text) for module, line in messages() for text in quoted(line) if text.startswith("optimize ")]
    assert len(found) > 15
    for module, text in found:
        words = shlex.split(text)[1:]
        own = words[: words.index("--")] if "--" in words else words  # what comes behind is a script's
        arguments, flags = parse_flags(own)
        name = " ".join(arguments[: 2 if arguments[0] == "space" else 1])
        for command in ("run", "confirm") if words[0] == "..." else [name]:
            options = {name.lstrip("-") for option in COMMANDS[command].params for name in option.opts}
            assert set(flags) <= options, (module, text)
        if words[0] != "...":
            assert len(arguments) > sum(required(each) for each in COMMANDS[name].params), (module, text)


def required(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument" and parameter.required)


def options_of(name: str) -> set[str]:
    parameters = [each for each in COMMANDS[name].params if each.param_type_name == "option"]
    return {word.lstrip("-") for each in parameters for word in (*each.opts, *each.secondary_opts)}


def test_the_flags_that_a_command_takes_along_are_its_own() -> None:
    assert set(CARRIED) == set(COMMANDS)
    for name, flags in CARRIED.items():
        assert set(flags) <= options_of(name), name
        assert {"storage", "runs"} & options_of(name) <= set(flags) or name == "prepare", name


def test_the_flags_without_a_value_are_known() -> None:
    switches = {
        word.lstrip("-")
        for command in COMMANDS.values()
        for each in command.params
        if getattr(each, "is_flag", False)
        for word in (*each.opts, *each.secondary_opts)
    }
    assert switches - {"help"} == SWITCHES


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_each_target_of_make_passes_each_of_its_variables_on(name: str) -> None:
    target, flags = TARGETS[name]
    assert flags - {"n"} <= options_of(name)
    values = {flag.upper().replace("-", "_"): "1" if flag in SWITCHES else f"a/{flag}" for flag in flags}
    words = ["make", "-n", "-o", ".venv/.installed", target, *(f"{key}={value}" for key, value in values.items())]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    _, passed = parse_flags(shlex.split(told.replace("\\\n", " ")))
    assert flags - {"n"} <= set(passed)
    for flag in flags - {"n", "log", "prior", "bundle"} - SWITCHES:
        assert passed[flag] == f"a/{flag}"


def test_the_packages_of_extras_are_those_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = {text for _, line in messages() for text in quoted(line) if text.startswith("pip install '")}
    named = [*(shlex.split(text)[2] for text in wanted if "{}" not in text), *map(str.strip, PACKAGES.values(), "''")]
    assert len(named) >= 4
    for requirement in named:
        assert f'"{requirement}"' in project, requirement
    assert list(GPT.values()) == tomllib.loads(project)["project"]["optional-dependencies"]["gpt"]
