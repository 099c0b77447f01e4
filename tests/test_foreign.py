"""Other people's scripts by the same path as ours: the examples that we ship, and replicas of scripts that we do not."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.errors import SettingsError
from optimize.runner.process import run_job
from optimize.trial import Job, Limits, Metric, Progress, ProgressFormat, Slot, Suggestion, TrialStatus
from storage import TrialRecord, open_database, read_records
from tests.forked import run_forked
from tests.zoo import PATIENT, zoo_job

ROOT = Path(__file__).parent.parent
EXAMPLES, REPLICAS = ROOT / "examples", Path(__file__).parent / "replicas"
MAIN = Slot("a")


def optimize(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "XDG_CONFIG_HOME": str(folder / "config")}
    return run_forked(words, cwd=folder, env=env, timeout=600)


def study(folder: Path, workload: Path, space: Path, profile: str, trials: int) -> list[TrialRecord]:
    flags = ("--workload", str(workload), "--space", str(space), "--profile", profile, "--trials", str(trials))
    done = optimize(folder, "run", "--trust", "--study", "s", "--slots", "1", *flags)
    assert done.returncode == 0, done.stderr
    with closing(open_database(folder / "runs" / "optuna.db")) as database:
        study_id = database.find_study("s")
        assert study_id is not None
        return read_records(database, study_id)


def whole(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def script_job(text: str, metric: Metric, limits: Limits = PATIENT, form: ProgressFormat | None = None) -> Job:
    return replace(
        zoo_job("ok", limits=limits), files={"train.py": text}, metric=metric, progress=form or ProgressFormat()
    )


# --- the ten lines ----------------------------------------------------------------------------------------------------


def plan_of(workload: Path, space: Path, profile: str = "cpu"):  # type: ignore[no-untyped-def]
    return make_plan(
        load_settings(profile, "a test", {"workload": str(workload), "search_space": str(space)}, {**os.environ})
    )


def test_a_script_that_is_not_autoresearchs_keeps_its_own_constants() -> None:
    plan = plan_of(EXAMPLES / "ten_lines", EXAMPLES / "ten_lines" / "space.toml")
    assert plan.baseline == {"ORDER": 2, "PRIOR": 4.0, "GROWTH": 1.0}
    assert plan.settings.constants == {}
    assert plan.notes == ()


def test_what_a_script_names_and_a_trial_would_not_find_is_said_before_any_trial(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("LR = 1.0\nopen('input.txt'), open('no.txt')\nprint(f'val loss {LR:.4f}')\n")
    (tmp_path / "input.txt").write_text("text")
    (tmp_path / "space.toml").write_text("[parameters]\nLR = [1.0, 2.0]\n")
    files, metric = plan_of(tmp_path, tmp_path / "space.toml").notes[-2:]
    assert files.startswith("files: the scripts name input.txt, which a trial would not find")
    assert metric.startswith("metric: no val_bpb in the scripts")
    (tmp_path / "workload.toml").write_text(
        "files = ['*.py', 'input.txt']\nmetric = { name = 'val_loss', regex = 'val loss ([0-9.]+)' }\n"
    )
    assert not any(line.startswith(("files", "metric")) for line in plan_of(tmp_path, tmp_path / "space.toml").notes)


def test_a_script_that_shares_one_name_with_a_profile_is_not_changed_by_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("DEPTH = 7\nprint('val_bpb:', DEPTH)\n")
    (tmp_path / "space.toml").write_text("[parameters]\nDEPTH = [7, 8]\n")
    assert plan_of(tmp_path, tmp_path / "space.toml").constants == {"DEPTH": 7}


def test_a_profile_of_ones_own_is_taken_at_its_word(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("DEPTH = 7\nprint('val_bpb:', DEPTH)\n")
    (tmp_path / "space.toml").write_text("[parameters]\nDEPTH = [7, 8]\n")
    (tmp_path / "mine.toml").write_text("[constants]\nDEEP = 8\n")
    with pytest.raises(SettingsError, match="DEEP: the script has no such constant"):
        plan_of(tmp_path, tmp_path / "space.toml", str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("text", ["print('val_bpb: 1.0')\n", "def main():\n    RATE = 1\nmain()\n"])
def test_a_script_without_constants_is_refused_before_any_trial(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(text)
    (tmp_path / "space.toml").write_text("[parameters]\nRATE = [1, 2]\n")
    with pytest.raises(SettingsError) as caught:
        plan_of(tmp_path, tmp_path / "space.toml")
    (line,) = caught.value.problems
    assert "RATE" in line


def test_a_program_that_is_not_installed_is_seen_before_any_trial(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("RATE = 1\nprint('val_bpb:', RATE)\n")
    (tmp_path / "space.toml").write_text("[parameters]\nRATE = [1, 2]\n")
    (tmp_path / "workload.toml").write_text('command = ["uvw", "run", "train.py"]\n')
    with pytest.raises(SettingsError, match="there is no program uvw on this machine"):
        plan_of(tmp_path, tmp_path / "space.toml")


def test_a_total_that_nobody_knows_is_seen_before_any_trial(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("RATE = 1\nprint('val_bpb:', RATE)\n")
    (tmp_path / "space.toml").write_text("[parameters]\nRATE = [1, 2]\n")
    (tmp_path / "workload.toml").write_text("progress = { regex = 'it (?P<step>.)', total = 'max_iters' }\n")
    with pytest.raises(SettingsError, match="total: max_iters is neither a parameter nor a constant"):
        plan_of(tmp_path, tmp_path / "space.toml")


@pytest.mark.slow
def test_the_ten_lines_are_tuned_and_the_best_of_them_runs_alone(tmp_path: Path) -> None:
    folder = EXAMPLES / "ten_lines"
    before = whole(folder)
    records = study(tmp_path, folder, folder / "space.toml", "cpu", 4)
    assert [record.status for record in records] == ["complete"] * 4
    assert len({record.value for record in records}) == 4
    best = tmp_path / "runs" / "s" / "best"
    again = subprocess.run([sys.executable, "train.py"], cwd=best, capture_output=True, text=True, check=True)
    lowest = min(record.value for record in records if record.value is not None)
    assert again.stdout == f"val_bpb: {lowest:.6f}\n"
    assert whole(folder) == before
    again = subprocess.run(["sh", str(best / "run.sh")], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == f"val_bpb: {lowest:.6f}\n"


# --- nanoGPT ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def nanogpt(tmp_path: Path) -> Path:
    """The replica, with the workload.toml that we ship for the real one."""
    folder = tmp_path / "nanoGPT"
    shutil.copytree(REPLICAS / "nanogpt", folder)
    for name in ("workload.toml", "space.toml"):
        shutil.copy(EXAMPLES / "nanogpt" / name, folder)
    data = folder / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 65}))
    return folder


def test_nanogpts_config_file_is_what_is_in_force(nanogpt: Path) -> None:
    plan = plan_of(nanogpt, nanogpt / "space.toml")
    assert plan.baseline["learning_rate"] == 1e-3
    assert plan.baseline["weight_decay"] == 0.1
    job = plan.workload.prepare(
        Suggestion(0, {**plan.baseline, "learning_rate": 2e-3, "weight_decay": 0.3}), {}, {}, Limits()
    )
    assert "learning_rate = 0.002" in job.files["config/train_shakespeare_char.py"]
    assert "learning_rate = 6e-4" in job.files["train.py"]
    assert "weight_decay = 0.3" in job.files["train.py"]
    assert job.progress.total == 300.0


@pytest.mark.slow
def test_nanogpt_is_tuned_by_its_lowest_val_loss_and_its_data_stays_as_it_is(nanogpt: Path, tmp_path: Path) -> None:
    before = whole(nanogpt)
    records = study(tmp_path, nanogpt, nanogpt / "space.toml", "cpu", 3)
    assert [record.status for record in records] == ["complete"] * 3
    assert records[0].value == pytest.approx(
        1.5 + 2 * 0.0667**2 + 0.048 + 0.1, abs=1e-3
    )  # at step 200 of 300, not at the end
    assert len(records[0].curve) > 5
    assert whole(nanogpt) == before
    best = tmp_path / "runs" / "s" / "best"
    env = {**os.environ, "PYTHON": sys.executable}
    again = subprocess.run(["sh", "run.sh"], cwd=best, env=env, capture_output=True, text=True, check=True)
    values = [float(line.split()[-1]) for line in again.stdout.splitlines() if "val loss" in line]
    assert min(values) == min(record.value for record in records if record.value is not None)
    assert whole(nanogpt) == before
    assert "sh run.sh" in optimize(tmp_path, "show", "0", "--study", "s").stdout
    assert "\tval_loss\t" in (tmp_path / "runs" / "s" / "results.tsv").read_text().splitlines()[0]


def test_a_config_that_is_not_there_any_more_is_one_line(nanogpt: Path) -> None:
    (nanogpt / "config" / "train_shakespeare_char.py").unlink()
    with pytest.raises(SettingsError, match=r"overrides: config/train_shakespeare_char\.py is not among"):
        plan_of(nanogpt, nanogpt / "space.toml")


def test_data_that_was_never_made_is_one_line(nanogpt: Path) -> None:
    shutil.rmtree(nanogpt / "data")
    with pytest.raises(SettingsError, match="links: data/shakespeare_char: there is no folder"):
        plan_of(nanogpt, nanogpt / "space.toml")


# --- forks of autoresearch --------------------------------------------------------------------------------------------

FORKS = {
    "macos": "MATRIX_LR = [0.02, 0.04, 0.06]\nDEPTH = [2, 4]",
    "rtx": "MATRIX_LR = [0.02, 0.04, 0.9]\nDEPTH = [6, 8, 12]",
}


@pytest.mark.slow
@pytest.mark.parametrize("fork", FORKS)
def test_a_fork_needs_no_settings_of_its_own(fork: str, tmp_path: Path) -> None:
    before = whole(REPLICAS / fork)
    (tmp_path / "space.toml").write_text(f"[parameters]\n{FORKS[fork]}\n")
    (tmp_path / "mine.toml").write_text("[slots]\ndevice = 'cpu'\n")
    records = study(tmp_path, REPLICAS / fork, tmp_path / "space.toml", "./mine.toml", 6)
    assert records[0].status == "complete"
    assert len(records[0].curve) > 5
    assert {record.status for record in records} <= {"complete", "out_of_memory", "diverged"}
    assert whole(REPLICAS / fork) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "status"),
    [(("DEPTH = 8", "DEPTH = 12"), TrialStatus.OUT_OF_MEMORY), (("0.04", "0.9"), TrialStatus.DIVERGED)],
)
def test_what_the_rtx_fork_says_of_its_end_is_understood(
    change: tuple[str, str], status: TrialStatus, tmp_path: Path
) -> None:
    files = {name: (REPLICAS / "rtx" / name).read_text() for name in ("train.py", "prepare.py")}
    files["train.py"] = files["train.py"].replace(*change, 1)
    outcome = run_job(replace(zoo_job("ok", limits=PATIENT), files=files), tmp_path / "work", MAIN)
    assert outcome.status is status, outcome.reason


# --- what a running script says ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_lowest_of_many_values_is_known_though_the_log_has_lost_it(tmp_path: Path) -> None:
    text = (
        "for i in range(60_000):\n"
        "    print(f'step {i}: train loss 2.0000, val loss {1.25 if i == 30_000 else 2 + i / 1e5:.4f}')\n"
    )
    metric = Metric("val_loss", regex=r"val loss ([0-9.]+)", take="min")
    job = script_job(text, metric, replace(PATIENT, log_mb=0.25))
    outcome = run_job(job, tmp_path / "work", MAIN)
    assert outcome.status is TrialStatus.COMPLETE, outcome.reason
    assert outcome.summary["val_loss"] == 1.25
    assert "1.2500" not in outcome.log


@pytest.mark.slow
def test_a_value_without_an_end_of_line_counts_when_the_script_ended_by_itself(tmp_path: Path) -> None:
    metric = Metric("acc", "maximize", r"acc=([0-9.]+)")
    outcome = run_job(script_job("print('acc=0.5')\nprint('acc=0.75', end='')\n", metric), tmp_path / "work", MAIN)
    assert outcome.summary == {"acc": 0.75}


@pytest.mark.slow
def test_progress_in_other_words_is_shown_and_drawn(tmp_path: Path) -> None:
    seen: list[Progress] = []
    text = "for i in range(11):\n    print(f'iter {i}: loss {3 - i / 10:.4f}, time 21.33ms')\nprint('val_bpb: 1.0')\n"
    form = ProgressFormat(r"iter (?P<step>\d+): loss (?P<loss>\S+),", 10.0)
    outcome = run_job(script_job(text, Metric(), form=form), tmp_path / "work", MAIN, on_progress=seen.append)
    assert outcome.curve == tuple((i / 10, round(3 - i / 10, 4)) for i in range(11))
    assert [progress.step for progress in seen] == list(range(11))


@pytest.mark.slow
def test_who_tells_nothing_until_the_end_is_not_silent(tmp_path: Path) -> None:
    text, limits = "import time\ntime.sleep(2)\nprint('val_bpb: 1.0')\n", replace(PATIENT, startup_s=0.5, grace_s=0.5)
    silent = run_job(script_job(text, Metric(), limits), tmp_path / "a", MAIN)
    assert silent.status is TrialStatus.SILENT
    assert silent.reason == (
        "no progress line within limits.startup_s = 0.5. Raise `[limits] startup_s` in workload.toml, or write `progress = false` "
        "there if it prints none"
    )
    told = run_job(script_job(text, Metric(), limits, ProgressFormat(none=True)), tmp_path / "b", MAIN)
    assert told.status is TrialStatus.COMPLETE
