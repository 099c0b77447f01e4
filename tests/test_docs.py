"""What is written is true: every command, flag, make target and key is documented, and every link leads somewhere."""

from __future__ import annotations

import re
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from optimize.cli import app
from optimize.config.settings import MAX_CONSECUTIVE_FAILURES, load_settings, profiles
from optimize.search.endings import Again
from search_spaces import load_space, shipped_spaces

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("*.md"))
for folder in ("benchmarks", "docs", "examples", "optimize", "search_spaces", "storage", "tests"):
    PAGES += sorted((ROOT / folder).rglob("*.md"))
README = (ROOT / "README.md").read_text("utf-8")
DOCS = sorted(ROOT.glob("docs/*.md"))
MANUAL = README + "".join(page.read_text("utf-8") for page in DOCS)  # where details may stand
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^TARGETS := (.*)$", MAKEFILE, re.M)[0].split()
# Flags in our pages that are not of `optimize`: of pip, ray, uv, mypy, mlflow, tensorboard, chromium, and of our benchmarks.
FOREIGN_FLAGS = {
    "--address", "--artifact-dir", "--backend-store-uri", "--durations", "--force-reinstall", "--head", "--headless", "--index-url",
    "--amp", "--beta", "--config", "--data", "--lr", "--no-amp",  # of a script in an example
    "--body",  # of apprise
    "--batch", "--dependency", "--no-kill", "--signal",  # of Slurm
    "--device", "--minutes", "--upstream",  # of benchmarks/gpu.py
    "--logdir", "--name", "--no-deps", "--no-sync", "--num-shards", "--project", "--screenshot", "--smoke", "--strict",
}  # fmt: skip


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by what one types, those of groups included: `space init`."""
    found = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{before}{name}": command} if inner is None else commands_of(command, f"{before}{name} ")
    return found


GROUP = typer.main.get_command(app)
COMMANDS = commands_of(GROUP)


def prose_and_code(page: Path) -> str:
    """What a reader sees of a page, without the addresses of its links."""
    return re.sub(r"\]\([^)]*\)", "]", page.read_text("utf-8"))


FLAGS = {
    flag
    for command in (GROUP, *COMMANDS.values())
    for parameter in command.params
    for flag in (*parameter.opts, *parameter.secondary_opts)
} | {"--help", "--install-completion"}


def code_of(page: Path) -> list[str]:
    """What a page shows as code: its blocks, and what stands between backticks."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```(?!toml|python)\w*\n(.*?)^```", text, re.M | re.S)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def paths_named(page: Path) -> set[str]:
    """What stands between backticks and looks like a file or a folder of ours."""
    words = re.findall(r"`([\w./*-]+)`", page.read_text("utf-8"))
    return {word for word in words if re.search(r"\.(py|toml|md|sh|ipynb)$|\w/$", word)}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented_and_has_an_example(name: str) -> None:
    assert f"`optimize {name}" in (ROOT / "docs/commands.md").read_text("utf-8")
    assert f"Example: optimize {name}" in (COMMANDS[name].help or "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_says_what_it_is_for(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_every_make_target_is_explained_and_the_main_ones_are_documented() -> None:
    commands = (ROOT / "docs/commands.md").read_text("utf-8")
    for target in TARGETS:
        explained = re.search(rf"^{target}:.*## (\w.*)$", MAKEFILE, re.M)
        assert explained, target
        assert len(f"  make {target:<12} {explained[1]}") <= 80, target
        assert f"make {target}" in commands + (ROOT / "CONTRIBUTING.md").read_text("utf-8"), target
    for target in ("optimize", "dashboard", "status", "confirm", "report"):
        assert f"make {target}" in README


def test_every_variable_of_make_optimize_is_documented() -> None:
    text = (ROOT / "docs/variables.md").read_text("utf-8")
    for variable in re.findall(r"\$\(call flag,([A-Z_]+),", MAKEFILE):
        assert f"`{variable}`" in text or variable == "COMMIT", variable  # COMMIT is `make autoresearch`'s


def test_every_profile_and_space_is_documented() -> None:
    text = (ROOT / "docs/variables.md").read_text("utf-8")
    for name in {*profiles(), *shipped_spaces()}:
        assert f"`{name}`" in text
        assert load_space(name).size > 0


def test_the_first_hour_on_a_gpu_says_what_the_profiles_say() -> None:
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs/gpu.md").read_text("utf-8").splitlines()]
    picked, trains = (next(row for row in rows if row[0].startswith(what)) for what in ("profile,", "a trial trains"))
    for place, name in enumerate(("gpu", "colab", "h100"), 1):
        constants = load_settings(name, "a test", {}, {}).constants
        assert picked[place].startswith(f"`{name}`")
        assert trains[place] == f"{constants['TIME_BUDGET'] // 60} minutes, {constants['MAX_SEQ_LEN']:,} tokens"


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1500


def test_the_index_of_the_manual_has_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    for page in DOCS:
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_target_and_flag_in_a_page_exists(page: Path) -> None:
    text = prose_and_code(page)
    variables = set(re.findall(r"\$\((?:call flag,|if \$\(|if |foreach log,\$\()?([A-Z_]+)[,)]", MAKEFILE)) | {"N"}
    for target in re.findall(r"(?:`|^|&& |; )make ([a-z][a-z-]*)", text, re.M):
        assert target in TARGETS, f"make {target}"
    for line in re.findall(r"(?:`|^|&& )make [a-z-]+[^`\n#]*", text, re.M):
        assert set(re.findall(r" ([A-Z_]+)=", line)) <= variables, line
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= FLAGS | FOREIGN_FLAGS


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_in_a_page_exists_and_takes_its_flags(page: Path) -> None:
    for line in re.findall(r"\boptimize ([a-z][^`\n|#]*)", "\n".join(code_of(page))):
        name = next(
            (each for each in sorted(COMMANDS, key=len, reverse=True) if f"{line} ".startswith(f"{each} ")), None
        )
        assert name, f"optimize {line}"
        flags = {flag for parameter in COMMANDS[name].params for flag in (*parameter.opts, *parameter.secondary_opts)}
        ours = line.partition(" -- ")[0]  # what stands behind is the script's own
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) <= flags | {"--help"}, f"optimize {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_of_ours_that_a_page_names_by_its_whole_path_exists(page: Path) -> None:
    ours = ("benchmarks/", "examples/", "notebooks/", "optimize/", "search_spaces/", "storage/", "tests/")
    for name in paths_named(page):
        if name.startswith(ours):
            assert any(ROOT.glob(name)), f"{page}: {name}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "optimize/README.md"])
def test_every_file_that_a_guide_names_exists(page: str) -> None:
    of_studies = {"best/", "workload.toml", "space.toml", "train.py", "prepare.py"}
    for name in paths_named(ROOT / page) - of_studies:
        if not name.startswith("executors/yours"):
            assert any([*ROOT.glob(name), *(ROOT / "optimize").glob(name)]), f"{page}: {name}"


def test_no_row_of_a_table_of_the_guide_begins_as_another_does() -> None:
    rows = [
        line.partition(" | ")[0]
        for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("\n")
        if line[:2] == "| "
    ]
    assert sorted(rows) == sorted(set(rows))


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


def test_only_who_trains_our_own_workload_installs_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = {re.split("[><=]", each)[0] for each in project["dependencies"]}
    gpt = {re.split("[><=]", each)[0] for each in project["optional-dependencies"]["gpt"]}
    assert not base & {"torch", "tiktoken", "rustbpe", "pyarrow"}
    assert base | gpt >= {
        "optuna", "optuna-dashboard", "sqlalchemy", "torch", "pandas", "tiktoken", "rustbpe", "pyarrow",
    }  # fmt: skip
    assert "--editable '.[gpt]'" in MAKEFILE
    assert "./optimize-train[gpt]" in (ROOT / "notebooks" / "colab.ipynb").read_text("utf-8")
    assert "optimize-train[gpt," in project["optional-dependencies"]["dev"][0]


def test_constraints_pin_everything_exactly() -> None:
    lines = [
        line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in lines)
    assert "torch==2.13.0" in lines


def test_every_exit_code_is_told_and_so_is_how_often_a_lost_trial_is_tried() -> None:
    commands, endings = ((ROOT / "docs" / name).read_text("utf-8") for name in ("commands.md", "endings.md"))
    codes = {
        128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGUSR1)
    } | {0, 1, 2}
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \|", commands, re.M)
    assert {int(code) for row in rows for code in row.split(", ")} == codes
    assert (Again.OFTEN, MAX_CONSECUTIVE_FAILURES) == (10, 5)
    assert endings.count("up to ten times in all") == 3
    assert "five such ends in a row, first ones aside, stop the study" in endings
