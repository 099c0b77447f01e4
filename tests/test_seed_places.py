"""The seed of scripts as people write them is found wherever it stands, and what only decides about the data is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.errors import WorkloadError
from optimize.trial import Limits, Suggestion

REST = "LR = 1.0\nprint('loss:', LR)\n"
FOUND = {
    "a constant": "SEED = 42\n",
    "a constant in small letters": "seed = 42\ntorch.manual_seed(seed)\n",
    "a constant with another name": "random_seed = 42\ntorch.manual_seed(random_seed)\n",
    "a constant of a model and a split": "K_SEED = 42\ntrain_test_split(x, random_state=K_SEED)\nm = A(random_state=K_SEED)\n",
    "an entry": "CONFIG = {'seed': 42, 'lr': 0.1}\ntorch.manual_seed(CONFIG['seed'])\n",
    "an entry of a call": "cfg = dict(random_state=42)\nm = A(random_state=cfg['random_state'])\n",
    "a nested entry": "cfg = {'train': {'seed': 42}}\ntorch.manual_seed(cfg['train']['seed'])\n",
    "a field": "class Config:\n    random_seed: int = 42\ntorch.manual_seed(Config.random_seed)\n",
    "a function's default": "def set_seed(seed=42):\n    torch.manual_seed(seed)\nset_seed()\n",
    "a function's variable": "def main():\n    seed = 42\n    torch.manual_seed(seed)\nmain()\n",
    "the main block": "if __name__ == '__main__':\n    seed = 42\n    torch.manual_seed(seed)\n",
    "the main block with another": "if __name__ == '__main__':\n    noise_seed = 3\n    seed = 42\n    torch.manual_seed(seed)\n",
    "a flag": "p = argparse.ArgumentParser()\np.add_argument('--random-state', type=int, default=42)\na = p.parse_args()\n",
    "a function of the script": "def seed_everything(s):\n    torch.manual_seed(s)\nseed_everything(42)\n",
    "a function of a package": "tf.keras.utils.set_random_seed(42)\n",
    "an argument of a class": "a = TrainingArguments(output_dir='x', seed=42)\n",
}
NONE = {
    "a split's": "x = train_test_split(x, random_state=42)\n",
    "a constant of a split": "STATE_SEED = 42\nx = train_test_split(x, random_state=STATE_SEED)\n",
    "a sampler's": "s = DistributedSampler(x, seed=42)\n",
    "an environment's": "env.seed(42)\n",
    "several": "def a(seed=1):\n    random.seed(seed)\ndef b(seed=2):\n    random.seed(seed)\n",
    "a function's that seeds nothing": "def f(seed=4):\n    return seed + 1\n",
    "a length of seeds": "set_seed_length(5)\nmake_seeds(4)\n",
}


def plan_of(script: str, folder: Path) -> Plan:
    (folder / "train.py").write_text("import argparse\n" + script + REST)
    (folder / "space.toml").write_text("[parameters]\nLR = [1.0, 2.0]\n")
    given = {"workload": str(folder), "search_space": str(folder / "space.toml"), "runs": folder / "runs"}
    return make_plan(load_settings("cpu", "s", given, {}))


@pytest.mark.parametrize("script", FOUND.values(), ids=FOUND)
def test_the_seed_is_found_where_it_stands_and_another_one_arrives(script: str, tmp_path: Path) -> None:
    plan = plan_of(script, tmp_path)
    name, own = plan.seed()
    assert own == 42
    job = plan.workload.prepare(Suggestion(0, {"LR": 1.0, name: 7}), {}, {}, Limits())
    text = job.files["train.py"]
    assert (
        ("7" in text and "42" not in text)
        or job.command[-2:] == ("--random-state", "7")
        or "--random-state=7" in job.command
    )


@pytest.mark.parametrize("script", NONE.values(), ids=NONE)
def test_what_is_no_seed_of_the_training_is_left(script: str, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no seed"):
        plan_of(script, tmp_path).seed()


def test_the_seed_of_a_module_that_the_script_runs_is_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import torch\ntorch.manual_seed(42)\n")
    (tmp_path / "fit.py").write_text("import torch\ndef fit():\n    torch.manual_seed(42)\n")
    (tmp_path / "other.py").write_text("import torch\ntorch.manual_seed(1)\n")  # which nothing imports
    plan = plan_of("import torch\nfrom fit import fit\nimport model\n", tmp_path)
    assert plan.seed() == ("manual_seed", 42)
    files = plan.workload.prepare(Suggestion(0, {"LR": 1.0, "manual_seed": 7}), {}, {}, Limits()).files
    assert "manual_seed(7)" in files["model.py"]
    assert "manual_seed(7)" in files["fit.py"]
    assert "manual_seed(1)" in files["other.py"]
    (tmp_path / "fit.py").write_text("import torch\ntorch.manual_seed(2)\n")
    with pytest.raises(WorkloadError, match="no seed"):
        plan_of("import torch\nfrom fit import fit\nimport model\n", tmp_path).seed()
