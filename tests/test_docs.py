"""What is written is true: every command, flag, make target and key is documented, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from optimize.cli import app
from optimize.config.settings import load_settings, profiles
from search_spaces import load_space, shipped_spaces

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [path for pattern in ("*/README.md", "docs/*.md", "examples/*/README.md") for path in ROOT.glob(pattern)]
README = (ROOT / "README.md").read_text("utf-8")
MANUAL = README + "".join(page.read_text("utf-8") for page in sorted(ROOT.glob("docs/*.md")))  # where details may stand


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by what one types, those of groups included: `space init`."""
    found = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{before}{name}": command} if inner is None else commands_of(command, f"{before}{name} ")
    return found


COMMANDS = commands_of(typer.main.get_command(app))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_has_an_example(name: str) -> None:
    assert f"optimize {name}" in README
    assert f"Example: optimize {name}" in (COMMANDS[name].help or "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_says_what_it_is_for(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_every_make_target_is_explained_and_the_main_ones_are_in_the_readme() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^\.PHONY: (.*)$", text, re.M)[0].split()
    for target in targets:
        explained = re.search(rf"^{target}:.*## (\w.*)$", text, re.M)
        assert explained, target
        assert len(f"  make {target:<12} {explained[1]}") <= 80, target
    for target in ("optimize", "dashboard", "test", "status", "check", "export", "stop"):
        assert f"make {target}" in README


def test_every_variable_of_make_optimize_is_in_the_readme() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for variable in re.findall(r"\$\(call flag,([A-Z]+),", text):
        assert f"`{variable}`" in README, variable


def test_every_profile_and_space_is_in_the_readme() -> None:
    for name in {*profiles(), *shipped_spaces()}:
        assert f"`{name}`" in README
        assert load_space(name).size > 0


def test_every_key_of_a_profile_and_of_a_workload_is_documented() -> None:
    for path in ("optimize/config/settings.py", "optimize/script/workload.py", "optimize/script/output.py"):
        source = (ROOT / path).read_text("utf-8")
        for key in re.findall(
            r'(?:table|slots|limits|inner)\.(?:text|flag|number|integer|words|literals|table|paths)\("(\w+)"', source
        ):
            assert f"`{key}`" in MANUAL or f"`[{key}]`" in MANUAL, f"{path}: {key}"


def test_every_example_loads() -> None:
    assert sorted(path.parent.name for path in ROOT.glob("examples/*/README.md")) == [
        "autoresearch",
        "nanogpt",
        "ten_lines",
    ]
    for path in ROOT.glob("examples/*/space.toml"):
        assert load_space(str(path)).size > 1
    for path in ROOT.glob("examples/*/macos.toml"):
        assert load_settings(str(path), "a test", {}, {}).device == "mps"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_and_picture_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")) + re.findall(
        r'src="([^"]+)"', page.read_text("utf-8")
    ):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_dependency_says_which_file_needs_it() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for line in re.findall(r'^    "[\w-]+[><=][^"]*".*$', text, re.M):
        files = re.findall(r"# (.*)$", line)
        assert files, line
        for name in files[0].split(", "):
            assert name.startswith("make ") or (ROOT / name).exists(), line


def test_constraints_pin_everything_exactly() -> None:
    lines = [
        line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in lines)
    assert "torch==2.13.0" in lines
