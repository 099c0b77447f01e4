"""No flags are needed where the workload is: which script is meant, which search space, and when a trial ends."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.cli import run
from optimize.commands.plans import plan_of_flags
from optimize.config import here
from optimize.config.plan import Plan, make_plan
from optimize.config.settings import Settings, load_settings, read_settings
from optimize.errors import SettingsError, StudyMismatchError, WorkloadError
from optimize.script.load_workload import OURS, load_workload
from optimize.script.pick_script import could_be_trained, pick_script
from optimize.study import begun
from optimize.study.begun import begun_with, opened_to_go_on
from optimize.study.comparable import ABOUT, FINGERPRINT, describe_study
from optimize.study.earlier import plan_for_study, plan_to_move
from optimize.trial import Suggestion
from storage import open_database
from tests.conftest import SCRIPT, SPACE
from tests.databases import empty_database, new_trial

RUNS = "X = 1\nprint(X)\n"
GPT = "".join(f"{line}\n" for line in (
    "ASPECT_RATIO = 64", "HEAD_DIM = 64", 'WINDOW_PATTERN = "SL"', "TOTAL_BATCH_SIZE = 4096", "EMBEDDING_LR = 0.6", "DEPTH = 2",
    "UNEMBEDDING_LR = 0.004", "MATRIX_LR = 0.04", "SCALAR_LR = 0.5", "WEIGHT_DECAY = 0.2", "ADAM_BETAS = (0.8, 0.95)",
    "WARMUP_RATIO = 0.0", "WARMDOWN_RATIO = 0.5", "FINAL_LR_FRAC = 0.0", "DEVICE_BATCH_SIZE = 4", "MAX_SEQ_LEN = 256",
    "VOCAB_SIZE = 2048", "EVAL_TOKENS = 65536",
))  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the user stands."""
    where = tmp_path / "mine"
    where.mkdir()
    monkeypatch.chdir(where)
    return where


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.{'toml' if name in ('workload', 'space', 'profile') else 'py'}").write_text(text)


def plan(profile: str = "cpu", **flags: object) -> Plan:
    return make_plan(load_settings(profile, "", flags, {}))


def refused(profile: str = "cpu", **flags: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        plan(profile, **flags)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("files", "script", "origin"),
    [
        ({"train": SCRIPT}, "train.py", "train.py in this folder"),
        ({"train": SCRIPT, "other": RUNS}, "train.py", "train.py in this folder"),
        ({"go": SCRIPT}, "go.py", "go.py in this folder"),
        ({"go": f"import model\n{SCRIPT}", "model": RUNS}, "go.py", "go.py in this folder"),
        ({"go": SCRIPT, "model": "def f(): ...\n", "test_go": RUNS, "setup": RUNS}, "go.py", "go.py in this folder"),
        ({"go": SCRIPT, "other": RUNS, "workload": 'script = "go.py"\n'}, "go.py", "workload.toml in this folder"),
        ({"train": RUNS, "go": SCRIPT, "workload": 'script = "go.py"\n'}, "go.py", "workload.toml in this folder"),
    ],
)
def test_the_script_of_this_folder_is_trained_with_the_space_beside_it(
    folder: Path, files: dict[str, str], script: str, origin: str
) -> None:
    write(folder, **files, space=SPACE)
    found = plan()
    job = found.workload.prepare(Suggestion(0, {"X": 2}), {}, {}, found.settings.limits)
    assert job.command == ("{python}", script)
    assert "X = 2" in job.files[script]
    assert found.settings.origins["workload"] == origin
    assert (found.settings.study, found.space.names) == ("mine-cpu", ("X", "Y", "PAIR"))
    assert found.settings.command() == "optimize run --study mine-cpu"
    assert found.about()["workload"] == str(folder)
    assert any("the only one here" in note for note in found.notes) == (origin == "go.py in this folder")


def test_where_several_scripts_could_be_trained_one_line_asks_which(folder: Path) -> None:
    write(folder, b=RUNS, a=RUNS)
    (line,) = refused()
    assert line.startswith(
        'workload: a.py or b.py? Each could be trained. Write `script = "a.py"` into ./workload.toml'
    )
    assert plan(workload="gpt").workload.name == "gpt"
    with pytest.raises(WorkloadError, match=r"there is no train.py, and a.py or b.py could be trained. Say which"):
        load_workload(str(folder))


def test_a_path_to_our_own_workload_means_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = plan(workload="gpt")
    (folder / "link").symlink_to(OURS)
    monkeypatch.chdir(OURS.parent)
    for path in ("./workloads/gpt", "workloads/gpt/", "../optimize/workloads/gpt", str(folder / "link" / "gpt")):
        found = plan(workload=path)
        assert found.settings == replace(by_name.settings, origins=found.settings.origins)  # its limits, its constants
        assert (found.workload.folder, found.constants) == (by_name.workload.folder, by_name.constants)
    monkeypatch.chdir(OURS / "gpt")
    assert plan().settings.limits.startup_s == by_name.settings.limits.startup_s
    shutil.copytree(OURS / "gpt", folder / "gpt")
    assert load_workload(str(folder / "gpt")).folder == folder / "gpt"


def test_where_there_is_no_script_our_own_workload_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan().settings.study == "gpt-cpu"
    write(folder, train=SCRIPT)
    monkeypatch.setattr(here, "CHECKOUT", folder)
    assert (
        plan().settings.study == "gpt-cpu"
    )  # a script that lies in the root of this repository changes no `make optimize`
    write(folder, workload="", space=SPACE)
    assert plan().settings.study == "mine-cpu"  # a workload.toml there is meant


def test_a_script_without_a_space_is_not_held_against_that_of_our_own(folder: Path) -> None:
    write(folder, train=SCRIPT)
    for line in (*refused(), *refused(workload="./")):
        assert line.startswith("./space.toml: there is no such file")
        assert line.endswith("Write a first one: `optimize init ./train.py`.")  # no word of a space that nobody named
    (line,) = refused(workload=str(folder))
    assert f"`optimize init {folder}/train.py`" in line
    assert "has no such constant" in refused(search_space="cpu")[0]  # which the user has asked for
    write(folder, train=f"DEPTH = 4\n{SCRIPT}")
    (line,) = refused()  # of a script that may be one of those that the space is for
    assert "(Search space cpu of profile cpu does not fit: the script has no ASPECT_RATIO, " in line


def test_a_script_like_autoresearchs_takes_the_profiles_space_unless_one_lies_beside_it(folder: Path) -> None:
    write(folder, train=GPT)
    assert plan().space.path == "search_spaces/cpu.toml"
    write(folder, space="[parameters]\nDEPTH = [2, 3]\n")
    assert (plan().space.path, plan(workload=str(folder)).space.path) == ("./space.toml", f"{folder}/space.toml")
    assert plan(search_space="cpu").space.path == "search_spaces/cpu.toml"


def test_a_flag_and_a_path_in_a_profile_of_ones_own_win_over_the_folder(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write(theirs, train=SCRIPT, space=SPACE)
    write(folder, train=SCRIPT, space=SPACE)
    write(folder, profile='workload = "../theirs"\nsearch_space = "../theirs/space.toml"\n')
    assert plan("./profile.toml").workload.name == "theirs"
    assert plan(workload="../theirs").workload.name == "theirs"
    write(folder, profile='workload = "gpt"\nsearch_space = "cpu"\n')  # as in a copy of ours
    assert plan("./profile.toml").workload.name == "mine"


def test_limits_of_the_workload_win_over_our_profiles_and_lose_to_one_of_ones_own(folder: Path) -> None:
    write(folder, train=SCRIPT, space=SPACE, workload="[limits]\ntotal_s = 7\ndisk_mb = 9\n")
    found = plan().settings
    assert (found.limits.total_s, found.limits.disk_mb) == (7, 9)
    assert [found.origins.get(f"limits.{key}") for key in ("total_s", "grace_s")] == ["workload.toml", None]
    write(folder, profile="[limits]\ntotal_s = 8\n")
    found = plan("./profile.toml").settings
    assert (found.limits.total_s, found.limits.disk_mb) == (8, 9)
    write(folder, workload="total_s = 3\n[limits]\ntotal = 3\nlog_mb = -1\n")
    assert ["total_s: is a limit" in line or "[limits]" in line for line in refused()] == [True, True, True]


def test_no_profile_of_ours_limits_the_first_line_of_a_script_that_is_not_ours(folder: Path) -> None:
    write(folder, train=SCRIPT, space=SPACE)
    found = plan()
    assert (found.settings.limits.startup_s, found.settings.limits.total_s) == (None, 300)
    assert found.job(Suggestion(0, {"SIZE": 2})).limits.startup_s is None
    assert found.settings.origins["limits.startup_s"] == "not that of profile cpu, which is for our own scripts"
    write(folder, workload="[limits]\nstartup_s = 5\n")
    found = plan()
    assert (found.settings.limits.startup_s, found.settings.origins["limits.startup_s"]) == (5, "workload.toml")
    assert found.job(Suggestion(0, {"SIZE": 2})).startup_in == "./workload.toml"
    write(folder, workload="", profile="[limits]\nstartup_s = 6\n")
    found = plan("./profile.toml")
    assert (found.settings.limits.startup_s, found.settings.origins["limits.startup_s"]) == (
        6, "profile ./profile.toml",
    )  # fmt: skip
    assert found.job(Suggestion(0, {"SIZE": 2})).startup_in == "./profile.toml"
    assert plan(workload="gpt", search_space="cpu").settings.limits.startup_s == 60


def test_a_note_on_a_limit_says_where_to_write_another(folder: Path) -> None:
    write(folder, train=SCRIPT, space=SPACE, workload='duration_s = "SIZE * 100"\n[limits]\ntotal_s = 7\n')
    assert "Write a larger one under [limits] in workload.toml." in plan().notes[-1]


@pytest.mark.parametrize(
    ("files", "command", "script"),
    [
        ({"a.py": RUNS, "b.py": RUNS}, ("{python}", "b.py"), "b.py"),
        ({"a.py": RUNS, "b.py": "def (:\n"}, (), "a.py"),
        ({"a.py": '"""Text."""\nfrom os import path\nclass A: ...\n'}, (), "train.py"),
        ({"prepare.py": RUNS, "__main__.py": RUNS, "go_test.py": RUNS}, (), "train.py"),
        ({f"{n}.py": RUNS for n in range(30)}, (), "train.py"),
        ({"a.py": "if __name__ == '__main__':\n    X = 1\n", "notes.txt": "a.py"}, (), "a.py"),
        ({}, (), "train.py"),
    ],
)
def test_a_script_is_picked_only_where_nothing_else_could_be_meant(
    files: dict[str, str], command: tuple[str, ...], script: str
) -> None:
    assert pick_script(files, command) == script
    assert set(could_be_trained(files)) <= set(files)


def found(settings: Settings, moves: str = "") -> dict[str, str]:
    with opened_to_go_on(settings, moves or settings.study) as stored:
        return begun_with(settings, stored, bool(moves))


def test_a_study_that_was_begun_with_ours_goes_on_in_a_folder_that_has_others(folder: Path) -> None:
    write(folder, train=GPT)
    (folder / "runs").mkdir()
    workloads = {"gpt-cpu": "gpt", "night": str(folder)}
    about = {name: plan(study=name, workload=what).about() for name, what in workloads.items()}
    about["same"] = {**about["night"], "search_space": str(folder / "space.toml")}
    with closing(open_database(empty_database(folder / "runs"))) as database:
        for name, told in about.items():
            database.create_study(name, "minimize", "val_bpb", {ABOUT: told, FINGERPRINT: {"script": "another"}})
    assert found(load_settings("cpu", "", {"study": "night"}, {})) == {}
    write(folder, space="[parameters]\nDEPTH = [2, 3]\n")
    assert found(load_settings("cpu", "", {"study": "gpt-cpu"}, {})) == {"workload": "gpt", "search_space": "cpu"}
    assert found(load_settings("cpu", "", {"study": "night"}, {})) == {"search_space": "cpu"}
    assert found(load_settings("cpu", "", {"study": "same"}, {})) == {}  # the file beside the script, named otherwise
    another = load_settings("cpu", "", {"study": "another"}, {})
    assert (found(another), found(another, moves="gpt-cpu")) == ({}, {"workload": "gpt"})
    flags = {"study": "gpt-cpu", "workload": str(folder), "search_space": "./space.toml"}
    assert found(load_settings("cpu", "", flags, {})) == {}  # what a flag names is meant
    (folder / "train.py").unlink()
    (folder / "space.toml").unlink()
    write(folder, a=RUNS, b=RUNS)
    settings, wrong = read_settings("cpu", "", {"study": "gpt-cpu"}, {})
    assert (found(settings), len(wrong.of_flags)) == ({"workload": "gpt"}, 1)
    (folder / "runs" / "optuna.db").write_text("no database")
    assert found(settings) == {}  # whoever opens it to go on says so


@pytest.mark.parametrize("flags", [{}, {"workload": "gpt"}, {"profile": "./profile.toml"}])
def test_a_script_that_lies_elsewhere_is_named_and_none_of_ours_is_blamed(folder: Path, flags: dict[str, str]) -> None:
    write(folder, profile='[slots]\ndevice = "cpu"\n')
    about = {"workload": "../theirs", "script": "train.py"}
    (folder / "runs").mkdir()
    with closing(open_database(empty_database(folder / "runs"))) as database:
        database.create_study("s", "minimize", "val_bpb", {ABOUT: about, FINGERPRINT: {"script": "another"}})
    settings = load_settings(flags.pop("profile", "cpu"), "", {**flags, "study": "s"}, {})
    line = "study s: trains the script in ../theirs, and this call takes ours, gpt. Go to its folder, or name it: "
    with opened_to_go_on(settings, "s") as stored:
        for make in (plan_for_study, plan_to_move):
            with pytest.raises(StudyMismatchError, match=line):
                make(settings, stored)


def test_one_look_into_the_database_is_enough_to_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, train=SCRIPT, space=SPACE)
    (folder / "runs").mkdir()
    empty_database(folder / "runs")
    opened = []
    monkeypatch.setattr(
        begun, "open_database", lambda *where, **how: opened.append(where) or open_database(*where, **how)
    )
    assert plan_of_flags({"profile": "cpu"}).settings.study == "mine-cpu"
    assert len(opened) == 1


def test_check_ends_as_run_would_but_for_trust(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, train=SCRIPT, space=SPACE)
    assert run(["check"]) == 0  # nobody has accepted the folder's commands yet
    (folder / "runs").mkdir()
    attrs = describe_study(plan(), {"script": "another"})
    with closing(open_database(empty_database(folder / "runs"))) as database:
        study_id = database.create_study("mine-cpu", "minimize", "val_bpb", attrs)
        database.finish_trial(new_trial(database, study_id), "COMPLETE", 1.0)
    capsys.readouterr()
    assert run(["check"]) == 2
    assert "study mine-cpu: the scripts have changed" in capsys.readouterr().err
    shutil.rmtree(folder / "runs")
    (folder / "runs" / "mine-cpu").mkdir(parents=True)
    (folder / "runs" / "mine-cpu" / "results.tsv").write_text("commit\tval_bpb\nabc\t1.0\n")
    empty_database(folder / "runs")
    assert run(["check"]) == 2
    assert "holds results of a study that" in capsys.readouterr().err
