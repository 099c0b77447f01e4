"""Starts, `--from` and `migrate` as a user types them: real processes, what they print, how they exit."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from tests.conftest import SPACE, Driver
from tests.forked import Forked
from tests.test_cli import environment, flags, optimize, run, slow_down
from tests.transfers import nothing_changes, records, rewrite

pytestmark = pytest.mark.slow

STARTS = "".join(
    f'\n[[start]]\nsource = "note {n}"\nval_bpb = {1 + n / 10}\nparams = {{ X = {x}, Y = {y} }}\n'
    for n, (x, y) in enumerate([(2, 0.26), (1, 0.9), (2, 0.14), (1, 0.25)])
)


def with_starts(driver: Driver) -> None:
    (driver.folder / "space.toml").write_text(SPACE + STARTS)


def has_run(driver: Driver, trials: int) -> None:
    """Study `s`, as `optimize run` would leave it, without the processes."""
    driver.data = ""  # the workload prepares none
    driver.run(trials=trials)
    with driver.database() as database:
        write_views(find_study(database, "s", driver.settings.runs))


def test_starts_are_said_run_in_order_and_shown(driver: Driver) -> None:
    with_starts(driver)
    ended = run(driver, "--trials", "6", "--slots", "1")
    assert ended.returncode == 0, ended.stderr
    assert "start 1 (note 0, val_bpb 1.0): Y 0.26 -> 0.25; the rest as in the baseline" in ended.stderr
    assert [record.kind for record in records(driver, "s")] == ["baseline", *["start"] * 4, "sampler"]
    assert "start from: note 0, val_bpb 1.0" in optimize(driver, "show", "1").stdout
    assert "start 1 (note" not in run(driver, "--trials", "7").stderr


def test_check_shows_starts_and_what_from_would_bring_and_makes_nothing(driver: Driver) -> None:
    with_starts(driver)
    (driver.folder / "a.csv").write_text("val_bpb,X\n0.5,2\n")
    with nothing_changes(driver):
        shown = optimize(driver, "check", *flags(driver), "--from", "./a.csv")
    assert shown.returncode == 0, shown.stderr
    assert "starts, after the baseline" in shown.stdout
    assert "start 3 (note 2, val_bpb 1.2): Y 0.14 -> 0.125" in shown.stdout
    assert "./a.csv line 2 (val_bpb 0.5)" in shown.stdout
    without = optimize(driver, "check", *flags(driver), "--no-starts")
    assert "start 3" not in without.stdout


def test_a_driver_killed_with_9_between_starts_runs_each_of_them_once(driver: Driver) -> None:
    with_starts(driver)
    slow_down(driver, 0.1)
    words, nowhere = ["run", "--trust", *flags(driver), "--slots", "1", "--trials", "6"], subprocess.DEVNULL
    for ends in range(1, 4):
        process = Forked(words, cwd=driver.folder, env=environment(driver), stdout=nowhere, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if "baseline:" in line or "start: X" in line or "again: X" in line:
                break
        process.kill()
        process.communicate()
        assert sum(r.state == "COMPLETE" for r in records(driver, "s")) >= ends
    ended = run(driver, "--slots", "1", "--trials", "6")
    assert ended.returncode == 0, ended.stderr
    found = records(driver, "s")
    complete = Counter(tuple(r.params.items()) for r in found if r.state == "COMPLETE" and r.kind == "start")
    assert len(complete) == 4
    assert set(complete.values()) == {1}
    assert {r.state for r in found} <= {"COMPLETE", "FAIL"}
    assert all(r.requeue_of is not None or r.number < 5 for r in found if r.kind == "start")


def test_a_start_that_breaks_a_rule_is_one_line_and_makes_nothing(driver: Driver) -> None:
    (driver.folder / "space.toml").write_text(SPACE + '\n[[start]]\nsource = "me"\nparams = { X = 3 }\n')
    ended = run(driver)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "start 1: breaks the rule" in ended.stderr
    assert not (driver.folder / "runs").exists()


def test_a_study_begins_with_another_and_the_same_call_goes_on(driver: Driver) -> None:
    has_run(driver, 5)
    first = run(driver, "--study", "new", "--from", "s", "--trials", "3")
    assert first.returncode == 0, first.stderr
    assert "5 trials copied" in first.stderr
    assert "3 trials are done" in first.stdout
    again = run(driver, "--study", "new", "--from", "s", "--trials", "4")
    assert again.returncode == 0, again.stderr
    assert "it began with s and goes on" in again.stderr
    assert len(records(driver, "new")) == 9
    assert "(copied)" in optimize(driver, "status", "--study", "new").stdout
    assert "copied from: study s, trial 1" in optimize(driver, "show", "1", "--study", "new").stdout
    assert optimize(driver, "clean", "--study", "s", "--yes").returncode == 0
    assert "--- a/train.py" in optimize(driver, "show", "1", "--study", "new").stdout


@pytest.mark.parametrize("table", ["results.tsv", "trials.csv"])
def test_a_study_of_another_script_begins_with_the_rows_of_a_table(driver: Driver, table: str) -> None:
    has_run(driver, 8)
    (driver.folder / table).write_bytes((driver.folder / "runs" / "s" / table).read_bytes())
    rewrite(driver, "workload/train.py", "abs(X - 2)", "abs(X - 3)")
    ended = run(driver, "--study", "new", "--from", table, "--trials", "6")
    assert ended.returncode == 0, ended.stderr
    assert f"--from {table}: " in ended.stderr
    assert [record.kind for record in records(driver, "new")] == ["baseline", *["start"] * 5]


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "nothing"], ["--from", "./nothing.csv"], ["--from", "spoilt.tsv"], ["--from", "/dev/null"],
        ["--study", "s", "--from", "other.csv"], ["--from", ""],
    ],
)  # fmt: skip
def test_what_cannot_be_begun_with_is_one_line_and_makes_nothing(driver: Driver, words: list[str]) -> None:
    has_run(driver, 1)
    (driver.folder / "spoilt.tsv").write_bytes(b"\xff\xfe\0\0")
    with nothing_changes(driver):
        ended = run(driver, "--study", "new", *words)
    assert ended.returncode == 2
    assert len([line for line in ended.stderr.splitlines() if "from" in line]) == 1
    assert "Traceback" not in ended.stderr


def test_migrate_moves_a_study_that_then_goes_on(driver: Driver) -> None:
    has_run(driver, 6)
    rewrite(driver, "space.toml", "X = [1, 2, 3, 4]", "X = [8, 4, 2]\nSIZE = [8, 16]")
    refused = run(driver, "--trials", "7")
    assert refused.returncode == 2
    assert "the choices or rules have changed" in refused.stderr
    places = ["--profile", "./profile.toml", "--workload", "./workload", "--space", "./space.toml"]
    moved = optimize(driver, "migrate", "s", "--to", "new", *places)
    assert moved.returncode == 0, moved.stderr
    assert "finished trials of study s, which stays as it is" in moved.stderr
    assert (driver.folder / "runs" / "new" / "best" / "train.py").exists()
    before = len(records(driver, "new"))
    ended = run(driver, "--study", "new", "--trials", "3")
    assert ended.returncode == 0, ended.stderr
    assert len(records(driver, "new")) == before + 3
    with nothing_changes(driver):
        twice = optimize(driver, "migrate", "s", "--to", "new", *places)
        rewrite(driver, "workload/train.py", "abs(X - 2)", "abs(X - 3)")
        other = optimize(driver, "migrate", "s", "--to", "newer", *places)
    for ended, why in ((twice, "exists already"), (other, "the scripts have changed")):
        assert ended.returncode == 2
        assert len(ended.stderr.splitlines()) == 1
        assert why in ended.stderr
