"""Scripts with statements that our Python cannot read: refused where it is to run them, read around where another one does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.errors import RenderError, SettingsError
from optimize.script.bindings import module_bindings
from optimize.script.constants import read_constants, render, syntax_fingerprint
from optimize.script.devices import needs_cuda
from optimize.script.draft_space import write_space
from optimize.script.newer_syntax import read_around

# Of no Python yet, so that no release makes a test pass for nothing.
SCRIPT = '''\
"""Trains."""
LR = 0.1  # é
kind Number = int | float
DEPTH = 4; WIDTH = 8


@cached
def mean(values) unless values == []:
    global SEED
    SEED = LR = 2
    return sum(values)


SEED = 3
if LR:
    print("a")
else:
    STEPS = 1 ?? 2
print(f"val_bpb: {LR}")
'''
SPACE = "[parameters]\nLR = [0.1, 0.2]\n"


def planned(folder: Path, command: str = "", space: str = SPACE) -> Plan:
    (folder / "w").mkdir(exist_ok=True)
    (folder / "w" / "train.py").write_text(SCRIPT, "utf-8")
    (folder / "w" / "workload.toml").write_text(command)
    (folder / "space.toml").write_text(space)
    flags = {"workload": str(folder / "w"), "search_space": str(folder / "space.toml"), "study": "s"}
    return make_plan(load_settings("cpu", "a test", flags, {}))


def test_statements_that_do_not_parse_are_blanked_and_all_else_stays_where_it_was() -> None:
    text, unread = read_around(SCRIPT)
    assert len(text.encode()) == len(SCRIPT.encode())
    assert [line for line in text.splitlines() if line.strip()] == [
        '"""Trains."""', "LR = 0.1  # é", "DEPTH = 4; WIDTH = 8", "SEED = 3", 'print(f"val_bpb: {LR}")',
    ]  # fmt: skip
    assert [(each.line, sorted(each.names)) for each in unread] == [
        (3, ["Number"]), (7, ["SEED", "mean"]), (15, ["STEPS"]),
    ]  # fmt: skip
    assert read_around("X = 1\n") == ("X = 1\n", ())


@pytest.mark.parametrize("text", ["X = = 3", "X = (\n", "X = 1\nY = 'a\n  b'''\n", "X = 1\n  Y = 2\n Z = 3\n"])
def test_what_is_no_script_of_any_python_is_refused(text: str) -> None:
    with pytest.raises(RenderError, match=f"not valid Python {sys.version_info.major}.{sys.version_info.minor}: "):
        read_constants(text, "train.py")


def test_constants_around_them_are_read_and_written_exactly() -> None:
    assert {"LR", "DEPTH", "WIDTH"} <= {*read_constants(SCRIPT, "train.py")}
    assert render(SCRIPT, {"LR": 0.2, "WIDTH": 16}, "train.py") == SCRIPT.replace("0.1  #", "0.2  #").replace(
        "WIDTH = 8", "WIDTH = 16"
    )


def test_a_name_that_such_a_statement_may_bind_is_no_constant() -> None:
    assert "SEED" not in read_constants(SCRIPT, "train.py")
    bound = {binding.name: binding for binding in module_bindings(SCRIPT, "train.py") if binding.how}
    assert {"Number", "SEED", "mean", "STEPS"} <= {*bound}
    with pytest.raises(
        RenderError, match="SEED: assigned in line 14, and bound again in line 7 in a statement that only"
    ):
        render(SCRIPT, {"SEED": 4}, "train.py")


def test_every_word_of_such_a_script_counts_for_its_fingerprint() -> None:
    changed = SCRIPT.replace("sum(values)", "max(values)")
    assert syntax_fingerprint(changed, "train.py") != syntax_fingerprint(SCRIPT, "train.py")


def test_a_device_is_found_around_them_too() -> None:
    assert needs_cuda(f"{SCRIPT}model.to('cuda')\n")
    assert not needs_cuda(SCRIPT)


def test_our_python_does_not_begin_what_it_cannot_read(tmp_path: Path) -> None:
    for command in ("", 'command = ["env", "{python}", "train.py"]'):
        with pytest.raises(SettingsError) as refused:
            planned(tmp_path, command)
        (line,) = refused.value.problems
        assert line.startswith(f"{tmp_path}/w/train.py:3: not valid Python {sys.version_info.major}.")
        assert line.endswith("If it is for a newer Python, name that one by `command` in workload.toml.")


def test_a_script_that_another_python_runs_may_have_syntax_that_ours_cannot_read(tmp_path: Path) -> None:
    plan = planned(tmp_path, 'command = ["sh", "run-python-9", "train.py"]')
    assert plan.baseline == {"LR": 0.1}
    assert plan.workload.render({"LR": 0.2})["train.py"] == SCRIPT.replace("0.1  #", "0.2  #")
    written = write_space(str(tmp_path / "w" / "train.py"), tmp_path / "draft.toml", {})
    assert "3 parameters" in written[0]
    with pytest.raises(SettingsError, match="SEED: assigned in line 14"):
        planned(tmp_path, 'command = ["sh", "run-python-9", "train.py"]', "[parameters]\nSEED = [3, 4]\n")
