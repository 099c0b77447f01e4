"""`optimize init`: what it writes for a script of any kind loads, fits the script, and says what it left out."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.config.environment import script_python
from optimize.errors import SettingsError
from optimize.script.load_workload import load_workload
from search_spaces import load_space
from tests.init_kinds import KINDS
from tests.test_draft_space import planned


def folder_with(where: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    return where


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.py": "LR = 1.5\nprint('loss:', LR)\n", "b.py": "def main(): ...\n"},
         "script: a.py, as it alone does something when it is run. To take b.py, remove what was written, then "
         "`optimize init b.py`"),
        ({"train.py": "LR = 1.5\nprint('loss:', LR)\n", "a.py": "print(1)", "b.py": "print(2)"},
         "script: train.py, as its name is usual. To take a.py or b.py, remove what was written, then `optimize init a.py`"),
        ({"a.py": "import b\nLR = 1.5\nprint('loss:', LR)\n", "b.py": "X = 1\n", "test_a.py": "print(1)"}, ""),
    ],
)  # fmt: skip
def test_a_script_that_is_taken_of_several_is_said(
    tmp_path: Path,
    files: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, files))
    assert run(["init", ".", "--direction", "minimize"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("script: ")] == [said] * bool(said)
    name = min(files)
    capsys.readouterr()
    for path in tmp_path.glob("*.toml"):
        path.unlink()
    run(["init", name, "--direction", "minimize"])
    assert "script: " not in capsys.readouterr().err  # which was named


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_for_a_script_of_each_kind_fits_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, parameters, left, workload = KINDS[kind]
    monkeypatch.chdir(folder_with(tmp_path, files))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert run(["init", ".", "--", *(["--out", "x"] if kind == "argparse" else [])]) == 0
    space, described = Path("space.toml").read_text(), Path("workload.toml").read_text()
    assert set(load_space("./space.toml").names) == set(parameters)
    for name, said in parameters.items():
        assert f"\n{name} = {said}" in space
    for line in left:
        assert line in space.partition("[parameters]")[2]
    for line in workload:
        assert line in described
    plan = planned(".", tmp_path / "space.toml", tmp_path)  # the study's own checks find nothing
    assert plan.baseline.keys() == set(parameters)


def test_an_env_file_that_may_hold_secrets_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = KINDS["dotenv"][0]["train.py"]
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": text, ".env": "API_KEY=abc\nMOMENTUM=0.5\n"}))
    assert run(["init", "train.py"]) == 0
    assert ".env may hold secrets, so trials get no copy" in capsys.readouterr().err
    assert ".env" not in "".join(line for line in Path("workload.toml").read_text().split("\n") if line[:1] != "#")
    assert (
        "since it may hold secrets: set them elsewhere, to vary them\n#     MOMENTUM" in Path("space.toml").read_text()
    )


def test_nothing_is_overwritten_and_what_is_there_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": "LR = 0.1\nprint(f'loss: {LR}')\n"}))
    assert run(["init", "train.py", "--total", "90"]) == 0
    first = Path("workload.toml").read_bytes()
    assert run(["init", "train.py"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("space.toml: exists already.")
    Path("space.toml").unlink()
    Path("workload.toml").write_text("metric = 'mine'\n")
    assert run(["init"]) == 0
    assert Path("workload.toml").read_text() == "metric = 'mine'\n"
    assert "kept: workload.toml" in capsys.readouterr().err
    assert b"limits = { total_s = 90 }" in first


def test_what_is_given_behind_two_dashes_is_what_the_script_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--opt", default="adam")
args = parser.parse_args()
if args.opt == "adam":
    opt = Adam([], betas=(0.9, 0.95))
else:
    opt = SGD([], momentum=0.9)
for epoch in range(args.epochs):
    print(f"epoch {epoch} loss {args.lr:.4f}")
"""
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": text}))
    assert run(["init", "train.py", "--", "--lr", "2", "--epochs=3", "--opt", "sgd"]) == 0
    assert 'total = "3" }' in Path("workload.toml").read_text()
    space = load_space("./space.toml")
    assert {parameter.name for parameter in space.parameters} == {"lr", "opt", "momentum"}
    assert "# now 2.0\n" in Path("space.toml").read_text()
    assert planned(".", tmp_path / "space.toml", tmp_path).baseline["lr"] == 2.0


def test_so_is_an_override_of_a_hydra_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """import hydra
@hydra.main(config_path="conf", config_name="base")
def main(cfg):
    print(f"val_loss: {cfg.optim.lr}")
main()
"""
    files = {"train.py": text, "conf/base.yaml": "optim:\n  lr: 0.1\n  momentum: 0.9\n"}
    monkeypatch.chdir(folder_with(tmp_path, files))
    assert run(["init", "train.py", "--", "optim.lr=0.5"]) == 0
    assert planned(".", tmp_path / "space.toml", tmp_path).baseline == {"lr": 0.5, "momentum": 0.9}
    assert "# now 0.5\n" in Path("space.toml").read_text()


def test_it_says_whether_the_lines_of_progress_tell_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    loop = "LR = 0.1\nfor epoch in range(9):\n    print(f'epoch {epoch}/9%s')\nprint(f'val_acc: {LR}')\n"
    for folder, line, said in (
        ("a", "", ", which tell no loss, so no trial can be pruned"),
        ("b", " loss {LR:.3f}", ""),
    ):
        folder_with(tmp_path / folder, {"train.py": loop % line})
        assert run(["init", folder]) == 0
        assert f"; progress by its lines{said}; a trial may take 300 s;" in capsys.readouterr().err


def test_another_folder_gets_a_copy_and_links_to_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder_with(
        tmp_path / "home",
        {
            "train.py": "import parts\nLR = 0.1\nopen('data/a.bin')\nprint(f'loss: {LR}')\n",
            "parts/__init__.py": "",
            "old.py": "X",
        },
    )
    folder_with(home, {"data/a.bin": "\0"})
    monkeypatch.chdir(tmp_path)
    assert run(["init", "home/train.py", "--to", "there"]) == 0
    workload = load_workload("./there")
    assert workload.links == {"data": str((home / "data").resolve())}
    assert sorted(workload.files) == ["parts/__init__.py", "train.py"]
    assert sorted(path.name for path in home.iterdir()) == ["data", "old.py", "parts", "train.py"]


def test_a_note_says_which_files_of_a_folder_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "import yaml, parts\nLR = 0.1\nyaml.safe_load(open('parts/a.yaml'))\nprint('parts', f'loss: {LR}')\n"
    files = {"train.py": text, "parts/__init__.py": "", "parts/a.yaml": "lr: 1\n", "parts/notes.txt": ""}
    monkeypatch.chdir(folder_with(tmp_path, files))
    assert run(["init"]) == 0
    assert (
        "note: parts: trials get the Python files and parts/a.yaml of it, and no other file" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({}, ["nothing.py"], "nothing.py: there is no such file or folder. Check the path."),
        ({"notes.txt": ""}, ["notes.txt"], "notes.txt: is no Python file."),
        ({"a.py": "x = 1", "b.py": "y = 1"}, [], ".: which of a.py, b.py trains? Name the script"),
        ({}, [], ".: no Python file in it? Name the script"),
        ({}, ["gpt"], "gpt: has search spaces of its own."),
        ({"train.py": "LR = ("}, [], "train.py:1: not valid Python"),
        ({"train.py": "LR = 0.1\nprint(LR)"}, [], "train.py: no line with a result was found."),
        ({"train.py": "LR = 0.1\nprint(LR)"}, ["--metric", "size"], "--direction: missing: is a low size better, or a high one?"),
        ({"train.py": "LR = 0.1\nhist = [LR]\nprint(hist[-1])"}, [], "is a low hist (train.py:3) better, or a high one?"),
        ({"train.py": "def f():\n    alpha = 0.3"}, [], "f.alpha is one of the numbers of functions, whose names say too little"),
        ({"train.py": "f(alpha=0.3)"}, [], "f.alpha is one of the arguments of calls, whose names say too little"),
        ({"train.py": ""}, ["--direction", "up", "--total", "-3"], "--direction: 'up'. Use minimize or maximize."),
        ({"train.py": "LR = 0.1\nprint(f'loss: {LR}')"}, ["--python", "./no"], "--python: ./no: there is no such program."),
        ({"train.py": "LR = 0.1", "workload.toml": "script = 'b.py'", "b.py": "X = 1"}, ["train.py"], "is for b.py."),
    ],
)  # fmt: skip
def test_what_cannot_begin_is_one_line_and_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: Mapping[str, str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, files))
    assert run(["init", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0]
    assert len(lines) == (2 if "--total" in words else 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_asks_what_it_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "LR = 0.1\nfor epoch in range(3):\n    print(f'epoch {epoch}: val loss {LR}, size {LR}, accuracy {LR}')\n"
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": text}))
    monkeypatch.setattr(sys, "stdin", Terminal("2\n60\n"))
    assert run(["init"]) == 0
    described = Path("workload.toml").read_text()
    assert 'name = "accuracy"' in described
    assert 'direction = "maximize"' in described
    assert "limits = { total_s = 60 }" in described
    assert "  1  val_loss " in capsys.readouterr().err
    for name in ("workload.toml", "space.toml"):
        Path(name).unlink()
    Path("train.py").write_text(
        f"import argparse\np = argparse.ArgumentParser()\np.add_argument('--out', required=True)\n{text}"
    )
    monkeypatch.setattr(sys, "stdin", Terminal("here\nsize\nwhat\nmax\n0\n"))
    assert run(["init"]) == 0
    assert 'direction = "maximize"' in Path("workload.toml").read_text()
    assert "limits" not in Path("workload.toml").read_text()
    assert '"train.py", "--out", "here"]' in Path("workload.toml").read_text()


def test_a_probe_finds_what_the_text_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    text = "LR = 0.1\nnames = ['train', 'val']\nfor name in names:\n    print(name + '_' + 'loss', '->', LR)\n"
    folder_with(tmp_path / "w", {"train.py": text})
    monkeypatch.chdir(tmp_path / "w")
    assert run(["init", "--metric", "val_loss", "--probe", "--trust"]) == 0
    assert "regex = 'val_loss \\->\\s*{number}'" in Path("workload.toml").read_text()
    assert "probe: " in capsys.readouterr().err
    folder_with(tmp_path / "bad", {"train.py": "LR = 0.1\nprint(f'loss: {LR}')\nraise ValueError('no data')\n"})
    monkeypatch.chdir(tmp_path / "bad")
    assert run(["init", "--probe", "--trust"]) == 2
    assert "ValueError: no data" in capsys.readouterr().err
    assert not Path("workload.toml").exists()


BARE_RESULT = """\
import os
LR = 0.5
print(27)
hist = [float(os.environ["OMP_NUM_THREADS"]) * LR]
report = print
report(hist[-1])
"""


def test_a_probe_offers_the_number_that_the_output_ends_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # a trial has it whatever the shell says
    monkeypatch.chdir(folder_with(tmp_path / "w", {"train.py": BARE_RESULT}))
    words = ["train.py", "--direction", "minimize"]
    assert run(["init", *words, "--metric", "val"]) == 0
    assert "init train.py --probe` runs it once, to see" in capsys.readouterr().err
    assert run(["init", "train.py", "--probe", "--trust"]) == 0
    said = capsys.readouterr().err
    assert "probe: ended well after " in said
    line = next(each for each in said.splitlines() if each.startswith("metric = {"))
    kept = Path("workload.toml").read_text()
    Path("workload.toml").write_text(kept.replace('metric = "val"', line))
    assert run(["init", "train.py", "--probe", "--trust"]) == 0
    assert "metric: val is 0.5, as workload.toml has it" in capsys.readouterr().err
    for name in ("workload.toml", "space.toml"):
        Path(name).unlink()
    assert run(["init", *words, "--probe", "--trust"]) == 0
    assert "probe: ended well after " in capsys.readouterr().err
    assert 'name = "result"' in Path("workload.toml").read_text()


def test_the_python_of_a_script_is_that_of_its_environment(tmp_path: Path) -> None:
    for name in ("venv", "conda", "home/.venv"):
        folder_with(tmp_path / name, {"bin/python": ""})
    home, venv, conda = tmp_path / "home", str(tmp_path / "venv"), str(tmp_path / "conda")
    python = "bin/python"
    assert script_python(home, None, {"VIRTUAL_ENV": venv, "CONDA_PREFIX": conda}) == (
        f"{venv}/{python}",
        "VIRTUAL_ENV",
    )
    assert script_python(home, None, {"CONDA_PREFIX": conda}) == (f"{conda}/{python}", "CONDA_PREFIX")
    assert script_python(home, None, {}) == ("{folder}/.venv/bin/python", ".venv")
    assert script_python(tmp_path, None, {"VIRTUAL_ENV": "/nowhere"}) == ("", "")
    assert script_python(home, None, {"VIRTUAL_ENV": sys.prefix}) == ("", "VIRTUAL_ENV")
    assert script_python(home, f"{conda}/{python}", {"VIRTUAL_ENV": venv})[0] == f"{conda}/{python}"
    with pytest.raises(SettingsError, match="there is no such program"):
        script_python(home, "no-such-python", {})


def test_what_a_kept_workload_cannot_take_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": "LR = 1.5\nprint('loss:', LR)\n"}))
    assert run(["init", "train.py", "--direction", "minimize", "--", "--steps", "4"]) == 0
    Path("space.toml").unlink()
    assert run(["init", "train.py", "--", "--steps", "5"]) == 2
    assert "so -- --steps 5 would change nothing" in capsys.readouterr().err
    assert run(["init", "train.py", "--", "--steps", "4"]) == 0  # as workload.toml has it


@pytest.mark.parametrize("given", ["train.py", "."])
def test_another_folder_is_written_into_whatever_workload_is_kept_beside_the_script(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "LR = 1.5\nprint('loss:', LR)\nprint('va_loss:', LR)\n"
    monkeypatch.chdir(folder_with(tmp_path / "a", {"train.py": script, "b.py": script}))
    assert run(["init", "train.py", "--metric", "loss"]) == 0
    kept = Path("workload.toml").read_text()
    assert run(["init", given, "--metric", "va_loss", "--to", "../other"]) == 0
    assert (load_workload("../other/").metric.name, Path("../other/train.py").read_text()) == ("va_loss", script)
    assert load_space("../other/space.toml").names == ("LR",)
    assert run(["init", "b.py", "--to", "../b"]) == 0  # which the kept workload is not for
    assert run(["init", given, "--metric", "loss", "--to", "../other"]) == 2
    assert "../other/space.toml: exists already" in capsys.readouterr().err
    assert run(["init", given, "--metric", "va_loss", "--to", "."]) == 2
    assert "so --metric would change nothing" in capsys.readouterr().err
    assert Path("workload.toml").read_text() == kept
