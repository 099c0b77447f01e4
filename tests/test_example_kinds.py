"""Scripts as people write them: from a folder with nothing but the script, three commands lead to a winner that trains again.

Kinds whose packages are not installed are left out: the extra `examples` has them, and `.ci/run` installs it for this file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from storage import open_database, read_records
from tests.forked import run_forked

KINDS = Path(__file__).parent.parent / "examples" / "kinds"
NEEDS = {
    "yaml_omegaconf": "omegaconf", "hydra_app": "hydra", "huggingface_trainer": "transformers", "lightning_cli": "lightning",
    "keras_model": "keras", "sklearn_model": "sklearn",
}  # fmt: skip
TRIALS = 3


def is_here(kind: str) -> bool:
    return kind not in NEEDS or importlib.util.find_spec(NEEDS[kind]) is not None


def given(folder: Path, words: list[str]) -> str:
    env = {**os.environ, "PYTHONPATH": str(KINDS.parent.parent), "OMP_NUM_THREADS": "1"}
    done = run_forked(words, cwd=folder, env=env, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.slow
@pytest.mark.xdist_group("kinds")
@pytest.mark.parametrize("kind", [path.name for path in sorted(KINDS.iterdir())])
def test_three_commands_lead_from_a_script_to_a_winner(kind: str, tmp_path: Path) -> None:
    if not is_here(kind):
        pytest.skip(f"needs {NEEDS[kind]}: pip install -e '.[examples]'")
    folder = tmp_path / kind
    shutil.copytree(KINDS / kind, folder, ignore=shutil.ignore_patterns("README.md", "__pycache__", "outputs"))
    commands = re.findall(r"^optimize (.*?)(?: +#.*)?$", (KINDS / kind / "README.md").read_text(), re.M)
    init, run = (command.replace('"', "").replace("val loss", "val\0loss").split() for command in commands)
    given(folder, [word.replace("\0", " ") for word in init])
    given(folder, [*run[:-1], str(TRIALS), "--profile", "cpu", "--sampler", "random"])
    with closing(open_database(folder / "runs" / "optuna.db")) as database:
        (study,) = database.study_names()
        study_id = database.find_study(study)
        assert study_id is not None
        records, (_, direction) = read_records(database, study_id), database.objective(study_id)
    assert [record.state for record in records] == ["COMPLETE"] * TRIALS
    values = [record.value for record in records if record.value is not None]
    best = min(values) if direction == "minimize" else max(values)
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    words = ["sh", str(folder / "runs" / study / "best" / "run.sh")]
    again = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    assert repr(best) in again.stdout + again.stderr
