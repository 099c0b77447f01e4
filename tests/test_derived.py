"""Derived quantities: settings that build the same run are one, and mistakes in workload.toml are told before any trial."""

from __future__ import annotations

import ast
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from optimize.config.plan import make_plan
from optimize.errors import SettingsError
from optimize.runner.diagnosis import parse_summary
from optimize.script.derived import Derived, measure_of, mistakes, same_run, scorer, with_derived
from optimize.script.load_workload import load_workload
from search_spaces import parse_expression
from tests.conftest import SPACE, Driver
from tests.gpt import FOLDER, SMALL

GPT = load_workload("gpt")
MODEL = {"DEPTH": 8, "ASPECT_RATIO": 64, "HEAD_DIM": 128, "DEVICE_BATCH_SIZE": 4, "MAX_SEQ_LEN": 256}


def derive(driver: Driver, text: str) -> Driver:
    (driver.folder / "workload" / "workload.toml").write_text(text)
    return driver


def problems(driver: Driver, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        make_plan(derive(driver, text).settings)
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


# --- our own script -----------------------------------------------------------------------------------------------------


def test_the_width_is_computed_as_the_script_computes_it() -> None:
    for depth in range(1, 25):
        for aspect in (16, 24, 32, 48, 57, 64, 80, 96, 128):
            for head in (32, 64, 128, 256):
                values = {"DEPTH": depth, "ASPECT_RATIO": aspect, "HEAD_DIM": head}
                assert with_derived(GPT.derived, values)["model_dim"] == math.ceil(depth * aspect / head) * head


def test_the_aspect_ratio_is_read_for_the_width_and_nowhere_else() -> None:
    tree = ast.parse((FOLDER / "train.py").read_text())
    width = next(n for n in ast.walk(tree) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "width")
    read = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "ASPECT_RATIO" and not _is_stored(n)]
    assert read == [n for n in ast.walk(width) if isinstance(n, ast.Name) and n.id == "ASPECT_RATIO"]
    assert len(read) == 1


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


@pytest.mark.slow
def test_two_aspect_ratios_of_the_same_width_train_to_the_same_digit(
    trial: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert {SMALL["DEPTH"], SMALL["ASPECT_RATIO"], SMALL["HEAD_DIM"]} == {2, 32}  # both below round up to 64
    printed = [parse_summary(trial(ASPECT_RATIO=aspect).stdout) for aspect in (20, 32)]
    assert printed[0]["val_bpb"] == printed[1]["val_bpb"]
    assert printed[0]["num_params_M"] == printed[1]["num_params_M"]


def test_settings_with_the_same_width_are_one_run_and_others_are_not() -> None:
    identity = same_run(GPT.derived, {"MAX_SEQ_LEN": 256})
    assert identity({**MODEL, "ASPECT_RATIO": 50}) == identity({**MODEL, "ASPECT_RATIO": 64})
    assert identity({**MODEL, "ASPECT_RATIO": 80}) != identity(MODEL)
    assert identity({**MODEL, "DEPTH": 4, "ASPECT_RATIO": 128}) != identity(MODEL)  # as wide, but half as deep
    assert identity({**MODEL, "HEAD_DIM": 64}) != identity(MODEL)  # as wide, but with more heads


def test_the_memory_expression_may_use_derived_names() -> None:
    score = scorer(GPT.memory, GPT.derived, {"MAX_SEQ_LEN": 256})
    assert score is not None
    assert score({**MODEL, "MAX_SEQ_LEN": 512}) == 4 * 512 * 8 * 512
    assert score({**MODEL, "HEAD_DIM": 0}) is None
    assert score({**MODEL, "DEVICE_BATCH_SIZE": 0}) is None
    assert scorer(None, GPT.derived, {}) is None


def test_the_search_learns_the_size_of_a_model_and_the_work_of_a_step() -> None:
    constants = {**MODEL, "VOCAB_SIZE": 2048, "SHORT_WINDOW_RATIO": 0.5, "TOTAL_BATCH_SIZE": 4096}
    width, window, weights, work, memory = measure_of(GPT.derived, GPT.memory, constants)({"DEPTH": 4})
    assert (width, window, memory) == (256, 128, 4 * 256 * 4 * 256)
    assert weights == 12 * 4 * 256**2 + 2 * 2048 * 256
    assert work == weights * 4096


# --- anybody's ----------------------------------------------------------------------------------------------------------


def test_a_replaced_parameter_stays_where_the_expression_has_no_value() -> None:
    derived = Derived("share", parse_expression("12 // A", "w"), ("A",))
    identity = same_run([derived], {})
    assert identity({"A": 7, "B": 1}) == identity({"A": 8, "B": 1}) == (("B", 1), ("share", 1))
    assert identity({"A": 0, "B": 1}) == (("A", 0), ("B", 1))


def test_a_quantity_may_use_those_above_it_and_none_below() -> None:
    twice, more = (
        Derived(n, parse_expression(text, "w"), ()) for n, text in (("twice", "2 * A"), ("more", "twice + 1"))
    )
    assert with_derived([twice, more], {"A": 3})["more"] == 7
    assert mistakes([twice, more], None, {"A": 3}) == []
    assert len(mistakes([more, twice], None, {"A": 3})) == 1
    assert measure_of([twice, more], None, {})({"A": 3}) == [6, 7]
    assert measure_of([more, twice], None, {})({"A": 3}) == [None, 6]


def test_a_study_tries_each_run_once_and_then_its_space_is_exhausted(driver: Driver) -> None:
    derive(driver, '[derived]\nrounded = { expression = "-(-X // 4)", replaces = ["X"] }\n')
    why, told = driver.run()
    assert len(told.ended) == 8  # 4 Y x 2 PAIR: every X rounds to the same
    assert "all 8 feasible configurations have been tried" in why
    assert driver.run()[0] == why
    derive(driver, "")  # what is one run is no part of what makes values comparable
    assert len(driver.run()[1].ended) == 16


def test_mistakes_in_derived_quantities_are_told_together_a_line_each(driver: Driver) -> None:
    lines = problems(
        driver,
        "[derived]\n"
        'a = { expression = "X * WIDTH", replaces = ["X"] }\n'
        'b = { expression = "X * Y", replaces = ["Z", "SIZE"] }\n'
        'Y = { expression = "X + 1" }\n'
        'c = { expression = "X // (SIZE - 8)" }\n'
        'd = { expression = "X > 2" }\n',
    )
    said = {line.split("[derived] ")[1] for line in lines}
    assert said == {
        "a: WIDTH is neither a parameter nor a constant of the script. Correct the name.",
        "b: replaces: Z is no constant of the script. Correct the name.",
        "b: replaces: SIZE does not occur in its expression. Correct one of them.",
        "Y: Y is a constant of the script already. Use another name.",
        "c: `X // (SIZE - 8)`: divides by zero. Guard it, as in `B != 0 and A % B == 0`.",
        "d: `X > 2`: its value is True, not a number. Correct it.",
    }
    assert all("workload.toml" in line for line in lines)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('a = { expression = "ceil(X)" }', "`ceil(X)` is not allowed"),
        ('a = { replaces = ["X"] }', "has no expression"),
        ('a = "X * 2"', "not a table"),
        ('a = { expression = "X", replace = ["X"] }', "replace: unknown key"),
        ('a = { expression = 3 }', "is not a string"),
    ],
)  # fmt: skip
def test_what_is_no_derived_quantity_is_told_with_the_other_mistakes(driver: Driver, entry: str, says: str) -> None:
    (driver.folder / "space.toml").write_text(SPACE.replace("SIZE % X", "SIZE %"))
    lines = problems(driver, f"[derived]\n{entry}\n")
    assert len([line for line in lines if says in line]) == 1
    assert len([line for line in lines if "space.toml" in line]) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('memory = "X * WIDTH"', "memory: WIDTH is neither a parameter nor a constant of the script"),
        ('memory = "X, Y"', "memory: `X, Y`: its value is (4, 0.5)"),
        ('memory = "X *"', "memory: `X *`: column"),
    ],
)
def test_a_memory_expression_that_cannot_be_used_is_one_line(driver: Driver, text: str, says: str) -> None:
    (line,) = problems(driver, text + "\n")
    assert says in line


def test_a_mistake_in_a_derived_quantity_is_told_once_where_memory_uses_it(driver: Driver) -> None:
    (line,) = problems(driver, 'memory = "X * wide"\n[derived]\nwide = { expression = "X * WIDTH" }\n')
    assert "wide: WIDTH" in line


def test_a_folder_without_workload_toml_derives_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("X = 1\n")
    workload = load_workload(str(tmp_path))
    assert (workload.derived, workload.memory) == ((), None)
