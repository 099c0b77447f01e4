"""`optimize autoresearch`: a folder that a study can begin with, whole or not there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.errors import OptimizeError, WorkloadError
from optimize.script.devices import needs_cuda
from optimize.script.load_workload import load_workload
from optimize.transfer.archive import scratch_folder
from optimize.transfer.autoresearch import set_up
from search_spaces import SearchSpaceError, load_space
from storage import StorageError
from tests.forked import run_forked

ROOT = Path(__file__).parent.parent
REPLICA = Path(__file__).parent / "replicas" / "macos"
# What upstream has where the macOS fork has a smaller one.
UPSTREAM = (
    ("2**16", "2**19"),
    ("DEPTH = 4", "DEPTH = 8"),
    ("DEVICE_BATCH_SIZE = 16", "DEVICE_BATCH_SIZE = 128"),
    ('"L"', '"SSSL"'),
)

# A call that dies when everything is written, but for its name.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_autoresearch import begin
sys.addaudithook(lambda event, args: event == "os.rename" and args[1] == sys.argv[2] and os.kill(os.getpid(), signal.SIGKILL))
begin(Path(sys.argv[1]), Path(sys.argv[2]))
"""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A repository of autoresearch's form with two commits, of which the second is broken."""
    folder = tmp_path / "a mirror"
    shutil.copytree(REPLICA, folder)
    text = (folder / "train.py").read_text()
    for fork, upstream in UPSTREAM:
        assert fork in text
        text = text.replace(fork, upstream, 1)
    (folder / "train.py").write_text(
        f'{text}\ndef device():\n    return torch.device("cuda")\n'.replace('"cpu"', '"cuda"')
    )
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "as it is")
    git(folder, "rm", "--quiet", "train.py")
    git(folder, "commit", "--quiet", "-m", "broken")
    return folder


def begin(
    mirror: Path, folder: Path, profile: str = "h100", commit: str = "HEAD~1", with_uv: bool = False
) -> list[str]:
    settings = load_settings(profile, "a test", {"workload": str(folder)}, {**os.environ})
    return set_up(settings, folder, str(mirror), commit, with_uv)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("profile", ["h100", "gpu", "colab", "cpu"])
def test_a_study_can_begin_with_the_folder_in_every_profile(profile: str, mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    lines = begin(mirror, folder, profile)
    flags = {"workload": str(folder), "search_space": str(folder / "space.toml")}
    plan = make_plan(load_settings(profile, "a test", flags, {**os.environ}))
    assert plan.workload.metric.name == "val_bpb"
    assert [each.name for each in plan.workload.derived] == ["model_dim"]
    assert plan.constants["TIME_BUDGET"] in (120, 300)
    assert (
        lines[-1] == f"next: optimize run --workload {folder} --space {folder}/space.toml --profile {profile} --trust"
    )
    assert any("NVIDIA GPU only" in line for line in lines) == (profile == "cpu")


@pytest.mark.parametrize(
    ("line", "only"),
    [
        ('device = torch.device("cuda")', True),
        ("model = model.cuda()", True),
        ('x = torch.zeros(3, device="cuda:0")', True),
        ('step = torch.tensor(0.0, device="cpu"); device = torch.device("cuda")', True),  # as in karpathy's optimizer
        ('device = torch.device("cuda"); y = x.to("cpu"); z = torch.load("z", map_location="cpu")', True),
        ('if not torch.cuda.is_available(): raise SystemExit\ndevice = torch.device("cuda")', True),
        ('device = torch.device("cuda" if torch.cuda.is_available() else "cpu")', False),
        ('kind = "cuda" if cuda else "mps" if mps else "cpu"; device = torch.device(kind)', False),
        ('device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")', False),
        ('device = torch.device("cpu")  # was torch.device("cuda")', False),
        ('"""Once torch.device("cuda")."""', False),
        ("device = torch.device(args.device)", False),
        ("import mlx.core as mx", False),
    ],
)
def test_a_fork_for_other_devices_is_told_from_one_for_nvidia_only(line: str, only: bool) -> None:
    assert needs_cuda(line) == only


def test_a_wrong_space_in_the_profile_is_said_of_the_space_before_anything_is_cloned(
    mirror: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text("search_space = './no/space.toml'\n")
    before = left(tmp_path)
    with pytest.raises(SearchSpaceError) as caught:
        begin(Path("/no/mirror"), tmp_path / "mine", str(profile))
    assert caught.value.problems == (f"{tmp_path}/no/space.toml: does not exist. Check the path.",)
    assert left(tmp_path) == before


def test_an_error_of_the_system_names_the_file_that_failed(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for failed, named in ((tmp_path / "file" / "x", tmp_path / "file" / "x"), (None, tmp_path)):
        with pytest.raises(StorageError) as caught, scratch_folder(tmp_path, "mine") as scratch:
            (failed or scratch / "no" / "file").read_bytes()
        assert str(caught.value).startswith(f"{named}: ")
    assert left(tmp_path) == ["a mirror", "file"]


def test_the_scripts_are_those_of_the_commit_and_git_sees_no_change(mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    begin(mirror, folder)
    assert (folder / "train.py").read_bytes() == git(mirror, "show", "HEAD~1:train.py").encode() + b"\n"
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "rev-parse", "HEAD") == git(mirror, "rev-parse", "HEAD~1")


def test_the_goal_says_what_is_tuned_for_how_long_and_how_to_begin(mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    begin(mirror, folder, "colab")
    goal = (folder / "GOAL.md").read_text()
    commit = git(mirror, "rev-parse", "--short", "HEAD~1")
    for said in ("lowest val_bpb", "`DEPTH = 4`", "TIME_BUDGET = 120", "900 s", "until you stop it", "--trust", commit):
        assert said in goal
    assert "$" not in goal


def test_uv_runs_in_the_checkouts_environment(mirror: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\n")
    (tools / "uv").chmod(0o755)
    folder = tmp_path / "mine"
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{tools}:{path}"
    try:
        begin(mirror, folder, with_uv=True)
    finally:
        os.environ["PATH"] = path
    workload = load_workload(str(folder))
    assert workload.command == ("uv", "run", "--project", "{folder}", "--no-sync", "train.py")
    assert workload.prepare_command == ("uv", "run", "--project", "{folder}", "prepare.py")


def test_what_a_call_that_was_killed_has_left_goes_with_the_next(mirror: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(mirror), str(tmp_path / "mine")]
    killed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(left(tmp_path)) == 2  # the mirror, and what was made beside
    begin(mirror, tmp_path / "mine")
    assert left(tmp_path) == ["a mirror", "mine"]


@pytest.mark.parametrize("there", ["a file", "an empty folder", "a link to nowhere"])
def test_what_is_there_is_left_alone(there: str, mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    if there == "a file":
        folder.write_text("precious")
    elif there == "an empty folder":
        folder.mkdir()
    else:
        folder.symlink_to("/not/there")
    before = left(tmp_path)
    with pytest.raises(WorkloadError, match="exists already"):
        begin(mirror, folder)
    assert left(tmp_path) == before


@pytest.mark.parametrize(
    ("source", "commit", "folder", "says"),
    [
        ("no mirror", "HEAD", "mine", "no mirror"),
        ("a mirror", "0" * 40, "mine", "Check the address"),
        ("a mirror", "--upload-pack=x", "mine", "not a commit"),
        ("a mirror", "-f", "mine", "not a commit"),
        ("--upload-pack=touch x", "HEAD", "mine", "Check the address"),
        ("ext::sh -c touch% x", "HEAD", "mine", "Check the address"),
        ("a mirror", "HEAD", "mine", "has no train.py"),
        ("a mirror", "HEAD~1", "no folder/mine", "there is no folder"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    source: str, commit: str, folder: str, says: str, mirror: Path, tmp_path: Path
) -> None:
    before = left(tmp_path)
    where = source if source.startswith(("--", "ext")) else str(tmp_path / source)
    with pytest.raises(WorkloadError) as caught:
        begin(Path(where), tmp_path / folder, commit=commit)
    (line,) = caught.value.problems
    assert says in line
    assert "\n" not in line
    assert left(tmp_path) == before


def test_a_fork_that_the_space_does_not_fit_is_refused_in_its_own_name(mirror: Path, tmp_path: Path) -> None:
    git(mirror, "revert", "--no-edit", "HEAD")
    train = mirror / "train.py"
    train.write_text(train.read_text().replace("MATRIX_LR", "MUON_LR"))
    git(mirror, "commit", "--quiet", "-am", "another name")
    folder, before = tmp_path / "mine", left(tmp_path)
    with pytest.raises(OptimizeError) as caught:
        begin(mirror, folder, commit="HEAD")
    assert any(f"{folder}/space.toml" in line and "MATRIX_LR" in line for line in caught.value.problems)
    assert left(tmp_path) == before


@pytest.fixture
def rtx(tmp_path: Path) -> Path:
    """A repository of the form of the fork for RTX cards."""
    folder = tmp_path / "rtx"
    shutil.copytree(REPLICA.parent / "rtx", folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "as it is")
    return folder


def test_a_fork_that_chooses_its_batch_gets_a_space_without_it(rtx: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    lines = begin(rtx, folder, "gpu", "HEAD")
    flags = {"workload": str(folder), "search_space": str(folder / "space.toml")}
    plan = make_plan(load_settings("gpu", "a test", flags, {**os.environ}))
    assert plan.space.names == load_space("rtx").names
    assert plan.workload.memory is None
    assert [line for line in lines if line.endswith("does not vary DEVICE_BATCH_SIZE")]


def test_where_another_space_varies_it_a_line_says_what_to_take_out(rtx: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (line,) = [line for line in begin(rtx, folder, "colab", "HEAD") if "chooses its device batch" in line]
    assert f"Take DEVICE_BATCH_SIZE and its rule out of {folder}/space.toml" in line


def test_autoresearch_itself_keeps_its_batch_and_its_memory(mirror: Path, tmp_path: Path) -> None:
    lines = begin(mirror, tmp_path / "mine", "gpu")
    assert not [line for line in lines if "chooses its device batch" in line]
    assert "DEVICE_BATCH_SIZE" in (tmp_path / "mine" / "space.toml").read_text()
    assert load_workload(str(tmp_path / "mine")).memory is not None


@pytest.mark.slow
def test_from_nothing_to_a_best_by_the_commands_that_it_prints(mirror: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "300"}

    def optimize(*words: str) -> subprocess.CompletedProcess[str]:
        return run_forked(words, cwd=tmp_path, env=env, timeout=600)

    made = optimize("autoresearch", "mine", "--from", str(mirror), "--commit", "HEAD~1", "--profile", "cpu", "--no-uv")
    assert made.returncode == 0, made.stderr
    command = next(line for line in made.stderr.splitlines() if line.startswith("next: optimize "))
    ran = optimize(*command.split()[2:], "--trials", "3", "--slots", "1")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "runs" / "mine-cpu" / "best" / "train.py").exists()
    newest = optimize("autoresearch", "newest", "--from", str(mirror), "--profile", "cpu")
    assert newest.returncode == 2
    assert (
        "228791" not in newest.stderr
    )  # the commit of karpathy's repository that was tried is not looked for in another
    again = optimize("autoresearch", "mine", "--from", str(mirror))
    assert again.returncode == 2
    assert again.stderr == "mine: exists already. Name a new folder, or remove this one.\n"
