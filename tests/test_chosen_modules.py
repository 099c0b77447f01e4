"""A module that the command names, `import_module("models." + args.model)`, has settings like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.chosen_modules import chosen_modules
from optimize.script.load_workload import load_workload
from search_spaces import load_space
from tests.test_init import folder_with

PARSER = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--model', default='small')\nargs = p.parse_args()\n"
MODULE = "class Config:\n    def __init__(self, a):\n        self.dropout = {}\n        self.width = 64\n"


@pytest.mark.parametrize(
    ("imports", "words", "found"),
    [
        ("import_module('models.' + args.model)", ["--model", "big"], ["models/big.py"]),
        ("importlib.import_module(f'models.{args.model}')", ["--model=big"], ["models/big.py"]),
        ("import_module('models.%s' % args.model)", [], ["models/small.py"]),
        ("__import__('models.{}'.format(args.model))", ["--model", "none"], []),
        ("import_module(args.model)", ["--model", "big"], []),
    ],
)
def test_a_module_that_the_command_names_is_found(imports: str, words: list[str], found: list[str]) -> None:
    there = {"models/big.py", "models/small.py", "big.py"}
    assert chosen_modules({"train.py": f"{PARSER}{imports}\n"}, words, there.__contains__) == found


def test_its_settings_vary_and_those_of_the_others_stand_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        f"from importlib import import_module\n{PARSER}"
        "c = import_module('models.' + args.model).Config(1)\nprint('loss:', c.dropout)\n"
    )
    folder_with(
        tmp_path, {"train.py": text, "models/big.py": MODULE.format(0.5), "models/small.py": MODULE.format(0.1)}
    )
    monkeypatch.chdir(tmp_path)
    assert run(["init", "train.py", "--", "--model", "big"]) == 0
    space = load_space("./space.toml")
    assert {p.name: str(p.location) for p in space.parameters} == {
        "dropout": "field models/big.py:Config.dropout",
        "width": "field models/big.py:Config.width",
    }
    workload = load_workload("./").with_space(space)
    assert workload.constants()["dropout"] == 0.5
    assert workload.render({"dropout": 0.7})["models/big.py"] == MODULE.format(0.7)
