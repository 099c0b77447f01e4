"""The walls of the house: who may import whom, how long a file may be, which words are not used."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("optimize", "search_spaces", "storage")
MAX_LINES = {"train.py": 700, "prepare.py": 700}
FORBIDDEN_NAMES = {"utils", "core", "common", "helpers", "manager", "manage", "misc"}


def _whole(word: str) -> str:
    return word if word in PACKAGES else f"optimize.{word}"


# module -> what of ours it may import; a package name alone stands for its front door
WALLS = tomllib.loads((Path(__file__).parent / "walls.toml").read_text("utf-8"))
ALLOWED = {f"optimize.{name}": {_whole(word) for word in words.split()} for name, words in WALLS.items()}
FRONT = tuple(f"optimize.{name}" for name in ("__main__", "cli", "commands", "session", "confirming.driving"))
THIRD_PARTY = {"search_spaces": set(), "storage": {"optuna", "sqlalchemy", "pandas"}}
JOBS = (
    "process",
    "summary",
    "work_folder",
    "bounded_log",
    "data_links",
    "descendants",
    "device_memory",
    "hearing",
    "preload",
    "preparation",
    "tracebacks",
    "wishes",
    "zygote",
)
STANDARD_LIBRARY_ONLY = {f"optimize.jobs.{name}" for name in JOBS} | {
    "optimize.errors",
    "optimize.executors.cluster",
    "optimize.executors.cores",
    "optimize.executors.guardian",
    "optimize.executors.node",
    "optimize.executors.slots",
    "optimize.script.patterns",
    "optimize.script.render",
    "optimize.script.seeds",
    "optimize.script.starting",
    "optimize.trial",
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "workloads" in path.parts:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else str(node.module)
                for alias in node.names
            }
    return names


def third_party(path: Path) -> set[str]:
    import sys

    return {n.split(".")[0] for n in imports(path)} - set(sys.stdlib_module_names) - set(PACKAGES) - {"__future__"}


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in PACKAGES}


def test_every_module_has_a_line_but_for_the_front_of_the_house() -> None:
    inside = {m for m in MODULES if m.startswith("optimize.") and not m.startswith(FRONT)}
    assert set(ALLOWED) == inside


@pytest.mark.parametrize("module", sorted(ALLOWED))
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    assert ours(MODULES[module]) <= ALLOWED[module]


@pytest.mark.parametrize("package", sorted(THIRD_PARTY))
def test_search_spaces_and_storage_know_nothing_above_them(package: str) -> None:
    for module, path in MODULES.items():
        if module.split(".")[0] == package:
            assert {name.split(".")[0] for name in ours(path)} <= {package}, module
            assert third_party(path) <= THIRD_PARTY[package], module


def test_outsiders_enter_storage_and_search_spaces_by_the_front_door() -> None:
    for module, path in MODULES.items():
        if module.startswith("optimize"):
            inside = {n for n in ours(path) if n.startswith(("storage.", "search_spaces."))}
            assert not inside, f"{module} reaches into {inside}"


@pytest.mark.parametrize("module", sorted(STANDARD_LIBRARY_ONLY))
def test_what_runs_on_any_node_needs_the_standard_library_only(module: str) -> None:
    assert third_party(MODULES[module]) == set()


def test_the_driver_never_imports_torch() -> None:
    for module, path in MODULES.items():
        assert "torch" not in third_party(path), module


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("ray", "optimize.executors.ray"),
        ("tensorboard", "optimize.hooks.tensorboard"),
        ("mlflow", "optimize.hooks.mlflow"),
    ],
)
def test_one_file_alone_imports_what_not_everybody_has(package: str, file: str) -> None:
    assert [module for module, path in MODULES.items() if package in third_party(path)] == [file]


def test_one_room_alone_imports_matplotlib() -> None:
    rooms = ["optimize.figures.canvas", "optimize.figures.labels", "optimize.figures.plots"]
    assert [module for module, path in MODULES.items() if "matplotlib" in third_party(path)] == rooms


def test_one_file_alone_talks_to_a_language_model() -> None:
    assert [module for module, path in MODULES.items() if "requests" in third_party(path)] == [
        "optimize.advice.endpoint"
    ]


def test_the_environment_is_read_in_two_files_only() -> None:
    for module, path in MODULES.items():
        if module not in (
            "optimize.settings",
            "optimize.executors.slots",
            "optimize.jobs.zygote",
        ):  # it writes the trial's
            assert "os.environ" not in path.read_text("utf-8"), module
            assert "getenv" not in path.read_text("utf-8"), module


def test_only_the_command_line_prints() -> None:
    for module, path in MODULES.items():
        calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        printed = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert module == "optimize.commands.terminal" or not printed, f"{module}: {printed}"


def test_files_stay_small_and_are_called_after_what_is_in_them() -> None:
    for path in [p for package in (*PACKAGES, "tests", "benchmarks") for p in (ROOT / package).rglob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES.get(path.name, 350), path
        assert path.stem not in FORBIDDEN_NAMES, path


def test_every_module_says_what_it_is_for() -> None:
    for module, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), module
