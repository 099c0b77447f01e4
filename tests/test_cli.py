"""The commands, as a user types them: real processes, what they print, how they exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Driver
from tests.forked import Forked, run_forked

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


def environment(driver: Driver) -> dict[str, str]:
    config = str(driver.folder / "config")
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "XDG_CONFIG_HOME": config}


def optimize(driver: Driver, *words: str) -> subprocess.CompletedProcess[str]:
    return run_forked(words, cwd=driver.folder, env=environment(driver))


def run(driver: Driver, *words: str) -> subprocess.CompletedProcess[str]:
    return optimize(driver, "run", "--trust", *flags(driver), *words)


def flags(driver: Driver) -> list[str]:
    return [
        "--profile",
        "./profile.toml",
        "--workload",
        "./workload",
        "--space",
        "./space.toml",
        "--sampler",
        "random",
        "--study",
        "s",
    ]


def slow_down(driver: Driver, seconds: float) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(
        train.read_text().replace(
            "for step in range(4):",
            f"import time\nfor step in range(4):\n    time.sleep({seconds})\n    sys.stdout.flush()",
        )
    )


def test_a_study_runs_resumes_and_leaves_a_best_that_runs_alone(driver: Driver) -> None:
    first = run(driver, "--trials", "5")
    assert first.returncode == 0, first.stderr
    assert "5 trials are done" in first.stdout
    assert f"\nresults: {driver.folder / 'runs' / 's'}\n" in first.stderr
    again = run(driver, "--trials", "8")
    assert "goes on after 5 trials, best val_bpb" in again.stderr
    assert "8 trials are done" in again.stdout
    assert "results: " not in again.stderr
    best = driver.folder / "runs" / "s" / "best"
    alone = subprocess.run([sys.executable, "train.py"], cwd=best, capture_output=True, text=True, timeout=60)
    value = next(line.split()[1] for line in alone.stdout.splitlines() if line.startswith("val_bpb:"))
    assert f"best val_bpb {value}" in again.stdout
    line = next(line for line in again.stdout.splitlines() if line.startswith("  runnable: "))
    assert line.removeprefix("  runnable: ") == "sh runs/s/best/run.sh"
    assert {p.name for p in best.iterdir()} == {"train.py", "run.sh", "train.patch", "params.toml", "summary.toml"}
    results = (driver.folder / "runs" / "s" / "results.tsv").read_text().splitlines()
    assert results[0] == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    assert len(results) == 9


def test_status_show_and_export_tell_of_a_study(driver: Driver) -> None:
    run(driver, "--trials", "3")
    assert "best" in optimize(driver, "status").stdout
    page = optimize(driver, "show", "1").stdout
    assert "--- a/train.py" in page
    assert "val_bpb" in page
    exported = optimize(driver, "export", "--trial", "1", "--to", "trial-1")
    assert exported.returncode == 0, exported.stderr
    assert (driver.folder / "trial-1" / "train.py").exists()
    assert optimize(driver, "export", "--trial", "1", "--to", "trial-1").returncode == 2


def test_clean_removes_a_study_and_nothing_else(driver: Driver) -> None:
    run(driver, "--trials", "2")
    run(driver, "--trials", "2", "--study", "other")
    assert optimize(driver, "clean", "--study", "s", "--yes").returncode == 0
    assert not (driver.folder / "runs" / "s").exists()
    assert (driver.folder / "runs" / "other" / "results.tsv").exists()
    assert optimize(driver, "show", "1", "--study", "other").returncode == 0


def test_mistakes_are_lines_and_exit_code_2(driver: Driver) -> None:
    (driver.folder / "space.toml").write_text("[parameters]\nZ = [1, 2]\nX = [1, 2]\n")
    ended = run(driver)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 2
    assert not (driver.folder / "runs" / "s").exists()


@pytest.mark.parametrize(
    "words",
    [["show", "99"], ["status", "--study", "no"], ["stop"], ["run", "--profile", "tpu"], ["run", "--trials", "-1"]],
)
def test_what_is_not_there_is_one_line(driver: Driver, words: list[str]) -> None:
    ended = optimize(driver, *words)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_not_one_is_one_line_and_left_alone(driver: Driver) -> None:
    (driver.folder / "runs").mkdir()
    (driver.folder / "runs" / "optuna.db").write_text("this is a letter, not a database " * 99)
    ended = run(driver)
    assert ended.returncode == 2
    assert "not a SQLite database" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert (driver.folder / "runs" / "optuna.db").read_text().startswith("this is a letter")


def start(driver: Driver, *words: str) -> subprocess.Popen[str]:
    pipe, words = subprocess.PIPE, ("run", "--trust", *flags(driver), *words)
    process = Forked(words, cwd=driver.folder, env=environment(driver), stdout=pipe, stderr=pipe)
    assert process.stderr is not None
    for line in process.stderr:  # until the first trial has ended: the study is under way
        if "baseline:" in line:
            return process
    raise AssertionError(process.communicate())


def states(driver: Driver) -> dict[str, int]:
    with driver.database() as database:
        study_id = database.find_study("s")
        assert study_id is not None
        return database.counts(study_id)


def test_ctrl_c_lets_the_running_trials_end(driver: Driver) -> None:
    slow_down(driver, 0.2)
    process = start(driver)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by Ctrl-C" in out
    assert states(driver)["RUNNING"] == states(driver)["WAITING"] == states(driver)["FAIL"] == 0


def test_sigterm_cancels_and_queues_what_was_running(driver: Driver) -> None:
    slow_down(driver, 5)
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("time.sleep(5)", "time.sleep(0 if X == 4 and Y == 0.5 else 5)"))
    process = start(driver)
    while not states(driver)["RUNNING"]:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert "stopped by SIGTERM" in out
    assert process.returncode == 143
    counts = states(driver)
    assert counts["RUNNING"] == 0
    assert counts["WAITING"] == counts["FAIL"] > 0


def test_a_driver_killed_with_9_loses_nothing(driver: Driver) -> None:
    slow_down(driver, 0.05)
    process = start(driver)
    process.kill()
    process.communicate()
    done = states(driver)["COMPLETE"]
    ended = run(driver, "--trials", str(done + 3))
    assert ended.returncode == 0, ended.stderr
    counts = states(driver)
    assert counts["RUNNING"] == counts["WAITING"] == 0
    assert counts["COMPLETE"] >= done + 3


def test_stop_from_another_terminal_ends_a_study(driver: Driver) -> None:
    slow_down(driver, 0.2)
    process = start(driver)
    assert optimize(driver, "stop").returncode == 0
    out, _ = process.communicate(timeout=60)
    assert "optimize stop" in out


def test_a_second_run_of_the_same_study_is_refused(driver: Driver) -> None:
    slow_down(driver, 0.5)
    process = start(driver)
    second = run(driver)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert str(process.pid) in second.stderr


def test_help_names_every_command(driver: Driver) -> None:
    text = optimize(driver, "--help").stdout
    for command in ("run", "check", "status", "show", "export", "dashboard", "stop", "clean"):
        assert command in text


def test_check_shows_dead_choices_and_origins(driver: Driver) -> None:
    ended = optimize(driver, "check", *flags(driver))
    assert ended.returncode == 0, ended.stderr
    assert "X = 3: the rules never allow it" in ended.stdout
    assert "24 feasible" in ended.stdout
    assert "flag" in ended.stdout


def test_check_shows_a_profile_for_another_machine_and_says_that_it_would_not_run_here(driver: Driver) -> None:
    (driver.folder / "profile.toml").write_text("[slots]\ndevice = 'cuda'\n")
    ended = optimize(driver, "check", *flags(driver), "--gpus", "99")
    assert ended.returncode == 2
    assert "24 feasible" in ended.stdout
    assert len(ended.stderr.splitlines()) == 1


def test_a_foreign_folders_commands_are_shown_and_need_a_yes(driver: Driver) -> None:
    refused = optimize(driver, "run", *flags(driver), "--trials", "1")
    assert refused.returncode == 2
    assert "{python} train.py" in refused.stderr
    assert "--trust" in refused.stderr
    run(driver, "--trials", "1")
    assert optimize(driver, "run", *flags(driver), "--trials", "2").returncode == 0


def test_a_broken_environment_stops_the_study_with_what_to_mend(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text("import a_module_that_is_not_there\n" + train.read_text())
    ended = run(driver)
    assert ended.returncode == 2
    assert "a_module_that_is_not_there" in ended.stderr
    assert "optimize show 0" in ended.stderr
    assert states(driver)["WAITING"] == 1


def test_a_baseline_that_crashes_shows_its_last_lines(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("value = 1.0", "print('\\x1b[2J last words')\nvalue = 1 / 0"))
    ended = run(driver)
    assert ended.returncode == 2
    assert "ZeroDivisionError" in ended.stderr
    assert "last words" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_repair_mends_what_a_dead_driver_left_and_rewrites_the_views(driver: Driver) -> None:
    slow_down(driver, 0.3)
    process = start(driver)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    (driver.folder / "runs" / "s" / "results.tsv").unlink(missing_ok=True)
    mended = optimize(driver, "check", "--repair", *flags(driver))
    assert mended.returncode == 0, mended.stderr
    assert states(driver)["RUNNING"] == 0
    assert (driver.folder / "runs" / "s" / "results.tsv").exists()
    assert "nothing was broken" in optimize(driver, "check", "--repair", *flags(driver)).stderr


def test_a_backup_is_a_whole_study_elsewhere(driver: Driver) -> None:
    run(driver, "--trials", "3")
    assert optimize(driver, "backup", "kept").returncode == 0
    assert optimize(driver, "backup", "kept").returncode == 2
    assert optimize(driver, "clean", "--study", "s", "--yes").returncode == 0
    assert "best" in optimize(driver, "status", "--runs", "kept").stdout
    assert "--- a/train.py" in optimize(driver, "show", "1", "--runs", "kept").stdout


def test_a_missing_artifact_of_the_best_ends_nothing_and_repair_names_it(driver: Driver) -> None:
    run(driver, "--trials", "3")
    for path in (driver.folder / "runs" / "artifacts").iterdir():
        path.unlink()
    ended = run(driver, "--trials", "4")
    assert ended.returncode == 0, ended.stderr
    assert "4 trials are done" in ended.stdout
    repaired = optimize(driver, "check", "--repair", *flags(driver))
    assert "is missing; its result is kept" in repaired.stderr


def test_repair_runs_nothing_of_a_foreign_folder(driver: Driver) -> None:
    run(driver, "--trials", "1")
    trace = driver.folder / "prepared"
    (driver.folder / "workload" / "workload.toml").write_text(f'prepare = ["touch", "{trace}"]\n')
    optimize(driver, "check", "--repair", *flags(driver))
    assert not trace.exists()


@pytest.mark.parametrize("words", [["status"], ["show", "1"], ["export"], ["report"], ["backup", "copy"], ["stop"]])
def test_looking_where_there_is_nothing_is_one_line_and_leaves_nothing(driver: Driver, words: list[str]) -> None:
    ended = optimize(driver, *words)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert not (driver.folder / "runs").exists()


def test_export_wants_both_of_trial_and_to(driver: Driver) -> None:
    run(driver, "--trials", "1")
    assert "--to" in optimize(driver, "export", "--trial", "0").stderr


def test_sigterm_during_preparation_leaves_nothing_running(driver: Driver) -> None:
    (driver.folder / "workload" / "prepare.py").write_text(
        "import os, time\nprint('preparing', os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    words, nowhere = ["run", "--trust", *flags(driver)], subprocess.DEVNULL
    process = Forked(words, cwd=driver.folder, env=environment(driver), stderr=subprocess.PIPE, stdout=nowhere)
    assert process.stderr is not None
    pid = next(int(line.split()[1]) for line in process.stderr if line.startswith("preparing"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not Path(f"/proc/{pid}/environ").exists() or not Path(f"/proc/{pid}/environ").read_bytes()


def test_a_report_tells_what_it_wrote_and_the_end_of_a_run_tells_of_it(driver: Driver) -> None:
    assert "optimize report --study s" in run(driver, "--trials", "3").stdout
    ended = optimize(driver, "report")
    assert ended.returncode == 0, ended.stderr
    written = [line.removeprefix("written: ") for line in ended.stderr.splitlines()]
    assert written[0] == "runs/s/report.html"
    assert all((driver.folder / name).stat().st_size > 0 for name in written)
    page = (driver.folder / written[0]).read_text()
    assert "b/train.py" in page  # the best's patch
    assert "profile ./profile.toml" in page  # the origin of a setting
    assert optimize(driver, "report", "--to", "elsewhere").returncode == 0
    assert (driver.folder / "elsewhere" / "report.html").exists()


def test_help_and_the_start_of_a_study_wait_for_no_package_that_they_do_not_use(driver: Driver) -> None:
    asked = (
        "import sys, optimize.cli; print(sorted({'matplotlib', 'pandas', 'optuna', 'numpy', 'requests'} & set(sys.modules)))\n"
        "import optimize.session.run, optimize.reporting.check, optimize.reporting.run_end, optimize.study.start_from\n"
        "late = {'matplotlib', 'pandas', 'plotly', 'optuna_dashboard', 'scipy', 'sklearn', 'pyarrow', 'requests', 'torch'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    argv = [sys.executable, "-c", asked]
    told = subprocess.run(argv, env=environment(driver), capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["[]", "[]"]
