"""The main job on real input: real text, real training, a study, and a best that trains to the same value again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from optimize.config.settings import PROFILES
from storage import TrialRecord, open_database, read_records
from tests.forked import run_forked

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training"), pytest.mark.usefixtures("cache")]
ROOT = Path(__file__).parent.parent


def small_profile(folder: Path) -> Path:
    """The cpu profile with a few steps of training and a short evaluation."""
    text = (PROFILES / "cpu.toml").read_text()
    for name, value in {"FLOP_BUDGET": 80_000_000_000, "EVAL_TOKENS": 8192}.items():
        text, count = re.subn(rf"{name} = [\d_]+", f"{name} = {value}", text)
        assert count == 1
    text = re.sub(r"\[constants\.gpt\].*", "", text)  # a copy of our scripts elsewhere has those constants too
    path = folder / "small.toml"
    path.write_text(text)
    return path


def study(folder: Path, name: str, trials: int, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["run", "--profile", str(small_profile(folder)), "--study", name, "--trials", str(trials), *more]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "config")}
    return run_forked(words, cwd=folder, env=env, timeout=600)


def records(folder: Path, name: str) -> list[TrialRecord]:
    with closing(open_database(folder / "runs" / "optuna.db")) as database:
        study_id = database.find_study(name)
        assert study_id is not None
        return read_records(database, study_id)


SAME = ("--sampler", "random", "--seed", "7")


def test_a_study_trains_and_equal_parameters_give_equal_values_whatever_else_the_machine_does(tmp_path: Path) -> None:
    ended = study(tmp_path, "real", 3, "--slots", "2", *SAME)
    assert ended.returncode == 0, ended.stderr
    told = records(tmp_path, "real")
    assert [r.state for r in told] == ["COMPLETE"] * 3
    assert all(r.curve and r.summary["data_fingerprint"] for r in told)
    again = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path / "runs" / "real" / "best",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    value = re.findall(r"^val_bpb: +(\S+)$", again.stdout, re.M)[-1]
    assert float(value) == min(r.value for r in told if r.value is not None)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        ended = study(tmp_path, "busy", 2, "--slots", "1", *SAME)
        busy.kill()
    assert ended.returncode == 0, ended.stderr
    values = [{tuple(r.params.items()): r.value for r in records(tmp_path, name)} for name in ("real", "busy")]
    shared = values[0].keys() & values[1].keys()
    assert len(shared) == 2
    assert all(values[0][params] == values[1][params] for params in shared)


def test_an_untouched_foreign_folder_runs_by_the_same_path(tmp_path: Path) -> None:
    """Our two scripts in a folder without a workload.toml are what an autoresearch checkout is: train.py, prepare.py."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("train.py", "prepare.py"):
        (folder / name).write_bytes((ROOT / "optimize" / "workloads" / "gpt" / name).read_bytes())
    ended = study(tmp_path, "foreign", 2, "--slots", "1", "--workload", str(folder), "--trust")
    assert ended.returncode == 0, ended.stderr
    assert len(records(tmp_path, "foreign")) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["prepare.py", "train.py"]
