"""Data above a script's folder: `init` takes it along, so that a trial finds it, or says in one line what to do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.begin import run_once
from optimize.script.load_workload import load_workload
from optimize.trial import Slot
from search_spaces import load_space
from tests.test_init import folder_with

ENDS = "\nLR = 0.5\nprint('loss:', LR + len(x))\n"
OPENED = "x = open('../data/x.bin', 'rb').read()"
FLAG = (
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', default='../data')\n"
    "p.add_argument('--lr', type=float, default=0.5)\na = p.parse_args()\n"
    "x = open(a.data + '/x.bin', 'rb').read()\nprint('loss:', a.lr + len(x))\n"
)
OWN = "import os\nx = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data/x.bin'), 'rb').read()\n"
DATA = {"data/x.bin": "\0a"}


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"src/train.py": OPENED + ENDS, **DATA}, ["data"]),
        ({"a/b/train.py": OPENED.replace("../", "../../") + ENDS, **DATA}, ["data"]),
        ({"src/train.py": OPENED.replace("x.bin", "x.txt") + ENDS, "data/x.txt": "ab"}, []),
        ({"src/train.py": "import os\nx = open(os.path.join('..', 'data', 'x.bin')).read()" + ENDS, **DATA}, ["data"]),
        (
            {
                "src/train.py": "from pathlib import Path\nTOP = Path(__file__).resolve().parent.parent\n"
                "x = (TOP / 'data' / 'x.bin').read_bytes()" + ENDS,
                **DATA,
            },
            ["data"],
        ),
        (
            {
                "src/train.py": "import conf\nx = open(conf.DATA / 'x.bin').read()" + ENDS,
                "src/conf.py": "from pathlib import Path\nDATA = Path(__file__).parents[1] / 'data'\n",
                **DATA,
            },
            ["data"],
        ),
        (
            {
                "src/train.py": "import os\nx = open(os.path.join(os.path.dirname(__file__), '..', 'data', 'x.bin')).read()"
                + ENDS,
                **DATA,
            },
            ["data"],
        ),
        (
            {
                "src/train.py": "import sys\nsys.path.append('..')\nfrom lib.m import load\nx = load('../data/x.bin')"
                + ENDS,
                "lib/m.py": "def load(path):\n    return open(path).read()\n",
                **DATA,
            },
            ["data"],
        ),
        (
            {
                "a/b/train.py": "from lib.m import load\nx = load('./data/x.bin')" + ENDS,
                "lib/m.py": "def load(path):\n    return open(path).read()\n",
                "a/b/data/x.bin": "\0a",
                ".git/x": "",
            },
            ["a/b/data"],
        ),
        ({"src/train.py": FLAG, **DATA}, ["data"]),
        ({"src/train.py": FLAG, "src/pyproject.toml": "", **DATA}, []),
        (
            {
                "src/train.py": f"import yaml\nyaml.safe_load(open('a.yaml'))\n{OWN}{ENDS}",
                "a.yaml": "lr: 1\n",
                "src/data/x.bin": "\0a",
            },
            ["src/data"],
        ),
    ],
)
def test_a_trial_finds_data_above_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], links: list[str]
) -> None:
    folder_with(tmp_path, files)
    script = next(iter(files))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert run(["init", script]) == 0
    (described,) = tmp_path.rglob("workload.toml")
    workload = load_workload(f"{described.parent}/")
    assert sorted(workload.links) == links
    ended = run_once(workload, {"PATH": "/usr/bin:/bin"}, Slot("cpu:0"), 60)
    assert (ended.status.value, ended.log) == ("complete", "loss: 2.5\n")
    space = load_space(str(described.parent / "space.toml"))
    assert workload.with_space(space).problems(space.names) == []


def test_what_no_trial_would_find_is_refused_with_the_line_that_tunes_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_with(tmp_path, {"mine/train.py": OPENED + ENDS, "mine/pyproject.toml": "", **DATA})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert run(["init", "mine/train.py"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"mine/train.py: ../data/x.bin: lies outside of {tmp_path / 'mine'}, so no trial would find it."
    )
    assert "`optimize init mine/train.py --to mine-tuned`" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine"]
    assert run(["init", "mine/train.py", "--to", "mine-tuned"]) == 0
    workload = load_workload("./mine-tuned")
    assert workload.links == {"data": str((tmp_path / "data").resolve())}
    assert run_once(workload, {"PATH": "/usr/bin:/bin"}, Slot("cpu:0"), 60).log == "loss: 2.5\n"


def test_init_says_that_each_trial_would_download_what_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "def MNIST(root, download): pass\nMNIST('./data', download=True)\nLR = 0.5\nprint('loss:', LR)\n"
    for there in (False, True):
        folder = tmp_path / str(there)
        folder_with(folder, {"train.py": text, **(DATA if there else {})})
        monkeypatch.chdir(folder)
        assert run(["init", "train.py"]) == 0
        said = "note: ./data: is not there yet, so each trial would download its own: start the script once"
        assert (said in capsys.readouterr().err) != there
