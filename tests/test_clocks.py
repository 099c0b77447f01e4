"""No assertion of a test depends on how fast the machine is: none compares a reading of a clock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {
    "monotonic",
    "time",
    "perf_counter",
    "process_time",
    "thread_time",
    "clock_gettime",
    "times",
    "getrusage",
    "now",
    "utcnow",
}
MODULES = {"time", "os", "resource", "datetime", "dt"}
READING = re.compile(rf"\b(?:{'|'.join(MODULES)})\.(?:{'|'.join(CLOCKS)})(?:_ns)?\(")
COMPUTING = {"approx", "abs", "round", "int", "float", "min", "max", "sum"}
# (module, test): why it may
EXCEPTIONS = {
    ("test_database.py", "test_times_are_utc_wherever_the_machine_is"): "readings have an order",
    ("test_database_contract.py", "test_the_clock_is_that_of_the_world"): "three readings in a row have an order",
    ("test_records.py", "test_times_are_aware_and_utc"): "readings have an order",
}


def reads_a_clock(node: ast.AST, tainted: set[str]) -> bool:
    """Whether its value is a reading, or computed of one; what a function is handed one for is not."""
    if isinstance(node, ast.Name):
        return node.id in tainted
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        module, _, last = name.rpartition(".")
        if last.removesuffix("_ns") in CLOCKS and module in MODULES:
            return True
        return last in COMPUTING and any(reads_a_clock(each, tainted) for each in node.args)
    return any(reads_a_clock(each, tainted) for each in ast.iter_child_nodes(node))


def names_of(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def tainted_names(function: ast.AST) -> set[str]:
    """The names that a function gives to readings of a clock, or to what it computes of them."""
    tainted: set[str] = set()
    while True:
        before = len(tainted)
        for node in ast.walk(function):
            pairs = list(assigned(node))
            for target, value in pairs:
                if reads_a_clock(value, tainted):
                    tainted |= names_of(target)
        if len(tainted) == before:
            return tainted


def assigned(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each target with its value; of `a, b = x, y` one by one."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=False)
            else:
                yield target, node.value
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value


def compared_clocks(source: str) -> list[tuple[str, int]]:
    """The function and the line of each assertion that compares a reading of a clock."""
    found: list[tuple[str, int]] = []
    if not READING.search(source):
        return found
    for function in [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]:
        tainted = tainted_names(function)
        for node in [node for node in ast.walk(function) if isinstance(node, ast.Assert)]:
            compared = [each for each in ast.walk(node.test) if isinstance(each, ast.Compare)]
            if any(reads_a_clock(each, tainted) for each in compared):
                found.append((function.name, node.lineno))
    return found


def test_no_assertion_compares_a_reading_of_a_clock() -> None:
    for path in sorted(TESTS.glob("*.py")):
        for name, line in compared_clocks(path.read_text("utf-8")):
            told = f"{path.name}:{line}: count the work, order events, or give the code a clock of the test's own"
            assert (path.name, name) in EXCEPTIONS, told


def test_an_exception_is_still_needed_and_has_a_reason() -> None:
    for (file, name), why in EXCEPTIONS.items():
        assert name in {each for each, _ in compared_clocks((TESTS / file).read_text("utf-8"))}
        assert why


@pytest.mark.parametrize(
    "body",
    [
        "assert time.monotonic() < ends",
        "began = time.perf_counter(); assert time.perf_counter() - began < 1",
        "a, began = 1, time.time_ns(); took = 5 - began; assert took == approx(3)",
        "assert x == 1 and database.now() == approx(time.time(), abs=60)",
        "took = datetime.now(UTC) - then; assert timedelta(0) <= took",
    ],
)
def test_it_is_found(body: str) -> None:
    assert [name for name, _ in compared_clocks(f"def test_it():\n    {body}\n")] == ["test_it"]


@pytest.mark.parametrize(
    "body",
    [
        "a, began = 1, time.time(); assert a == 1",
        "assert not artifacts.dangling(now=time.time() + 3601)",
        "deadline = time.monotonic() + 60\n    while time.monotonic() < deadline: pass\n    assert found == 1",
    ],
)
def test_what_judges_no_speed_is_left_alone(body: str) -> None:
    assert compared_clocks(f"def test_it():\n    {body}\n") == []
