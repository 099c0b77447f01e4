"""What a script draws without a seed: said by init, by the refusal of a verdict, at the end of run and in run.sh."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from optimize.config.plan import make_plan
from optimize.errors import WorkloadError
from optimize.reporting.run_end import RunResult, end_report
from optimize.script.command import PYTHON, plain_script, shell_script
from optimize.script.seeding import DIFFERS, again_note, seed_note, unseeded
from optimize.trial import Job
from tests.conftest import SCRIPT, Driver
from tests.finished import record

DRAWS = "import torch\nimport numpy as np\nimport random\n"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("torch.manual_seed(7)\ni = np.random.randint(3)\n", ["np.random"]),
        ("torch.manual_seed(7)\ni = np.random.randint(3)\nrandom.shuffle([])\n", ["np.random", "random"]),
        ("np.random.seed(7)\n", ["torch"]),
        ("torch.manual_seed(7)\n# np.random.seed(7)\ni = np.random.randint(3)\n", ["np.random"]),
        ("torch.manual_seed(7)\ni = torch.random.initial_seed()\n", []),
        ("torch.manual_seed(7)\nnp.random.seed(7)\ni = np.random.randint(3)\n", []),
        ("torch.manual_seed(7)\nrng = np.random.default_rng(7)\ni = rng.integers(3)\n", []),
        ("m = SVC(random_state=7)\ni = np.random.randint(3)\n", ["np.random"]),
        ("m = SVC(random_state=7)\n", []),
        ("from lightning import seed_everything\nseed_everything(7)\ni = np.random.randint(3)\n", []),
        ("def seed_all(s):\n    torch.manual_seed(s)\nseed_all(7)\ni = np.random.randint(3)\n", ["np.random"]),
    ],
)
def test_a_generator_without_a_seed_is_named(text: str, missing: list[str]) -> None:
    files = {"train.py": DRAWS + text}
    assert unseeded(files) == missing
    assert bool(seed_note(files)) == bool(again_note(files)) == bool(missing)


def test_a_writer_of_logs_draws_nothing() -> None:
    text = "import random\nfrom torch.utils.tensorboard import SummaryWriter\n"
    assert seed_note({"train.py": text}) == seed_note({"train.py": f"{text}random.seed(7)\n"}) == ""


def test_the_line_that_mends_it_has_the_scripts_own_seed() -> None:
    note = seed_note({"train.py": DRAWS + "torch.manual_seed(1337)\ni = np.random.randint(3)\n"})
    assert "it draws from np.random, whose seed it does not set" in note
    assert "`np.random.seed(1337)`" in note


def test_no_verdict_says_what_is_true_of_a_script_that_sets_no_seed(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(f"import random\nx = random.random()\n{SCRIPT}")
    plan = make_plan(driver.settings)
    with pytest.raises(
        WorkloadError, match=rf"no seed: it sets no seed, so {DIFFERS}, and nothing .*`random\.seed\(42\)`"
    ):
        plan.seed()
    assert plan.again_note == f"the script sets no seed: {DIFFERS}"


def test_the_script_that_trains_the_best_again_says_that_its_value_differs() -> None:
    assert f"\n# the script sets no seed: {DIFFERS}\n" in plain_script(3, {"train.py": "import torch\n"})
    assert DIFFERS not in plain_script(3, {"train.py": "import torch\ntorch.manual_seed(7)\n"}, value=0.5)


def test_a_script_without_a_seed_that_is_trained_again_says_what_its_trial_had(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import random\nprint('loss:', random.random())\n")
    files = {"train.py": (tmp_path / "train.py").read_text()}
    for shell in (
        plain_script(3, files, value=0.5),
        shell_script(Job(3, {}, files, (PYTHON, "train.py", "x")), value=0.5),
    ):
        (tmp_path / "run.sh").write_text(shell)
        ended = subprocess.run(["sh", "run.sh"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert ended.stderr == f"run.sh: trial 3 had 0.500000, but the script sets no seed: {DIFFERS}\n"
        assert ended.stdout.startswith("loss: 0.")


@pytest.mark.parametrize(("best", "no_verdict"), [(0, DIFFERS), (1, DIFFERS), (1, "no verdict yet")])
def test_the_end_of_a_study_says_once_that_the_value_of_its_best_differs(
    driver: Driver, best: int, no_verdict: str
) -> None:
    (driver.folder / "workload" / "train.py").write_text(f"import torch\n{SCRIPT}")
    records = [
        record(number, kind=kind, value=0.5 if number == best else 1.0)
        for number, kind in enumerate(("baseline", "sampler"))
    ]
    page = Console(file=io.StringIO(), width=200)
    page.print(end_report(driver.plan, RunResult("done", records, no_verdict=no_verdict)), crop=False)
    assert str(page.file.getvalue()).count(DIFFERS) == 1  # type: ignore[attr-defined]


def test_the_seed_of_a_split_is_none_of_the_training() -> None:
    split = "x = train_test_split(x, f(y), random_state=33)\n"
    assert "sets no seed" in seed_note({"train.py": DRAWS + split})
    assert "sets no seed" not in seed_note({"train.py": DRAWS + split + "m = SVC(random_state=33)\n"})


def test_a_long_text_within_a_file_takes_no_longer_than_its_length() -> None:
    text = f"DATA = '{'a' * 300_000}'\n" + DRAWS + "torch.manual_seed(7)\n"  # minutes, where each letter begins anew
    assert seed_note({"train.py": text}) == ""
