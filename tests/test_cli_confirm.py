"""Winners confirmed as a user does it: real processes, killed and gone on with, and what the terminal says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from optimize.confirm.table import verdict_line
from optimize.study.stored import find_study
from storage import StudyPaths, TrialRecord
from tests.conftest import SCRIPT, Driver
from tests.forked import Forked
from tests.test_cli import environment, flags, optimize, run, slow_down
from tests.zoo import eventually, living

pytestmark = pytest.mark.slow  # real processes
# As the others from outside, with a seed that moves the value a little.
NOISY = SCRIPT.replace("import sys\n", "import random\nimport sys\nSEED = 42\n").replace(
    "+ PAIR[0] / 100\n", "+ PAIR[0] / 100 + random.Random(f'{SEED} {X} {Y} {PAIR}').gauss(0, 0.002)\n"
)


@pytest.fixture
def noisy(driver: Driver) -> Driver:
    assert "gauss" in NOISY
    (driver.folder / "workload" / "train.py").write_text(NOISY)
    return driver


def replicates(driver: Driver) -> list[TrialRecord]:
    with driver.database() as database:
        if database.find_study("s/confirm") is None:
            return []
        return find_study(database, "s/confirm", driver.settings.runs).records()


def complete(driver: Driver) -> list[TrialRecord]:
    return [record for record in replicates(driver) if record.state == "COMPLETE"]


def confirm(driver: Driver, *words: str) -> subprocess.CompletedProcess[str]:
    return optimize(driver, "confirm", *which(driver), *words)


def which(driver: Driver) -> list[str]:
    """The flags that say which study it is: a sampler is none of them."""
    words = flags(driver)
    at = words.index("--sampler")
    return words[:at] + words[at + 2 :]


def test_a_study_that_reaches_its_end_is_confirmed_by_itself(noisy: Driver) -> None:
    ended = run(noisy, "--trials", "10", "--no-pruning", "--confirm", "3")
    assert ended.returncode == 0, ended.stderr
    assert "the baseline, seed 43" in ended.stderr
    assert "confirmed: trial" in ended.stdout
    assert "noise floor" in ended.stdout
    assert "be sure:" not in ended.stdout
    summary = tomllib.loads((noisy.paths.best / "summary.toml").read_text())
    assert summary["confirmed"] is True
    alone = subprocess.run(
        [sys.executable, "train.py"], cwd=noisy.paths.best, capture_output=True, text=True, timeout=60
    )
    assert f"val_bpb:          {summary['val_bpb']:.6f}" in alone.stdout
    status = optimize(noisy, "status")
    assert "confirmed: trial" in status.stdout
    assert "s/confirm" not in status.stdout
    page = optimize(noisy, "show", "1", "--study", "s/confirm").stdout
    assert "replicate of: trial" in page
    assert "SEED = 43" in page


def test_a_driver_killed_in_the_middle_loses_no_replicate_and_repeats_none(noisy: Driver) -> None:
    slow_down(noisy, 0.1)
    assert run(noisy, "--trials", "6", "--no-pruning").returncode == 0
    words, nowhere = ["confirm", *which(noisy), "--seeds", "4"], subprocess.DEVNULL
    process = Forked(words, cwd=noisy.folder, env=environment(noisy), stderr=nowhere, stdout=nowhere)
    assert eventually(lambda: len(complete(noisy)) >= 3, within_s=120)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    before = {record.number: record.params for record in complete(noisy)}
    ended = confirm(noisy, "--seeds", "4")
    assert ended.returncode == 0, ended.stderr
    after = complete(noisy)
    assert before.items() <= {record.number: record.params for record in after}.items()
    assert len(after) == len({tuple(sorted(record.params.items())) for record in after})
    assert {record.state for record in replicates(noisy)} <= {"COMPLETE", "FAIL"}
    assert "confirmed: trial" in ended.stdout


def test_a_study_that_is_stopped_is_not_confirmed(noisy: Driver) -> None:
    slow_down(noisy, 0.3)
    words = ["run", "--trust", *flags(noisy), "--trials", "500", "--confirm", "2"]
    process = Forked(words, cwd=noisy.folder, env=environment(noisy), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert eventually(lambda: (noisy.paths.root / "optuna.db").exists() and _stops(noisy), within_s=120)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "--confirm: left out" in errors
    assert replicates(noisy) == []


def _stops(driver: Driver) -> bool:
    return optimize(driver, "stop", "--now").returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "1"], "--seeds: 1 is too few. Give 2 to 20"),
        (["--finalists", "0"], "--finalists: 0 is too few. Give 1 to 10"),
        (
            ["--finalists", "11"],
            "--finalists: 11 is too many. Give 1 to 10",
        ),
        (["--scale", "1"], "--scale: 1 is too few. Give 2 to 10"),
        (["--slots", "-1"], "--slots"),
        ([], "there is no such study"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(noisy: Driver, words: list[str], says: str) -> None:
    assert run(noisy, "--trials", "1", "--study", "another").returncode == 0
    ended = confirm(noisy, *words)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert says in ended.stderr


def test_confirming_is_hinted_where_it_can_work_alone(noisy: Driver) -> None:
    ended = run(noisy, "--trials", "4")
    assert "candidate: never trained with another seed" in ended.stdout
    assert "be sure:  optimize confirm --study s" in ended.stdout
    (noisy.folder / "workload" / "train.py").write_text(SCRIPT)
    ended = run(noisy, "--trials", "4", "--study", "t")
    assert "candidate: never trained with another seed" in ended.stdout
    assert "be sure:" not in ended.stdout


def test_a_script_without_a_seed_is_told_before_a_study_that_is_to_be_confirmed_begins(driver: Driver) -> None:
    ended = run(driver, "--trials", "2", "--confirm", "3")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "no seed" in ended.stderr
    assert not (driver.folder / "runs" / "s").exists()


def test_too_few_seeds_at_the_end_of_a_study_are_told_by_the_flag_that_was_given(noisy: Driver) -> None:
    ended = run(noisy, "--confirm", "1")
    assert ended.returncode == 2
    assert ended.stderr.startswith("--confirm: 1 is too few. Give 2 to 20")


def test_another_search_space_than_the_studys_is_told_before_anything_is_trained(noisy: Driver) -> None:
    script, space = noisy.folder / "workload" / "train.py", noisy.folder / "space.toml"
    script.write_text(NOISY.replace("SEED = 42\n", "SEED = 42\nEXTRA = 1\n"))
    assert run(noisy, "--trials", "2").returncode == 0
    space.write_text(space.read_text().replace("[parameters]", "[parameters]\nEXTRA = [1, 2]"))
    ended = confirm(noisy)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "its values would not be comparable" in ended.stderr


def test_make_confirm_is_the_command() -> None:
    words = [
        "make",
        "-n",
        "-C",
        str(Path(__file__).parents[1]),
        "confirm",
        "STUDY=s",
        "SEEDS=5",
        "FINALISTS=2",
        "SCALE=2",
        *("TRIALS=9", "SEED=1", "SAMPLER=tpe", "FROM=x", "ADVISOR=m", "ADVISOR_SHARE=1", "NO_STARTS=1", "NO_PRUNING=1"),
    ]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ).stdout
    # Variables that mean nothing there, such as those of `make optimize` a line above, are left aside.
    assert "optimize confirm --study 's' --finalists '2' --seeds '5' --scale '2'" in " ".join(shown.split())


def test_a_search_killed_in_the_middle_of_a_repeat_goes_on_and_ends_with_a_verdict(noisy: Driver) -> None:
    gate, script = noisy.folder / "gate", noisy.folder / "workload" / "train.py"
    gate.touch()  # repeats wait in front of it, so that the driver dies in the middle of one
    waits = f"import os, time\nwhile SEED != 42 and os.path.exists({str(gate)!r}):\n    time.sleep(0.02)\n"
    script.write_text(NOISY.replace("for step in", f"{waits}for step in"))
    words = ["run", "--trust", *flags(noisy), "--trials", "16", "--no-pruning", "--slots", "2"]
    nowhere = subprocess.DEVNULL
    process = Forked(words, cwd=noisy.folder, env=environment(noisy), stderr=nowhere, stdout=nowhere)
    assert eventually(noisy.paths.results_tsv.exists, within_s=120)  # by then there is a database to look into
    assert eventually(lambda: any(record.state == "RUNNING" for record in replicates(noisy)), within_s=120)
    assert "While it runs" in optimize(noisy, "status").stdout  # not that somebody confirms it
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert eventually(lambda: living(noisy.paths.root) == [], within_s=60)
    gate.unlink()
    ended = run(noisy, "--trials", "16", "--no-pruning", "--slots", "2")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"repeats: trial \d+ was left by an earlier driver: lost", ended.stderr)
    assert "12 trials and 4 repeats are done" in ended.stdout
    with noisy.database() as database:
        study = find_study(database, "s", noisy.settings.runs)
        told, verdict = [*study.records(), *replicates(noisy)], study.verdict()
    done = [tuple(sorted(record.params.items())) for record in told if record.state in ("COMPLETE", "PRUNED")]
    assert len(done) == len({*done, *done}) == 16
    assert {record.state for record in told} <= {"COMPLETE", "FAIL"}
    assert verdict is not None
    assert verdict.beside
    assert not [*noisy.paths.work.iterdir()]
    assert not [*StudyPaths(noisy.settings.runs, "s/confirm").work.iterdir()]
    status = optimize(noisy, "status").stdout
    assert verdict_line(verdict, study.metric)[:20] in status
