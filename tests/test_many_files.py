"""A folder of hundreds of Python files: those that a script takes names from are read, each is parsed once, the rest are named."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script import files_read as reading
from optimize.script.data_used import local_files
from optimize.script.load_workload import load_workload
from optimize.script.trees import trees_kept, walk
from tests.test_draft_space import planned

MODELS = 300
TRAIN = """
import argparse
from zoo import build, schedules
from zoo.optim import make
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
model = build("m7", dropout=0.1)
for epoch in range(3):
    print(f"val_loss: {schedules.at(epoch) * make(args.lr)}")
"""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "zoo/models").mkdir(parents=True)
    stars = "".join(f"from .m{number} import *\n" for number in range(MODELS))
    files = {
        "train.py": TRAIN,
        "other.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=9.0)\nprint(p)\n",
        "zoo/__init__.py": "from .models import build\nfrom .models import *\n",
        "zoo/models/__init__.py": f"from .registry import build, find\n{stars}",
        "zoo/models/registry.py": "import logging\ndef build(name, **given): ...\ndef find(): ...\n",
        "zoo/schedules.py": "import random\nfrom .kept import Config\ndef at(epoch): return Config().gamma\n",
        "zoo/random.py": "WIDTH = 3",
        "zoo/kept.py": "class Config:\n    gamma: float = 0.9\n",
        "zoo/optim.py": "def make(lr): return lr\n",
        **{f"zoo/models/m{number}.py": f"class Net{number}: rate = 0.{number}1\n" for number in range(MODELS)},
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    parse = ast.parse

    def counting(source: str, *given: object, **named: object) -> ast.AST:
        counted[source] += 1
        return parse(source, *given, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(ast, "parse", counting)
    return counted


def texts(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.rglob("*.py")}


def test_a_script_is_read_with_the_files_that_it_takes_names_from(zoo: Path) -> None:
    found = local_files(zoo, "train.py")
    assert sorted(found.files) == [
        "train.py", "zoo/__init__.py", "zoo/kept.py", "zoo/models/__init__.py", "zoo/models/registry.py", "zoo/optim.py",
        "zoo/schedules.py",
    ]  # fmt: skip
    assert (next(iter(found.files)), found.left) == ("train.py", [])


def test_init_and_check_parse_each_file_once_and_no_model_that_is_not_built(zoo: Path, parsed: Counter[str]) -> None:
    files = texts(zoo)
    assert run(["init", "train.py"]) == 0
    read = {text: count for text, count in parsed.items() if text in files}
    assert len(read) == 8  # `other.py` as well: whether it is Python of today
    assert set(read.values()) == {1}
    assert 'files = ["*.py", "zoo/**/*.py"]' in Path("workload.toml").read_text()
    parsed.clear()
    assert run(["check"]) == 0
    twice = [text for text, count in parsed.items() if text in files and count > 1]
    assert sorted(twice) == sorted(
        [TRAIN, (zoo / "zoo/kept.py").read_text()]
    )  # the baseline's, which are written once more
    assert all(parsed[text] == 2 for text in twice)
    assert run(["check"]) == 0


def test_the_flags_are_those_of_the_script_and_not_of_another_in_the_folder(zoo: Path) -> None:
    assert run(["init", "train.py"]) == 0
    assert planned(".", zoo / "space.toml", zoo).baseline["lr"] == 0.1


def test_a_trial_gets_every_file_that_runs_with_the_script(zoo: Path) -> None:
    assert run(["init", "train.py", "--to", "there"]) == 0
    assert len(load_workload("./there").files) == MODELS + 7


def test_what_was_too_much_to_read_is_told(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "MOST_FILES", 5)
    assert run(["init", "train.py"]) == 0
    line = "note: 2 of the files that it imports were not read, so no setting in them is proposed: "
    assert f"{line}zoo/kept.py, zoo/models/registry.py" in capsys.readouterr().err
    assert "were not read" in Path("workload.toml").read_text()


@pytest.mark.parametrize(
    ("imports", "package", "read"),
    [
        ("from models import *\nNet()", "from .a import *\nfrom .b import Other\n", ["models/a.py"]),
        ("import models\nmodels.Net()", "from .a import Net\nfrom .b import Other\n", ["models/a.py"]),
        ("import models\nuse(models)", "from .a import Net\nfrom .b import Other\n", ["models/a.py", "models/b.py"]),
        ("import models.b", "", ["models/b.py"]),
        ("from models import b as c\nc.Other()", "", ["models/b.py"]),
        ("from models import get", "from . import a, b\ndef get(): ...", ["models/a.py", "models/b.py"]),
        ("from models import b", "import models.a as b", ["models/a.py", "models/b.py"]),
        ("from models import Net", "def __getattr__(n): ...\nfrom . import a\n", ["models/a.py"]),
        ("from importlib import import_module\nimport_module('models.b')", "", ["models/b.py"]),
        ("exec(open('models/b.py').read())", "", ["models/b.py"]),
        ("def main():\n    from models.a import Net", "", ["models/a.py"]),
    ],
)  # fmt: skip
def test_a_name_leads_to_its_file_however_it_is_imported(
    tmp_path: Path, imports: str, package: str, read: list[str]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/__init__.py").write_text(package)
    (tmp_path / "models/a.py").write_text("class Net: ...\n")
    (tmp_path / "models/b.py").write_text("class Other: ...\n")
    (tmp_path / "train.py").write_text(imports)
    found = local_files(tmp_path, "train.py").files
    assert sorted(set(found) - {"train.py", "models/__init__.py"}) == read


def test_trees_are_shared_only_while_they_are_kept() -> None:
    from optimize.script.bindings import parse

    with trees_kept():
        tree = parse("x = 1", "a")
        with trees_kept():
            assert parse("x = 1", "b") is tree
        assert parse("x = 1", "b") is tree
        assert walk(tree) is walk(tree)
    assert parse("x = 1", "a") is not tree
