"""`optimize init`: data beside the script reaches its trials, and a script without settings is told where to write them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.runner.process import run_job
from optimize.script.load_workload import load_workload
from optimize.trial import Limits, Slot, Suggestion
from tests.test_init import folder_with


def test_a_file_of_data_beside_the_script_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import pickle\nLR = 0.5\nx = pickle.load(open('data.pkl', 'rb'))\nprint('loss:', LR * x)\n"
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": script}))
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(2.5))
    assert run(["init", "train.py", "--direction", "minimize"]) == 0
    assert "data.pkl" not in capsys.readouterr().err  # nothing is left to do
    workload = load_workload(str(tmp_path))
    assert workload.links == {"data.pkl": str(tmp_path.resolve() / "data.pkl")}
    outcome = run_job(workload.prepare(Suggestion(0, {"LR": 0.5}), {}, {}, Limits()), tmp_path / "work", Slot("a"))
    assert outcome.summary["loss"] == 1.25


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "from xgboost import XGBClassifier\nm = XGBClassifier(random_state=42)\nprint('accuracy:', m.score())\n",
            "Line 2 of train.py leaves them to XGBClassifier: write what may vary there, "
            "XGBClassifier(..., n_estimators=100, max_depth=6, learning_rate=0.3).",
        ),
        (
            "from torch import optim\no = optim.SGD(p)\nprint('loss:', o.loss)\n",
            "leaves them to SGD: write what may vary there, SGD(..., lr=0.001).",
        ),
        ("from keras.optimizers import SGD\nSGD()\nprint('loss:', f())\n", "or as a keyword of a call."),
        ("print('accuracy:', f())\n", "at module level, once, or as a keyword of a call."),
    ],
)
def test_a_script_without_settings_is_told_where_to_write_them(
    tmp_path: Path, script: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": script}))
    assert run(["init", "train.py"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_file_that_the_script_reads_and_writes_is_never_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "import pickle\nLR = 0.5\nx = pickle.load(open('ckpt.pkl', 'rb'))\n"
        "pickle.dump(x, open('ckpt.pkl', 'wb'))\nprint('loss:', LR * x)\n"
    )
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": script}))
    (tmp_path / "ckpt.pkl").write_bytes(pickle.dumps(2.5))
    assert run(["init", "train.py", "--direction", "minimize"]) == 0
    assert "ckpt.pkl: the script reads and writes it" in capsys.readouterr().err
    assert not load_workload(str(tmp_path)).links
