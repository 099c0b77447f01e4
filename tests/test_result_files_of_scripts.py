"""A metric that a script writes into a file: which file is read from the script's text, and its value from the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.errors import WorkloadError
from optimize.runner.metric_files import find_file, lines_of_file
from optimize.runner.progress import MetricParser
from optimize.script.load_workload import load_workload
from optimize.script.result_files import ResultFile, file_with, result_files
from optimize.trial import Metric
from tests.test_init import folder_with

TABLE = "epoch, train_loss, loss\n0, 9.0, 3.0\n1, 8.0, 1.5\n2, 7.0, 2.0\n"


@pytest.mark.parametrize(
    ("name", "text", "metric", "value"),
    [
        ("r.json", '{"train": {"loss": 9}, "test": {"loss": 1.5}}', Metric("test.loss", file="r.json"), 1.5),
        ("r.json", '{"config": {"lr": 1}, "acc": [0.1, 0.2]}', Metric("acc", file="r.json"), 0.2),
        ("r.json", '[{"loss": 3.0}, {"loss": 1.5}]', Metric("loss", take="min", file="r.json"), 1.5),
        ("r.json", '{"loss": NaN}', Metric("loss", file="r.json"), "nan"),
        ("r.json", '{"loss": 1', Metric("loss", file="r.json"), None),
        ("r.jsonl", '{"loss": 3.0}\n\n{"loss": 2.0}\n', Metric("loss", file="*.jsonl"), 2.0),
        ("out/7/r.csv", TABLE, Metric("loss", file="**/r.csv"), 2.0),
        ("r.csv", TABLE, Metric("loss", take="min", file="r.csv"), 1.5),
        ("r.tsv", TABLE.replace(", ", "\t"), Metric("train_loss", file="r.tsv"), 7.0),
        ("log.txt", "val loss 3.0\nval loss 2.0\n", Metric("loss", regex="val loss {number}", file="log.txt"), 2.0),
        ("r.csv", TABLE, Metric("accuracy", file="r.csv"), None),
        ("r.csv", TABLE, Metric("loss", file="other.csv"), None),
    ],
)
def test_a_value_is_read_from_a_file(
    tmp_path: Path, name: str, text: str, metric: Metric, value: float | str | None
) -> None:
    folder_with(tmp_path, {name: text})
    parser = MetricParser(metric)
    parser.parse(b"loss: 0.001")  # what it prints does not count
    parser.read_file(lines_of_file(tmp_path, metric))
    assert repr(parser.found().value) == repr(float("nan") if value == "nan" else value)


def test_of_several_files_the_newest_counts(tmp_path: Path) -> None:
    folder_with(tmp_path, {"a/r.json": "{}", "b/r.json": "{}", "r.json.old": "{}"})
    os.utime(tmp_path / "a/r.json", (9e9, 9e9))
    assert find_file(tmp_path, "**/r.json") == tmp_path / "a/r.json"
    assert find_file(tmp_path, "**/s.json") is None


OPENED = "import json, csv\nfrom pathlib import Path\n"


@pytest.mark.parametrize(
    ("code", "path", "keys"),
    [
        ("with open('r.json', 'w') as f:\n    json.dump({'loss': x, 'n': 3}, f)", "r.json", ("loss", "n")),
        ("m = {'loss': x}\nPath('out/r.json').write_text(json.dumps(m))", "out/r.json", ("loss",)),
        ("f = open(os.path.join(out, 'r.jsonl'), 'a')\nf.write(json.dumps({'loss': x}) + '\\n')", "**/r.jsonl", ("loss",)),
        ("with (out / 'r.csv').open('w') as f:\n    w = csv.DictWriter(f, ['epoch', 'loss'])", "**/r.csv", ("epoch", "loss")),
        ("with open(f'{out}/r_{seed}.csv', 'w') as f:\n    w = csv.writer(f)\n    w.writerow(['loss'])", "**/r_*.csv", ("loss",)),
        ("frame.to_csv('r.csv')", "r.csv", ()),
    ],
)  # fmt: skip
def test_which_file_a_script_writes_is_read_from_its_text(code: str, path: str, keys: tuple[str, ...]) -> None:
    assert [(each.path, each.keys) for each in result_files({"train.py": OPENED + code})] == [(path, keys)]
    others = "with open('config.json', 'w') as f:\n    json.dump({'loss': 1}, f)\njson.load(open('r.json'))\n"
    assert file_with(result_files({"train.py": OPENED + others}), "loss") is None


def test_a_file_that_has_the_name_is_taken_before_one_that_may_have_it() -> None:
    known, unknown = ResultFile("a.json", ("loss",), "t:1"), ResultFile("b.csv", (), "t:2")
    assert file_with([known, unknown], "loss") == known
    assert file_with([known, unknown], "acc") == unknown
    assert file_with([known], "acc") is None


SCRIPT = """
import json
LR = 0.25
with open("results.json", "w") as file:
    json.dump({"test_mse": (LR - 0.1) ** 2, "LR": LR}, file)
print("done")
"""


def test_a_study_of_a_script_that_prints_nothing_and_its_run_sh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder_with(tmp_path / "mine", {"train.py": SCRIPT, "results.json": '{"test_mse": 0.0}'}))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert run(["init", "train.py", "--metric", "test_mse", "--direction", "minimize"]) == 0
    described = Path("workload.toml").read_text()
    assert 'metric = { name = "test_mse", file = "results.json" }' in described
    assert "files" not in described
    assert run(["run", "--trust", "--trials", "3", "--profile", "cpu", "--slots", "1"]) == 0
    capfd.readouterr()
    assert os.system("sh runs/mine-cpu/best/run.sh") == 0
    assert '"test_mse": 0.0' in capfd.readouterr().out
    Path("workload.toml").write_text(described + 'files = ["*.py", "*.json"]\n')
    with pytest.raises(
        WorkloadError, match=r"results\.json is among `files`, so a trial would begin with an old result"
    ):
        load_workload("./")
