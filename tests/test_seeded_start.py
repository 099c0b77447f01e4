"""A script that sets no seed gets a start that seeds: what init drafts, and that the script runs as it does alone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.config.plan import Plan
from optimize.runner.process import run_job
from optimize.script.begin import ScriptPlace, read_script
from optimize.script.command import shell_script
from optimize.script.parsers import parser_facts
from optimize.script.seeded_start import generators_of, start_text
from optimize.script.word_order import rest_start
from optimize.trial import Slot, Suggestion
from tests.test_draft_space import planned
from tests.test_init import folder_with

DRAWS = "import random\nLR = 0.1\nprint('loss:', LR + random.random())\n"
SLOT = Slot("cpu:0")
TELLS = """\
import os, pickle, random, sys
from multiprocessing import get_context
class Net:
    pass
def cube(x):
    return x ** 3
print(__name__, __file__, sys.argv, sys.path[0], __spec__, __package__, __doc__)
if __name__ == "__main__":
    main = sys.modules["__main__"]
    print(type(__builtins__), sorted(name for name in vars(main) if name not in ("__cached__", "__annotations__")))
    print(main.Net is Net, type(pickle.loads(pickle.dumps(Net()))) is Net)
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(cube, [3]))
    if sys.argv[-1] == "raise":
        raise ValueError("x")
    sys.exit(3)
"""


def started(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def start_of(folder: Path, script: str) -> str:
    facts = read_script(ScriptPlace(folder, script), [])
    return start_text(facts, ["random"])


@pytest.mark.parametrize("words", [["main.py"], ["main.py", "raise"], ["src/main.py", "--lr", "1"]])
def test_a_script_runs_as_it_does_alone(tmp_path: Path, words: list[str]) -> None:
    folder_with(tmp_path, {words[0]: TELLS, "seeded.py": ""})
    (tmp_path / "seeded.py").write_text(start_of(tmp_path, words[0]))
    alone, seeded = started(tmp_path, *words), started(tmp_path, "seeded.py", *words)
    assert alone.stdout.count("\n") > 4  # what the spawned process prints, too
    assert (seeded.stdout, seeded.returncode) == (alone.stdout, alone.returncode)
    assert seeded.stderr.splitlines()[-3:] == alone.stderr.splitlines()[-3:]


def test_a_module_runs_as_it_does_alone(tmp_path: Path) -> None:
    text = "import sys\nfrom . import other\nprint(__name__, __file__, __package__, sys.argv, sys.path[0], __spec__.name)\n"
    files = {"pkg/__init__.py": "", "pkg/other.py": "X = 1\n", "pkg/train.py": f"{text}{DRAWS}"}
    folder_with(tmp_path, files)
    assert run(["init", str(tmp_path / "pkg/train.py")]) == 0
    command = 'command = ["{python}", "seeded.py", "-m", "pkg.train"]'
    assert command in (tmp_path / "workload.toml").read_text().replace(sys.executable, "{python}")
    alone, seeded = (
        started(tmp_path, "-m", "pkg.train", "--a"),
        started(tmp_path, "seeded.py", "-m", "pkg.train", "--a"),
    )
    assert seeded.stdout.splitlines()[0] == alone.stdout.splitlines()[0]
    assert seeded.stdout == started(tmp_path, "seeded.py", "-m", "pkg.train", "--a").stdout != alone.stdout


@pytest.mark.skipif(importlib.util.find_spec("hydra") is None, reason="needs hydra")
def test_hydra_finds_its_configuration(tmp_path: Path) -> None:
    text = (
        "import random, hydra\n@hydra.main(version_base=None, config_path='conf', config_name='c')\ndef main(cfg):\n"
        "    print('loss:', cfg.lr, random.random())\nif __name__ == '__main__':\n    main()\n"
    )
    folder_with(tmp_path, {"src/main.py": text, "src/conf/c.yaml": "lr: 0.5\n"})
    (tmp_path / "seeded.py").write_text(start_of(tmp_path, "src/main.py"))
    done = [started(tmp_path, "seeded.py", "src/main.py", "lr=0.25") for _ in range(2)]
    assert done[0].stdout.startswith("loss: 0.25")
    assert done[0].stdout == done[1].stdout


@pytest.mark.parametrize(
    ("text", "seeded"),
    [
        (DRAWS, ["random"]),
        ("import numpy as np\nx = np.random.rand(3)\n", ["random", "numpy"]),
        ("import torch\nfrom sklearn.datasets import load_iris\n", ["random", "numpy", "torch"]),
        ("import tensorflow as tf\n", ["random", "tensorflow"]),
        ("import tensorflow as tf\nimport keras\n", ["random", "keras"]),
        ("import tensorflow as tf\nx = tf.placeholder(tf.float32)\n", []),
        ("import os\nos.environ['WANDB_MODE'] = 'offline'\nimport torch\n", ["random", "torch"]),
        ("import os\nif os.environ['A'] == 'b': pass\nimport torch\n", ["random", "torch"]),
        ("import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport torch\n", []),
        ("import os\nos.environ.setdefault('KERAS_BACKEND', 'torch')\nimport keras\n", []),
        ("import torch\nimport gymnasium as gym\n", []),
        ("import numpy as np\nrng = np.random.default_rng()\n", []),
        ("import torch, torch.multiprocessing as mp\nmp.spawn(f, nprocs=2)\n", []),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\n", []),
        ("import torch\ntorch.manual_seed(3)\n", []),
        ("import torch\nimport numpy as np\ntorch.manual_seed(3)\nx = np.random.rand()\n", ["numpy"]),
        ("import torch\nimport numpy as np\nSEED = 3\ntorch.manual_seed(SEED)\nx = np.random.rand()\n", []),
        ("print('loss: 3')\n", []),
    ],
)
def test_what_is_seeded_is_what_the_script_draws_from(tmp_path: Path, text: str, seeded: list[str]) -> None:
    folder_with(tmp_path, {"main.py": text})
    assert generators_of(read_script(ScriptPlace(tmp_path, "main.py"), [])) == seeded


def test_init_says_that_it_seeds_and_writes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_with(tmp_path, {"main.py": DRAWS})
    monkeypatch.chdir(tmp_path)

    def said(*words: str) -> str:
        for path in tmp_path.glob("*.toml"):
            path.unlink()
        assert run(["init", "main.py", *words]) == 0
        return next(line for line in capsys.readouterr().err.splitlines() if "it sets no seed" in line)

    assert "--no-seed" not in said("--no-seed")
    assert "seed =" not in Path("workload.toml").read_text()
    assert not Path("seeded.py").exists()
    line = "it sets no seed: seeded.py starts it, and seeds random. --no-seed leaves that out"
    assert said() == f"note: {line}"
    assert f"# {line}\n" in Path("workload.toml").read_text()
    text = Path("seeded.py").read_text()
    assert said() == f"note: {line}"  # the same file is used again
    Path("seeded.py").write_text(f"{text}# mine\n")
    assert "--no-seed" not in said()
    assert "seeded.py" not in Path("workload.toml").read_text()
    assert Path("seeded.py").read_text() == f"{text}# mine\n"
    Path("workload.toml").unlink()
    Path("space.toml").unlink()
    assert run(["init", "."]) == 0  # it is no second script that could be trained


def test_a_copy_in_another_folder_has_the_start(tmp_path: Path) -> None:
    folder_with(tmp_path / "mine", {"main.py": DRAWS})
    assert run(["init", str(tmp_path / "mine" / "main.py"), "--to", str(tmp_path / "tuned")]) == 0
    assert (tmp_path / "tuned" / "seeded.py").is_file()
    assert not (tmp_path / "mine" / "seeded.py").exists()


def value_of_seed(plan: Plan, folder: Path, seed: int) -> object:
    job = plan.job(Suggestion(0, {**plan.baseline, "START_SEED": seed}))
    return run_job(job, folder / str(seed), SLOT).summary["loss"]


def test_the_same_seed_gives_the_same_value_and_another_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"a.py": "START = SEED = 7\n", "seen.py": "import main\nSEED = 3\n"}  # which nothing runs
    monkeypatch.chdir(folder_with(tmp_path, {"main.py": DRAWS, **others}))
    assert run(["init", "main.py"]) == 0
    plan = planned(".", tmp_path / "space.toml", tmp_path)
    assert (plan.seed(), plan.again_note) == (("START_SEED", 42), "")
    first, second, other = (value_of_seed(plan, tmp_path / f"t{n}", seed) for n, seed in enumerate((42, 42, 43)))
    assert first == second != other
    job = plan.job(Suggestion(0, plan.baseline))
    script = shell_script(job)
    assert "sets no seed" not in script
    folder_with(tmp_path / "best", {**job.files, "run.sh": script})
    again = subprocess.run(["sh", "run.sh"], cwd=tmp_path / "best", capture_output=True, text=True, check=True)
    assert again.stdout == f"loss: {first}\n"


def test_a_generator_that_a_script_forgets_has_the_seed_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"import numpy as np\nnp.random.seed(7)\nx = np.random.rand()\n{DRAWS}"
    monkeypatch.chdir(folder_with(tmp_path, {"main.py": text}))
    assert run(["init", "main.py"]) == 0
    assert "it does not seed all that it draws from: seeded.py starts it, and seeds random." in capsys.readouterr().err
    assert "random.seed(7)" in Path("seeded.py").read_text()
    plan = planned(".", tmp_path / "space.toml", tmp_path)
    assert (plan.seed(), plan.again_note) == (("manual_seed", 7), "")
    files = plan.workload.render({"manual_seed": 8})
    assert ("np.random.seed(8)" in files["main.py"], " random.seed(8)" in files["seeded.py"]) == (True, True)


def test_words_that_are_taken_whole_stand_behind_the_script() -> None:
    files = {
        "main.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('opts', nargs=argparse.REMAINDER)\n"
    }
    files |= {"seeded.py": ""}
    facts = parser_facts(files)
    for command in (("{python}", "main.py", "A", "1"), ("{python}", "seeded.py", "main.py", "A", "1")):
        assert rest_start(command, facts, files) == command.index("A")


@pytest.mark.slow
def test_a_script_on_torch_gives_its_value_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import torch\nimport numpy as np\nLR = 0.1\nprint('loss:', LR + torch.rand(()).item() + np.random.rand())\n"
    monkeypatch.chdir(folder_with(tmp_path, {"main.py": text}))
    assert run(["init", "main.py", "--python", sys.executable]) == 0
    plan = planned(".", tmp_path / "space.toml", tmp_path)
    first, second, other = (value_of_seed(plan, tmp_path / f"t{n}", seed) for n, seed in enumerate((42, 42, 43)))
    assert first == second != other
