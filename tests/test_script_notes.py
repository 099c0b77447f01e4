"""What a script seems to need and a trial would not have is said before the first trial, with the line that mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.config.environment import variables_not_passed
from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.errors import SettingsError
from optimize.script.variables import variables_read
from optimize.script.words_by_place import words_by_place_note

SCRIPT = "LR = 0.1\nprint('val_bpb:', LR)\n"


def notes(folder: Path, profile: str = "") -> list[str]:
    (folder / "space.toml").write_text("[parameters]\nLR = [0.1, 0.2]\n")
    (folder / "profile.toml").write_text(f"{profile}\n[slots]\ndevice = 'cpu'\n")
    flags = {
        "workload": f"{folder}/",
        "search_space": str(folder / "space.toml"),
        "runs": folder / "runs",
        "study": "s",
    }
    return list(make_plan(load_settings(str(folder / "profile.toml"), "a test", flags, {})).notes)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['DATA_PATH']",
        "import os\nos.environ.get('DATA_PATH', 'small')",
        "import os\nos.getenv('DATA_PATH')",
        "from os import environ\nenviron['DATA_PATH']",
        "from os import getenv\ngetenv('DATA_PATH', '')",
        "import os\nos.environ.setdefault('DATA_PATH', '/x')",
        "import os\nif 'DATA_PATH' in os.environ: pass",
        "import os\ndef f():\n    return os.environ.pop('DATA_PATH', None)",
    ],
)
def test_a_variable_is_found_however_it_is_read(text: str) -> None:
    assert variables_read(text, "t.py") == {"DATA_PATH"}


@pytest.mark.parametrize(
    "text", ["import os\nos.environ['DATA_PATH'] = 'x'", "d = {}\nd.get('DATA_PATH')", "'DATA_PATH'"]
)
def test_what_is_written_or_belongs_to_something_else_is_not_read(text: str) -> None:
    assert variables_read(text, "t.py") == set()


@pytest.mark.parametrize(
    ("text", "variable"),
    [("import wandb", "WANDB_API_KEY"), ("from transformers import AutoModel", "HF_TOKEN"), ("import datasets", "HF_TOKEN"),
     ("import mlflow.pytorch", "MLFLOW_TRACKING_URI"), ("def f():\n    import boto3", "AWS_SECRET_ACCESS_KEY")],
)  # fmt: skip
def test_a_variable_that_a_package_reads_is_known(text: str, variable: str) -> None:
    assert variable in variables_read(text, "t.py")


def test_a_variable_that_is_set_here_and_not_passed_is_said_with_the_line_that_passes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(f"import os\nimport wandb\ndata = os.environ.get('DATA_PATH')\n{SCRIPT}")
    assert notes(tmp_path) == []
    monkeypatch.setenv("DATA_PATH", "/big")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    (line,) = notes(tmp_path)
    assert line.startswith(
        "environment: DATA_PATH, WANDB_API_KEY are set here and read by the scripts, but trials do not get them."
    )
    assert 'env_pass = ["DATA_PATH", "WANDB_API_KEY"]' in line
    assert "secret" not in line
    assert "/big" not in line
    assert notes(tmp_path, 'env_pass = ["DATA_PATH", "WANDB_API_KEY"]') == []


def test_a_variable_that_a_slot_sets_is_not_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    reads = "".join(f"os.environ.get('{name}')\n" for name in names)
    (tmp_path / "train.py").write_text(f"import os\n{reads}{SCRIPT}")
    for name in names:
        monkeypatch.setenv(name, "3")
    assert notes(tmp_path) == []


def test_pythonpath_is_said_where_it_leads_to_what_a_script_imports(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.py").write_text("")
    environ = {"PYTHONPATH": f"/nowhere:{tmp_path / 'lib'}"}
    assert variables_not_passed((), set(), {"mine.part"}, environ) == ["PYTHONPATH"]
    assert variables_not_passed((), set(), {"torch"}, environ) == []
    assert variables_not_passed(("PYTHONPATH",), set(), {"mine"}, environ) == []


def test_a_constant_of_a_file_that_nobody_imports_is_said(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("LR = 0.1\n")
    (tmp_path / "train.py").write_text("lr = 0.1\nprint('val_bpb:', lr)\n")
    (line,) = notes(tmp_path)
    assert line.startswith("constants: LR: in old.py, which train.py does not import.")


@pytest.mark.parametrize(
    "uses",
    ["import conf", "from conf import LR", "import conf as c",
     "import subprocess\nsubprocess.run(['python', 'conf.py'])", "exec(open('conf.py').read())",
     "import importlib\nimportlib.import_module('conf')", "import middle"],
)  # fmt: skip
def test_a_file_that_is_imported_run_or_executed_is_used(tmp_path: Path, uses: str) -> None:
    (tmp_path / "conf.py").write_text("LR = 0.1\n")
    (tmp_path / "middle.py").write_text("from conf import LR\n")
    (tmp_path / "train.py").write_text(f"{uses}\nprint('val_bpb:', 1)\n")
    assert not [line for line in notes(tmp_path) if "does not import" in line]


def test_what_may_replace_any_name_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(f"{SCRIPT}globals().update(LR=3)\n")
    (line,) = notes(tmp_path)
    assert line.startswith("constants: train.py:3: `globals().update(LR=3)` may replace a trial's values")


def planned(folder: Path, script: str, **flags: object) -> Plan:
    """What our profile `cpu` makes of a stranger's script."""
    (folder / "train.py").write_text(script)
    (folder / "space.toml").write_text("[parameters]\nLR = [0.1, 0.2]\n")
    mine = {"workload": f"{folder}/", "search_space": str(folder / "space.toml"), "study": "s"}
    return make_plan(load_settings("cpu", "a test", mine | flags, {}))


def test_no_word_is_lost_on_constants_of_ours_that_a_stranger_never_heard_of(tmp_path: Path) -> None:
    plan = planned(tmp_path, SCRIPT)
    assert plan.notes == ()
    assert plan.settings.constants == {}
    (note,) = planned(tmp_path, f"DEPTH = 4\n{SCRIPT}").notes  # of a fork, whose user may expect the profile's values
    assert note.startswith("constants: the script's own, not those of profile cpu: the script has no VOCAB_SIZE")


def test_a_study_does_not_begin_inside_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = tmp_path / "runs" / "night" / "best"
    best.mkdir(parents=True)
    for name in ("summary.toml", "params.toml", "train.patch", "run.sh"):
        (best / name).touch()
    monkeypatch.chdir(best)
    with pytest.raises(SettingsError) as refused:
        make_plan(load_settings("cpu", "a test", {}, {}))
    assert list(refused.value.problems) == [
        f"{best}: this is the best trial of study night: scripts to run, and no study. Train them again with `sh run.sh`. "
        f"Go on with the study in {tmp_path}, or name --workload."
    ]
    (best / "run.sh").unlink()
    with pytest.raises(SettingsError, match=re.escape("`python train.py`")):
        make_plan(load_settings("cpu", "a test", {}, {}))
    assert planned(best, SCRIPT).settings.workload == f"{best}/"  # whoever names it means it
    assert make_plan(load_settings("cpu", "a test", {"runs": tmp_path / "runs"}, {}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\n",
            "may not start without --data",
        ),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\n", "may not start without data"),
        ("if not input('Begin? '): raise SystemExit\n", "waits for an answer"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', default='x')\n", ""),
    ],
)
def test_what_a_script_waits_for_when_it_starts_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "train.py").write_text(f"LR = 0.1\n{text}print('val_bpb: 1')\n")
    found = [note for note in notes(tmp_path) if note.startswith(("command", "script"))]
    assert [said in note for note in found] == [True] * bool(said)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "import sys\nlr = float(sys.argv[1])",
            "train.py:2: it takes a word of its command by its place, `sys.argv[1]`",
        ),
        (
            "from sys import argv\nlr = float(argv[-1])",
            "train.py:2: it takes a word of its command by its place, `argv[-1]`",
        ),
        ("import sys\nlr, width = sys.argv[1:]", "train.py:2: it takes the words of its command by their places"),
        ("import getopt, sys\nopts, _ = getopt.getopt(sys.argv[1:], 'l:')", "train.py:2: it reads its flags by getopt"),
        ("from docopt import docopt\nargs = docopt(__doc__)", "train.py:2: it reads its flags by docopt"),
        ("import sys\nprint(sys.argv[0])\nfor word in sys.argv[1:]:\n    print(word)", ""),
        ("args = parser.parse_args(sys.argv[1:])", ""),
    ],
)
def test_words_that_cannot_be_tuned_are_told(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words_by_place_note({"train.py": code}).startswith(says)
    if says:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "train.py").write_text(f"{code}\nprint('loss:', 0.5)\n")
        assert run(["init", "train.py"]) == 2  # there is nothing else to vary
        assert f"{says}, which cannot be tuned. A flag of argparse" in capsys.readouterr().err
        (tmp_path / "train.py").write_text(f"{code}\nDROPOUT = 0.1\nprint('loss:', DROPOUT)\n")
        assert run(["init", "train.py", "--", "0.5"]) == 0
        assert f"note: {says}, which cannot be tuned." in capsys.readouterr().err


def test_what_the_script_itself_writes_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"\0")
    (tmp_path / "data.bin").write_bytes(b"\0")
    script = SCRIPT + "name = 'model.joblib'\njoblib.dump(m, name)\nopen('data.bin', 'rb')\n"
    (tmp_path / "train.py").write_text(script)
    (line,) = (line for line in notes(tmp_path) if line.startswith("files: "))
    assert "data.bin" in line
    assert "model.joblib" not in line
