"""The folder that a script belongs to: its own, or one above that has what it loads or imports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.begin import run_once
from optimize.script.home import home_of
from optimize.script.load_workload import load_workload
from optimize.trial import Slot
from tests.test_draft_space import planned
from tests.test_init import folder_with

READS = "import yaml\nparams = yaml.safe_load(open('params.yaml'))\n"
HYDRA = "import hydra\n@hydra.main(config_path='../conf', config_name='all')\ndef main(cfg): ...\n"
PACKAGE = {"parts/model.py": "", ".git": ""}
TAKES = "from parts.model import x\n"


@pytest.mark.parametrize(
    ("files", "words", "above", "as_module"),
    [
        ({"a/train.py": READS, "params.yaml": "lr: 1"}, [], 1, False),
        ({"a/b/c/train.py": READS, "params.yaml": "lr: 1"}, [], 3, False),
        ({"a/b/c/d/train.py": READS, "params.yaml": "lr: 1"}, [], 0, False),
        ({"a/train.py": READS, "a/params.yaml": "lr: 1", "params.yaml": "lr: 1"}, [], 0, False),
        ({"a/train.py": READS, "a/setup.py": "", "params.yaml": "lr: 1"}, [], 0, False),
        ({"a/train.py": "", "conf/b.yaml": "lr: 1"}, ["--cfg", "conf/b.yaml"], 1, False),
        ({"a/train.py": HYDRA, "conf/all.yaml": "lr: 1"}, [], 1, False),
        ({"a/train.py": HYDRA.replace("../", ""), "conf/all.yaml": "lr: 1"}, [], 0, False),
        ({"a/train.py": TAKES, **PACKAGE}, [], 1, True),
        ({"a/train.py": f"{TAKES}{READS}", **PACKAGE, "params.yaml": "lr: 1"}, [], 1, True),
        ({"a/train.py": f"import sys\nsys.path.append('.')\n{TAKES}", **PACKAGE}, [], 1, False),
        ({"a-b/train.py": TAKES, **PACKAGE}, [], 0, False),
        ({"a/train.py": TAKES, "a/parts/model.py": "", **PACKAGE}, [], 0, False),
        ({"a/train.py": TAKES, **PACKAGE, "setup.py": ""}, [], 1, True),
        ({"a/train.py": f"{TAKES}import own\n", "a/own.py": "", **PACKAGE, "pyproject.toml": "[build-system]"}, [], 0, False),
        ({"a/train.py": TAKES, **PACKAGE, "setup.py": "", **{f"parts/m{i}.py": "" for i in range(61)}}, [], 0, False),
        ({"a/train.py": "import json\n", "json/x.py": ""}, [], 0, False),
        ({"a/b/train.py": "from ..c import x\n", "a/__init__.py": "", "a/b/__init__.py": "", "a/c.py": ""}, [], 2, True),
        ({"a/train.py": "from . import own\n", "a/__init__.py": "", "a/own.py": ""}, [], 1, True),
    ],
)  # fmt: skip
def test_a_script_belongs_to_the_nearest_folder_that_has_what_it_takes(
    tmp_path: Path, files: Mapping[str, str], words: list[str], above: int, as_module: bool
) -> None:
    script = folder_with(tmp_path / "root", files) / next(iter(files))
    home = home_of(script, words)
    assert home.folder.resolve() == script.parents[above]
    assert (home.as_module, bool(home.reason)) == (as_module, above > 0)


def test_a_script_is_started_in_its_home_with_what_it_takes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = (
        "import argparse\nfrom parts.model import rate\nparser = argparse.ArgumentParser()\n"
        "commands = parser.add_subparsers()\nfit = commands.add_parser('fit')\nfit.add_argument('--width', type=int, default=8)\n"
        "args = parser.parse_args()\n"
        "if __name__ == '__main__':\n    print('loss:', rate('conf/a.yaml') * args.width)\n"
    )
    model = "import yaml\ndef rate(file):\n    return yaml.safe_load(open(file))['lr']\n"
    folder_with(tmp_path, {"tools/fit.py": main, "parts/model.py": model, "conf/a.yaml": "lr: 0.5\n"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert run(["init", "tools/fit.py"]) == 0
    assert "note: tools/fit.py belongs to the folder above: it reads conf/a.yaml of it\n" in capsys.readouterr().err
    described = Path("workload.toml").read_text()
    assert 'script = "tools/fit.py"\ncommand = ["{python}", "-m", "tools.fit", "fit"]\n' in described
    plan = planned(".", tmp_path / "space.toml", tmp_path)
    assert plan.baseline == {"width": 8, "lr": 0.5}
    workload = load_workload("./").with_space(plan.space)
    ended = run_once(workload, {"PATH": "/usr/bin"}, Slot("cpu:0"), 60)
    assert (ended.status.value, ended.log) == ("complete", "loss: 4.0\n")


def test_two_scripts_of_a_folder_may_have_a_place_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "opt = SGD(lr=0.5)\nprint('loss:', opt.lr)\n"
    folder_with(tmp_path, {"a.py": text, "b.py": text, "c.py": text})
    monkeypatch.chdir(tmp_path)
    assert run(["init", "b.py"]) == 0
    workload = load_workload("./").with_space(planned(".", tmp_path / "space.toml", tmp_path).space)
    assert workload.problems(["lr"]) == []
    assert workload.render({"lr": 0.25})["b.py"] == text.replace("0.5", "0.25")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import torch\n", True),
        ("import numpy as np\nx = np.random.rand(3)\n", True),
        ("import torch\ntorch.manual_seed(3)\n", False),
        ("import random\nrandom.seed(3)\n", False),
        ("import math\n", False),
        ("import random\n", False),
    ],
)
def test_init_says_that_a_script_sets_no_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, says: bool
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": f"{text}LR = 0.5\nprint('loss:', LR)\n"}))
    assert run(["init", "train.py"]) == 0
    assert ("note: it sets no seed" in capsys.readouterr().err) == says
