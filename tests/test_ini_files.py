"""A value of an INI file is read and written as configparser reads it, and nothing else in the file changes."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.errors import RenderError
from optimize.script.config_files import find_key, write_keys
from optimize.trial import Value
from search_spaces import load_space
from tests.test_init import folder_with

TEXT = """\
# settings
[DEFAULT]
momentum = 0.9
[train]
LR: 1e-3
epochs=5
optimizer = adam
nesterov = True
amp = false
many = 1,
  2
[model]
Hidden = 128
"""


@pytest.mark.parametrize(
    ("path", "now", "value", "written"),
    [
        ("train.lr", 1e-3, 0.5, "LR: 0.5\n"),
        ("train.epochs", 5, 7, "epochs=7\n"),
        ("train.optimizer", "adam", "sgd", "optimizer = sgd\n"),
        ("train.nesterov", True, False, "nesterov = False\n"),
        ("train.amp", False, True, "amp = true\n"),
        ("model.hidden", 128, 64, "Hidden = 64\n"),
        ("DEFAULT.momentum", 0.9, 0.5, "momentum = 0.5\n"),
    ],
)
def test_a_value_is_replaced_where_it_stands(path: str, now: Value, value: Value, written: str) -> None:
    assert repr(find_key(TEXT, path, "a.ini").value) == repr(now)
    text = write_keys(TEXT, ((path, value),), "a.ini")
    assert written in text
    assert [a for a, b in zip(text.splitlines(), TEXT.splitlines(), strict=True) if a != b] == [written.strip()]
    parser = configparser.ConfigParser()
    parser.read_string(text)
    section, key = path.split(".")
    assert parser[section][key].lower() == str(value).lower()


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        (TEXT, "train.many", 3),
        (TEXT, "train.none", 3),
        (TEXT, "train.lr", "two\nlines"),
        (TEXT, "train.lr", "7"),
        ("[a]\nx = 1\nx = 2\n", "a.x", 3),
        ("[a]\nx = 1\n[a]\ny = 1\n", "a.x", 3),
        ("x = 1\n", "a.x", 3),
    ],
)
def test_what_cannot_be_written_exactly_is_refused(text: str, path: str, value: Value) -> None:
    with pytest.raises(RenderError):
        write_keys(text, ((path, value),), "a.cfg")


def test_init_finds_the_keys_of_a_script_that_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import configparser\nc = configparser.ConfigParser()\nc.read('a.ini')\nprint('loss:', c.getfloat('train', 'lr'))\n"
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": text, "a.ini": TEXT}))
    assert run(["init", "train.py"]) == 0
    found = {p.name: str(p.location) for p in load_space("./space.toml").parameters}
    keys = {"momentum": "DEFAULT", "lr": "train", "nesterov": "train", "amp": "train", "hidden": "model"}
    assert {
        name: f"key a.ini:{section}.{name}" for name, section in keys.items() if name != "amp"
    }.items() <= found.items()
    assert 'files = ["*.py", "a.ini"]' in Path("workload.toml").read_text()
