"""Workloads: a folder becomes jobs; an untouched autoresearch checkout needs no settings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import RenderError, WorkloadError
from optimize.script.command import shell_script
from optimize.script.load_workload import load_workload
from optimize.study.comparable import fingerprint
from optimize.trial import Limits, Metric, ProgressFormat, Suggestion
from search_spaces import load_space

TRAIN = "from prepare import MAX_SEQ_LEN\nDEPTH = 8  # layers\nTOTAL_BATCH_SIZE = 2**19\nBETAS = (0.8, 0.95)\nNOW = DEPTH * 2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "a folder with 'quotes'"
    where.mkdir()
    (where / "train.py").write_text(TRAIN)
    (where / "prepare.py").write_text("MAX_SEQ_LEN = 2048\nDEPTH_OF_DATA = 1\nprint('---\\ndata_fingerprint: abc')\n")
    return where


def test_a_dot_is_the_folder_one_is_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_workload(".").name == folder.name


def test_a_folder_without_settings_follows_autoresearch(folder: Path) -> None:
    workload = load_workload(f"{folder}/")
    assert workload.command == ("{python}", "train.py")
    assert workload.prepare_command == ("{python}", "prepare.py")
    assert (workload.metric.name, workload.metric.direction) == ("val_bpb", "minimize")


def test_constants_are_read_from_every_file_and_arithmetic_is_understood(folder: Path) -> None:
    constants = load_workload(str(folder)).constants()
    assert constants == {
        "DEPTH": 8,
        "TOTAL_BATCH_SIZE": 2**19,
        "BETAS": (0.8, 0.95),
        "MAX_SEQ_LEN": 2048,
        "DEPTH_OF_DATA": 1,
    }


def test_a_job_carries_both_scripts_with_constants_and_params(folder: Path) -> None:
    workload = load_workload(str(folder))
    job = workload.prepare(Suggestion(3, {"DEPTH": 4}), {"MAX_SEQ_LEN": 256, "DEPTH": 2}, {"A": "b"}, Limits())
    assert "DEPTH = 4  # layers" in job.files["train.py"]
    assert "MAX_SEQ_LEN = 256" in job.files["prepare.py"]
    assert job.env == {"A": "b"}
    assert (folder / "train.py").read_text() == TRAIN


def test_every_name_that_cannot_be_written_is_reported(folder: Path) -> None:
    with pytest.raises(RenderError) as caught:
        load_workload(str(folder)).render({"MISSING": 1, "NOW": 2})
    assert len(caught.value.problems) == 2
    assert "not a literal" in caught.value.problems[1]


def test_the_fingerprint_ignores_comments_but_not_code(folder: Path) -> None:
    before = load_workload(str(folder)).fingerprint()
    (folder / "train.py").write_text(TRAIN.replace("# layers", "# deep"))
    assert load_workload(str(folder)).fingerprint() == before
    (folder / "train.py").write_text(TRAIN.replace("2**19", "2**18"))
    assert load_workload(str(folder)).fingerprint() != before


def test_data_is_prepared_by_the_workloads_own_command_with_the_constants_written_in(folder: Path) -> None:
    (folder / "prepare.py").write_text(
        "import sys\nSIZE = 1\nprint('size', SIZE, sys.argv[1:])\nprint('---')\nprint('data_fingerprint: f', SIZE, sep='')\n"
    )
    said: list[str] = []
    assert load_workload(str(folder)).prepare_data({"SIZE": 5}, ["--num-shards", "4"], {}, said.append) == "f5"
    assert said[0] == "size 5 ['--num-shards', '4']"


def test_a_failing_preparation_is_one_line(folder: Path) -> None:
    (folder / "prepare.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(WorkloadError, match="exit code 3"):
        load_workload(str(folder)).prepare_data({}, [], {}, lambda line: None)


def test_a_script_that_prepares_nothing_has_no_prepare_command(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("X = 1\n")
    assert load_workload(str(tmp_path)).prepare_command == ()


def test_mistakes_in_workload_toml_are_reported_together(folder: Path) -> None:
    (folder / "workload.toml").write_text(
        "script = 'main.py'\nfiles = ['../*.py', 'train.py']\nmetrik = 'x'\ndirection = 'down'\n"
    )
    with pytest.raises(WorkloadError) as caught:
        load_workload(str(folder))
    assert len(caught.value.problems) == 4


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    assert "link.py" not in load_workload(str(folder)).files


def test_an_unknown_name_lists_ours() -> None:
    with pytest.raises(WorkloadError, match="gpt"):
        load_workload("nothing")


def test_line_endings_survive(folder: Path) -> None:
    (folder / "train.py").write_bytes(b"DEPTH = 8\r\nB = 1\r\n")
    assert load_workload(str(folder)).render({"DEPTH": 2})["train.py"] == "DEPTH = 2\r\nB = 1\r\n"


# --- what workload.toml says of a script that is not like autoresearch's ----------------------------------------------

CONFIGURED = """\
import sys
rate = 0.1
decay = 0.5
steps = 100
decay_twice = 1
width = 2 ** 4
exec(open('configurator.py').read())
"""
OVERRIDING = "rate = 0.3  # higher\ndecay_twice = 2\ndecay_twice = 3\nif True:\n    width = 8\n"


@pytest.fixture
def configured(folder: Path) -> Path:
    (folder / "train.py").write_text(CONFIGURED)
    (folder / "config").mkdir()
    (folder / "config" / "small.py").write_text(OVERRIDING)
    (folder / "data" / "texts").mkdir(parents=True)
    write(folder)
    return folder


def write(folder: Path, **changes: str) -> None:
    keys = {
        "files": '["train.py", "config/*.py"]',
        "overrides": '"config/small.py"',
        "command": '["{python}", "train.py", "config/small.py", "--steps=20"]',
        "metric": "{ name = 'val_loss', regex = 'val loss ([0-9.]+)', take = 'min' }",
        "progress": "{ regex = 'iter (?P<step>\\d+): loss (?P<loss>[0-9.eE+-]+)', total = 'steps * 2' }",
        "links": '["data/texts"]',
        **changes,
    }
    (folder / "workload.toml").write_text("".join(f"{key} = {value}\n" for key, value in keys.items() if value))


def problems(folder: Path) -> list[str]:
    with pytest.raises(WorkloadError) as caught:
        load_workload(str(folder))
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


def test_a_parameter_is_written_where_its_assignment_is_in_force(configured: Path) -> None:
    workload = load_workload(str(configured))
    assert workload.constants() == {"rate": 0.3, "decay": 0.5, "steps": 20}
    files = workload.render({"rate": 0.7, "decay": 0.9})
    assert files["config/small.py"].startswith("rate = 0.7  # higher\n")
    assert files["train.py"] == CONFIGURED.replace("decay = 0.5", "decay = 0.9")


def test_what_the_overrides_assign_in_another_way_cannot_be_written_into_the_script(configured: Path) -> None:
    lines = load_workload(str(configured)).problems(["decay_twice", "width"])
    assert len(lines) == 2
    assert "small.py: decay_twice: assigned 2 times" in lines[0]
    assert "small.py: width: line 5 is not a plain" in lines[1]


def test_a_flag_of_the_command_is_a_constant_and_no_parameter(configured: Path) -> None:
    (line,) = load_workload(str(configured)).problems(["steps"])
    assert "--steps in `command` would win" in line


def test_a_job_knows_its_metric_its_steps_and_its_data(configured: Path) -> None:
    job = load_workload(str(configured)).prepare(Suggestion(0, {"rate": 0.7}), {}, {}, Limits())
    assert job.metric == Metric("val_loss", "minimize", "val loss ([0-9.]+)", "min")
    assert job.progress == ProgressFormat(r"iter (?P<step>\d+): loss (?P<loss>[0-9.eE+-]+)", 40.0)
    assert job.links == {"data/texts": str((configured / "data" / "texts").resolve())}


def test_the_steps_of_a_run_follow_the_parameters(configured: Path) -> None:
    write(configured, command='["{python}", "train.py", "config/small.py"]')
    workload = load_workload(str(configured))
    assert workload.prepare(Suggestion(0, {"steps": 7}), {"steps": 5}, {}, Limits()).progress.total == 14.0
    assert workload.prepare(Suggestion(0, {"steps": 0}), {}, {}, Limits()).progress.total is None


def test_links_may_have_names_and_lie_anywhere(configured: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a corpus"
    elsewhere.mkdir()
    write(configured, links=f'{{ "data/web" = "{elsewhere}", "texts" = "data/texts" }}')
    here = str((configured / "data" / "texts").resolve())
    assert load_workload(str(configured)).links == {"data/web": str(elsewhere), "texts": here}
    write(configured, links=f'["{elsewhere}"]')
    assert load_workload(str(configured)).links == {"a corpus": str(elsewhere)}


def test_the_workloads_folder_has_a_word_in_commands(configured: Path) -> None:
    write(configured, command='["uv", "run", "--project", "{folder}", "train.py", "config/small.py"]')
    workload = load_workload(str(configured))
    job = workload.prepare(Suggestion(0, {}), {}, {}, Limits())
    assert job.command[3] == str(configured.resolve())
    assert workload.fingerprint() == load_workload(str(configured)).fingerprint()


def test_progress_may_be_said_to_be_none(configured: Path) -> None:
    write(configured, progress="false")
    assert load_workload(str(configured)).prepare(Suggestion(0, {}), {}, {}, Limits()).progress == ProgressFormat(
        none=True
    )


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("metric", "{ regex = 'val loss' }", "has no groups"),
        ("metric", "{ regex = 'val loss (' }", "not a regular expression"),
        ("metric", "{ regex = '(a+)+$' }", "takes too long"),
        ("metric", "{ name = 'val_loss', take = 'min' }", "is of lines that a regex finds. Add one"),
        ("metric", "{ regex = '(a)', take = 'best' }", "Use last, min, max"),
        ("metric", "{ regex = '(a)', names = 'x' }", "unknown key"),
        ("metric", '"two\\nlines"', "is not a name"),
        ("direction", '"down"', "Use minimize or maximize"),
        ("progress", "{ regex = 'iter' }", "no named group"),
        ("progress", "{ regex = 'iter (?P<step>.)', total = 'f(' }", "total"),
        ("progress", "'none'", "true or false"),
        ("overrides", '"config/other.py"', "not among `files`"),
        ("links", '["data/none"]', "there is no folder"),
        ("links", '["../elsewhere"]', "not a path inside"),
        ("links", '["data", "data/texts"]', "lies in another link"),
        ("links", '["data/texts", "data"]', "lies in another link"),
        ("links", '["config"]', "of `files` lies in it"),
        ("links", "[1]", "list of strings"),
    ],
)
def test_what_cannot_be_used_is_one_line(configured: Path, key: str, value: str, says: str) -> None:
    write(configured, **{key: value})
    (line,) = problems(configured)
    assert says in line
    assert key in line


def test_overrides_that_nobody_reads_are_refused(configured: Path) -> None:
    write(configured, command='["{python}", "train.py"]')
    assert "neither `command` nor a script names it" in problems(configured)[0]
    (configured / "train.py").write_text(CONFIGURED.replace("configurator.py", "config/small.py"))
    assert load_workload(str(configured)).constants()["rate"] == 0.3


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ('["no-such-program", "train.py"]', "no program no-such-program on this machine"),
        ('["./run.sh", "train.py"]', '["bash", "./run.sh"]'),
        ('["{python}", "main.py"]', "main.py does not exist"),
        ('["{folder}/missing", "train.py"]', "missing on this machine"),
    ],
)
def test_a_command_that_cannot_be_started_is_seen_before(configured: Path, command: str, says: str) -> None:
    write(configured, command=command, overrides="")
    (line,) = load_workload(str(configured)).unstartable("/usr/bin:/bin")
    assert says in line
    assert "command" in line


def test_commands_that_can_be_started_are_let_pass(configured: Path) -> None:
    write(
        configured,
        command='["sh", "-c", "{python} train.py"]',
        overrides="",
        prepare='["{python}", "data/texts/make.py"]',
    )
    assert load_workload(str(configured)).unstartable("/usr/bin:/bin") == []
    write(configured, command='["nvidia-only", "train.py"]', overrides="")
    assert load_workload(str(configured)).unstartable(None) == []


def test_a_table_with_a_name_alone_is_a_name(configured: Path) -> None:
    write(configured, metric="{ name = 'val_loss' }")
    assert load_workload(str(configured)).metric == Metric("val_loss")


def test_another_metric_or_another_way_to_read_it_is_another_study(configured: Path) -> None:
    path = configured / "space.toml"
    path.write_text("[parameters]\nrate = [0.1, 0.3]\n")
    space = load_space(str(path))
    workload = load_workload(str(configured))
    parts = fingerprint(workload, space, {}, "")
    assert parts["metric"] == "minimize val_loss, the min of val loss ([0-9.]+)"
    plain = replace(workload, metric=Metric("val_loss"))
    assert fingerprint(plain, space, {}, "")["metric"] == "minimize val_loss"


def test_the_script_that_a_trial_leaves_finds_its_data_and_keeps_every_word(configured: Path, tmp_path: Path) -> None:
    (configured / "data" / "texts" / "it's here.txt").touch()
    write(configured, command='["sh", "-c", "ls data/*; echo $0", "it\'s $HOME"]', overrides="")
    job = load_workload(str(configured)).prepare(Suggestion(0, {}), {}, {}, Limits())
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "run.sh").write_text(shell_script(job))
    for _ in range(2):  # the second time the link is there
        done = subprocess.run(["sh", "run.sh"], cwd=folder, capture_output=True, text=True, check=True)
        assert done.stdout == "it's here.txt\nit's $HOME\n"


def test_the_script_that_a_trial_leaves_runs_in_its_python_if_that_is_there(configured: Path) -> None:
    write(configured, command='["{python}", "-c", "import sys; print(sys.argv[1:])", "in {python}"]', overrides="")
    script = shell_script(load_workload(str(configured)).prepare(Suggestion(0, {}), {}, {}, Limits()))

    def run(text: str, **env: str) -> subprocess.CompletedProcess[str]:
        tools = {"PATH": f"{configured}:/usr/bin:/bin"}
        return subprocess.run(["sh", "-c", text], cwd=configured, env=tools | env, capture_output=True, text=True)

    (configured / "python3").write_text("#!/bin/sh\necho another\n")
    (configured / "python3").chmod(0o755)
    there = run(script)
    assert (there.stdout, there.stderr) == (f"['in {sys.executable}']\n", "")
    gone = run(script.replace(sys.executable, "/gone/python"))
    assert gone.stdout == "another\n"
    assert gone.stderr == "run.sh: /gone/python is not here: python3 is used. For another, begin with PYTHON=...\n"
    assert run(script, PYTHON="python3").stdout == "another\n"
    assert run(script, PYTHON="/gone/python").returncode == 127  # who names one is not given another


def test_an_empty_word_of_a_command_is_a_word_in_the_script_too(folder: Path) -> None:
    job = load_workload(str(folder)).prepare(Suggestion(0, {}), {}, {}, Limits())
    script = shell_script(replace(job, command=("echo", "--name", "", "end")))
    assert script.endswith("exec echo --name '' end\n")


def test_python_train_py_needs_no_script_to_be_repeated(folder: Path) -> None:
    assert shell_script(load_workload(str(folder)).prepare(Suggestion(0, {}), {}, {}, Limits())) == ""
