"""Whatever a user can get wrong on the command line: a line for each mistake, exit code 2, and nothing is made or changed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.config.environment import in_notebook
from optimize.config.settings import load_settings
from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from storage import StudyPaths, open_database
from tests.conftest import SPACE, Driver, make_driver

LONG = "n" * 5_000
PLAN = "--profile ./profile.toml --workload ./workload --space ./space.toml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A folder with a study of two trials; no test changes it."""
    driver = make_driver(tmp_path_factory.mktemp("place"), tmp_path_factory.getbasetemp() / "once")
    driver.data = ""  # the workload prepares none
    driver.run(trials=2)
    with closing(open_database(driver.paths.database)) as database:
        write_views(find_study(database, "s", driver.settings.runs))
    return driver


@pytest.fixture(autouse=True)
def there(place: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in (
        "OPTIMIZE_STORAGE_URL",
        "OPTIMIZE_COPY_URL",
        "OPTIMIZE_IMPORT_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    before = everything(place.folder)
    yield
    assert everything(place.folder) == before


def everything(folder: Path) -> dict[str, bytes]:
    aside = ("optuna.db-wal", "optuna.db-shm")  # SQLite's own, also of one who only reads
    found = (path for path in folder.rglob("*") if path.name not in aside)
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in found}


def told(capsys: pytest.CaptureFixture[str], words: str) -> list[str]:
    """The lines on stderr of a command that is refused."""
    capsys.readouterr()
    code = run(shlex.split(words))
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    lines = said.err.splitlines()
    assert all(": " in line for line in lines)
    return lines


@pytest.mark.parametrize(
    ("environ", "is_cell"),
    [
        ({"JPY_PARENT_PID": "7"}, True),
        ({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, True),  # of a kernel that no manager began
        ({"MPLBACKEND": "Agg", "TERM": "xterm-color", "CLICOLOR_FORCE": "1", "GIT_PAGER": "cat"}, True),
        ({"MPLBACKEND": "Agg", "TERM": "xterm-color", "GIT_PAGER": "cat"}, False),
        ({"TERM": "xterm-256color", "CLICOLOR_FORCE": "1"}, False),
        ({}, False),
    ],
)
def test_every_kernel_is_known_by_what_it_passes_on(environ: dict[str, str], is_cell: bool) -> None:
    assert in_notebook(environ) is is_cell


def test_in_a_cell_of_a_notebook_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setattr(sys, "argv", ["optimize", "clean", "--study", "s"])
    (line,) = told(capsys, "clean --study s")
    assert line.endswith("Delete it with its 2 trials: `!optimize clean --study s --yes`")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        # the words themselves
        ("runn", "Did you mean 'run'?"),
        ("run --trial 3", "--trials"),
        ("run --trials", "requires an argument"),
        ("run --trials many", "'--trials': Input should be a valid integer"),
        ("run surplus", "unexpected extra argument"),
        ("run --study=", "--study: it is empty"),
        ("migrate s --to ''", "--to: it is empty"),
        ("status --runs ''", "--runs: it is empty"),
        ("''", "optimize: it is empty"),
        ("space nothing", "No such command 'nothing'"),
        # names of ours
        ("check --profile h10", "Did you mean h100?"),
        ("check --profile profile.toml", "Did you mean ./profile.toml?"),
        ("check --profile ./nothing.toml", "no such file"),
        ("check --profile ./workload", "this is a folder. Name a file in it."),
        (f"check --profile {LONG}", "no such profile"),
        (f"check --profile ./{LONG}", "File name too long"),
        (f"check {PLAN} --workload gtp", "Did you mean gpt?"),
        (f"check {PLAN} --workload workload", "Did you mean ./workload?"),
        (f"check {PLAN} --workload ./workload/train.py", "this is a file. Give its folder, ./workload."),
        ("check --workload space.toml", "this is a file. Give its folder, ."),
        (f"check {PLAN} --workload {LONG}", "no such workload"),
        (f"check {PLAN} --workload ./{LONG}", "File name too long"),
        (f"check {PLAN} --space cpuu", "Did you mean cpu?"),
        (f"check {PLAN} --space space.toml", "Did you mean ./space.toml?"),
        (f"check {PLAN} --space ./{LONG}", "File name too long"),
        (f"check {PLAN} --sampler tpee", "Did you mean tpe?"),
        (f"check {PLAN} --sampler bayes", "Did you mean tpe?"),
        (f"check {PLAN} --sampler GaussianProcess", "Did you mean gp?"),
        (f"check {PLAN} --sampler CMA-ES", "Did you mean cmaes?"),
        (f"check {PLAN} --sampler sobol", "Did you mean qmc?"),
        (f"check {PLAN} --executor rya", "Did you mean ray?"),
        (f"check {PLAN} --log tensorbord", "Did you mean tensorboard?"),
        # numbers
        (f"run {PLAN} --trials 0", "--trials: 0 is not above 0"),
        (f"run {PLAN} --trials -1", "--trials: -1 is not above 0"),
        (f"run {PLAN} --hours nan", "--hours: nan is not above 0"),
        (f"run {PLAN} --seed -1", "--seed: -1 is below 0"),
        (f"run {PLAN} --seed 1.5", "valid integer"),
        (f"run {PLAN} --trust --slots 100000", "slots: 100000 wanted"),
        (f"run {PLAN} --advisor-share nan", "--advisor-share: nan is not a share"),
        ("status --last 0", "greater than or equal to 1"),
        ("dashboard --port 0", "not a port"),
        ("dashboard --port 100000", "not a port"),
        # studies
        (f"run {PLAN} --study a/b", "not a name for a study"),
        (f"run {PLAN} --study ..", "not a name for a study"),
        (f"run {PLAN} --study 'a b'", "not a name for a study"),
        (f"run {PLAN} --study stüdie", "not a name for a study"),
        (f"run {PLAN} --study {LONG}", "not a name for a study"),
        (f"run {PLAN} --study s/confirm", "only `optimize confirm --study s"),
        (f"migrate s --to a/b {PLAN}", "not a name for a study"),
        (f"migrate z --to t {PLAN}", "There are: s."),
        ("status --study z", "There are s."),
        (f"status --study {LONG}", "There are s."),
        ("show 99", "there is no trial 99"),
        ("show -- -1", "there is no trial -1"),
        ("show 99999999999999999999", "there is no trial 99999999999999999999"),
        ("stop", "no process drives it"),
        ("clean --study z --yes", "There are s."),
        # where a study begins
        (f"run {PLAN} --study new --from z", "--from z: there is no such study. There are: s."),
        (f"run {PLAN} --study new --from profile.toml", "Did you mean ./profile.toml?"),
        (f"run {PLAN} --study new --from ./z.csv", "--from ./z.csv: does not exist"),
        (f"run {PLAN} --study new --from ./workload", "is not a file"),
        (f"run {PLAN} --study new --from {LONG}", "there is no such study"),
        (f"run {PLAN} --study new --from ./{LONG}", "File name too long"),
        (f"run {PLAN} --study s --from s", "the study exists and began without it"),
        # databases and folders
        (f"run {PLAN} --study new --storage ./workload", "a folder, not a database"),
        (f"run {PLAN} --study new --storage what://ever", "only SQLite and PostgreSQL can be used"),
        (f"run {PLAN} --study new --storage postgresql://me:secret@host/x", "OPTIMIZE_STORAGE_URL"),
        (f"run {PLAN} --study new --storage {LONG}", "File name too long"),
        (f"run {PLAN} --study new --runs ./space.toml", "Not a directory"),
        (f"run {PLAN} --study new --runs {LONG}", "File name too long"),
        ("status --runs nothing", "no database here yet"),
        ("status --runs ./space.toml", "no database here yet"),
        ("export --trial 1 --to workload", "exists already"),
        (f"export --trial 1 --to {LONG}", "File name too long"),
        ("export --to new", "--to needs --trial or --bundle"),
        ("export --bundle --to workload", "workload"),
        ("report --to ./space.toml", "space.toml"),
        (f"report --to {LONG}", "File name too long"),
        ("backup workload", "exists already"),
        (f"backup {LONG}", "File name too long"),
        ("restore nothing", "no backup here"),
        ("restore workload", "no backup here"),
        (f"restore {LONG}", "File name too long"),
        ("copy", "--to: no target"),
        ("copy --to workload", "a folder, not a database"),
        (f"copy --to {LONG}", "File name too long"),
        ("copy --to new.db --to-runs ./space.toml", "Not a directory"),
        ("import results.tsv --study i", "does not exist"),
        ("import workload --study i", "workload"),
        (f"import {LONG} --study i", "nnn"),
        ("import runs/s/results.tsv", "Give a name that no study has"),
        ("import runs/s/results.tsv --study a/b", "Leave the / out"),
        ("import runs/s/results.tsv --study i --direction up", "direction"),
        ("import runs/s/results.tsv --study i --zone Nowhere/X", "Nowhere/X"),
        # scripts
        ("space init nothing.py", "there is no such file"),
        ("space init workload", "Did you mean ./workload?"),
        (f"space init {LONG}.py", "File name too long"),
        ("space init workload/train.py --to space.toml", "exists already"),
        (f"space init workload/train.py --to {LONG}", "File name too long"),
        ("autoresearch workload", "workload"),
        ("autoresearch new --from ./nothing", "nothing"),
        (f"autoresearch {LONG} --from ./workload", "File name too long"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_changes_nothing(capsys: pytest.CaptureFixture[str], words: str, says: str) -> None:
    (line,) = told(capsys, words)
    assert says in line


def test_a_word_that_is_not_utf_8_is_shown_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = told(capsys, f"status --study {os.fsdecode(bytes([0xFF]))}")
    assert line.startswith(r"'\udcff': ")


def test_all_mistakes_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "--profile": "z1", "--workload": "z2", "--space": "z3", "--sampler": "z4", "--executor": "z5", "--log": "z6",
        "--from": "z7", "--study": "z8/9", "--trials": "0", "--hours": "nan",
    }  # fmt: skip
    lines = told(capsys, "run " + " ".join(f"{flag} {value}" for flag, value in wrong.items()))
    assert len(lines) == len(wrong)
    for flag, value in wrong.items():
        assert len([line for line in lines if value in line and (value.startswith("z") or flag in line)]) == 1


def test_a_wrong_from_is_told_with_what_is_wrong_in_the_search_space(
    place: Driver, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "space.toml"
    path.write_text(SPACE.replace("X = [1, 2, 3, 4]", "XX = [1, 2]\nZ = [1, 2]").replace("X ==", "XX =="))
    lines = told(capsys, f"run {PLAN} --space {path} --study new --from z --trials 0 --storage sqlite:///nothing.db")
    assert [line for line in lines if "--from z: " in line]
    assert [line for line in lines if "XX" in line and "Did you mean X?" in line]
    assert [line for line in lines if ": Z: " in line]
    assert [line for line in lines if "--trials: 0" in line]


def test_a_profile_that_cannot_be_read_is_no_reason_to_find_the_script_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[constants]\nX = 7\nPAIR = nan\n[slotss]\ncount = 1\n[limits]\ntotal = 3\n")
    lines = told(capsys, f"run {PLAN} --profile {tmp_path}/mine.toml --sampler z")
    assert len(lines) == 4
    assert (
        "[limits]: total: unknown key. Known here: disk_mb, free_s, grace_s, log_mb, startup_s, total_s. Did you mean"
        in lines[2]
    )


@pytest.mark.parametrize(
    ("folder", "name"),
    [("mein Köder (2)", "mein-K-der-2--cpu"), ("_x", "x-cpu"), ("日本", "cpu"), ("a" * 120, "a" * 96 + "-cpu")],
)
def test_the_default_name_of_a_study_is_one_whatever_the_folder_is_called(folder: str, name: str) -> None:
    settings = load_settings("cpu", "a test", {"workload": f"./{folder}"}, {})
    assert settings.study == name
    assert StudyPaths(Path("runs"), name)
