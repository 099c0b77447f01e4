"""The walls of the house: who may import whom, how long a file may be, which words are not used."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("optimize", "search_spaces", "storage")
MAX_LINES = {"train.py": 900, "prepare.py": 700}
FORBIDDEN_NAMES = {"utils", "core", "common", "helpers", "manager", "misc"}

# From the top down: a room imports only rooms that stand below it. A room is a folder or a module of `optimize/`.
ROOMS = (
    "__main__", "cli", "mcp", "commands", "session", "notebook", "transfer", "reporting", "study", "confirm", "advisor", "config",
    "executors", "script", "importing", "search", "runner", "toml", "trial", "text", "errors",
)  # fmt: skip
# (module, what it may import all the same): why
EXCEPTIONS: dict[tuple[str, str], str] = {}
BESIDE_THE_GROUND = {"search_spaces": set(), "storage": {"optuna", "sqlalchemy", "pandas"}}  # and their third parties
# A package that not everybody has, or that is slow to import, and the modules that may import it.
ONLY_IN = {
    "ray": ("optimize.executors.ray",),
    "tensorboard": ("optimize.reporting.trackers.tensorboard",),
    "mlflow": ("optimize.reporting.trackers.mlflow",),
    "apprise": ("optimize.reporting.notify.delivery",),
    "requests": ("optimize.advisor.client",),
    "matplotlib": ("optimize.reporting.figures.static", "optimize.reporting.figures.style"),
    "plotly": ("optimize.reporting.figures.interactive",),
    "optuna_dashboard": ("optimize.reporting.dashboard",),
    "mcp": ("optimize.mcp.server",),
    "mcp_types": ("optimize.mcp.server",),
    "anyio": ("optimize.mcp.server",),
    "pydantic": ("optimize.mcp.server", "optimize.mcp.tools"),
    "torch": (),
    "pyarrow": (),
    "tiktoken": (),
    "rustbpe": (),
}
# What knows a database's language; everybody else calls their functions.
SQL = (
    "completion", "dashboard_notes", "database", "driver_errors", "lease", "local_times", "postgres", "queries", "read_only",
    "reader", "sql", "sqlite", "sqlite_copies", "study_copy", "transactions", "url", "wal",
)  # fmt: skip
OPTUNA = ("optimize.search.", "storage.", "optimize.reporting.figures.importance", "optimize.reporting.dashboard")
# Sent to any node, or run by a guardian there.
STANDARD_LIBRARY_ONLY = ("optimize.runner.", "optimize.trial", "optimize.errors", "optimize.text", "optimize.toml",
                         "optimize.executors.guardian", "optimize.executors.ray_node", "optimize.executors.ray_cluster",
                         "optimize.executors.slots", "optimize.script.constants", "optimize.script.command",
                         "optimize.script.regex_probe")  # fmt: skip
READS_THE_ENVIRONMENT = (
    "optimize.config.environment",
    "optimize.config.settings",
    "optimize.executors.slots",
    "optimize.runner.zygote",
)


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


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
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
    return {n.split(".")[0] for n in imports(path)} - set(sys.stdlib_module_names) - set(PACKAGES) - {"__future__"}


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in PACKAGES}


def room(module: str) -> str:
    """The room of `optimize/` that a module stands in, or the package beside it."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "optimize" else top


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(module) for module in MODULES if module.startswith("optimize.")} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_below_it(name: str) -> None:
    allowed = {name, "search_spaces", "storage", *ROOMS[ROOMS.index(name) + 1 :]}
    for module, path in MODULES.items():
        if module.startswith("optimize.") and room(module) == name:
            wrong = {each for each in ours(path) if room(each) not in allowed and (module, each) not in EXCEPTIONS}
            assert not wrong, f"{module} imports {wrong}, which stand above it"


def test_an_exception_is_still_needed_and_has_a_reason() -> None:
    for (module, imported), why in EXCEPTIONS.items():
        assert imported in ours(MODULES[module]), (module, imported)
        assert why


def test_modules_do_not_import_one_another_in_a_circle() -> None:
    graph = {module: ours(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", sorted(BESIDE_THE_GROUND))
def test_search_spaces_and_storage_know_nothing_above_them(package: str) -> None:
    for module, path in MODULES.items():
        if module.split(".")[0] == package:
            assert {name.split(".")[0] for name in ours(path)} <= {package}, module
            assert third_party(path) <= BESIDE_THE_GROUND[package], module


def test_outsiders_enter_storage_and_search_spaces_by_the_front_door() -> None:
    for module, path in MODULES.items():
        if module.startswith("optimize"):
            inside = {n for n in ours(path) if n.startswith(("storage.", "search_spaces."))}
            assert not inside, f"{module} reaches into {inside}"


def test_what_runs_on_any_node_needs_the_standard_library_only() -> None:
    for module, path in MODULES.items():
        if module.startswith(STANDARD_LIBRARY_ONLY):
            assert third_party(path) == set(), module


def test_what_is_sent_to_a_node_knows_no_database_and_no_search_space() -> None:
    for module, path in MODULES.items():
        if module.startswith(("optimize.runner.", "optimize.executors.")):
            assert not {name for name in ours(path) if name.split(".")[0] != "optimize"}, module


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_a_package_is_imported_only_where_it_is_expected(package: str) -> None:
    assert tuple(sorted(m for m, path in MODULES.items() if package in third_party(path))) == ONLY_IN[package]


def test_optuna_is_known_to_search_and_storage_and_what_draws_from_it() -> None:
    for module, path in MODULES.items():
        assert "optuna" not in third_party(path) or module.startswith(OPTUNA), module


def test_sql_stands_only_in_the_files_of_storage_that_are_about_it() -> None:
    statement = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|PRAGMA) [A-Za-z0-9_*(]")
    for module, path in MODULES.items():
        if module.partition(".")[0] == "storage" and module.partition(".")[2] in SQL:
            continue
        assert not {"sqlalchemy", "sqlite3", "psycopg"} & {name.split(".")[0] for name in imports(path)}, module
        texts = (node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant))
        assert not [text for text in texts if isinstance(text, str) and statement.match(text)], module


def test_a_shell_that_completes_a_name_does_not_wait_for_optuna() -> None:
    asked = "import sys, storage; storage.complete_studies; print(sorted({'optuna', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_class_name_exists_once() -> None:
    found: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(module)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_the_environment_is_read_where_a_reader_expects_it() -> None:
    for module, path in MODULES.items():
        nodes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute))
        reads = [node.lineno for node in nodes if ast.unparse(node) in ("os.environ", "os.environb", "os.getenv")]
        assert module in READS_THE_ENVIRONMENT or not reads, f"{module}: {reads}"


def test_only_the_command_line_prints() -> None:
    for module, path in MODULES.items():
        calls = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
        printed = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert module == "optimize.commands.terminal" or not printed, f"{module}: {printed}"


def test_files_stay_small_and_are_called_after_what_is_in_them() -> None:
    for path in [p for package in (*PACKAGES, "tests", "benchmarks") for p in (ROOT / package).rglob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES.get(path.name, 350), path
        assert path.stem not in FORBIDDEN_NAMES, path


def test_every_module_says_what_it_is_for() -> None:
    for module, path in MODULES.items():
        assert ast.get_docstring(tree(path)), module
