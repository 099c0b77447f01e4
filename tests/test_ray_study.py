"""`optimize run` on clusters: real training on two raylets, one of which dies, and what is told before any trial."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from storage import TrialRecord, open_database, read_records
from tests.clusters import LocalCluster, local_cluster
from tests.forked import Forked, run_forked
from tests.zoo import command_of, eventually, living

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
ROOT = Path(__file__).parent.parent


def complaint(env: dict[str, str], *more: str, python: tuple[str, ...] = ()) -> str:
    """What `optimize run` says on a cluster that it cannot use: one line, before anything is made."""
    words = ["run", "--profile", "cpu", "--executor", "ray", *more]
    env, home = {**os.environ, **env}, env["HOME"]
    if python:
        argv = [*python, "-m", "optimize", *words]
        ended = subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, timeout=120)
    else:
        ended = run_forked(words, env=env, cwd=home)
    assert ended.returncode == 2, ended.stderr
    assert not (Path(home) / "runs").exists()
    return ended.stderr


def test_ray_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(next(p for p in sys.path if p.endswith("site-packages") and (Path(p) / "ray").exists())).iterdir():
        if not path.name.startswith("ray"):
            (packages / path.name).symlink_to(path)
    env = {"HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{packages}"}
    said = complaint(env, python=(sys.executable, "-S"))
    install = (
        f"{shlex.quote(sys.executable)} -m pip install -c {shlex.quote(str(ROOT / 'constraints.txt'))} 'ray>=2.60,<3'"
    )
    assert said == f"executor ray: Ray is not installed here. Run `{install}`\n"


def test_a_cluster_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "127.0.0.2:1"}
    said = complaint(env)
    assert said.startswith("executor ray: 127.0.0.2:1 cannot be reached: Connection refused. Start one with `")
    assert "ray start --head`" in said
    assert said.count("\n") == 1


def test_no_cluster_at_all_is_one_line(tmp_path: Path) -> None:
    if any(b"gcs_server" in command_of(process) for process in Path("/proc").iterdir()):
        pytest.skip("somebody's Ray cluster is running on this machine, and would be found")
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "", "RAY_TMPDIR": str(tmp_path)}
    assert re.match("executor ray: no cluster is running here. Start one with `.*ray start --head`", complaint(env))


def test_what_a_cluster_cannot_do_is_told_before_it_is_asked_for(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "127.0.0.2:1"}
    assert complaint(env, "--gpus", "0").startswith("--gpus: on a cluster Ray says which GPU a trial gets.")


WATCHED = """
import os, runpy, sys, time
from pathlib import Path

home, lines = Path.home(), {line.partition("#")[0].strip() for line in open("train.py")}
baseline = {"MATRIX_LR = 0.02", "DEPTH = 2"} <= lines
seen, report = set(), os.open(home / "opened", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename") and isinstance(arguments[0], str | bytes):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path not in seen:
            seen.add(path)
            os.write(report, f"{path}\\n".encode())
            if "/.cache/" in path:
                hold()
def hold():
    while os.path.exists(home / "hold") and not baseline:
        os.close(os.open(home / "held", os.O_CREAT | os.O_WRONLY))
        time.sleep(0.1)
def leave(code, leave=os._exit):
    hold()
    leave(code)
sys.addaudithook(watch)
os._exit = leave
os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # the cluster's GPUs are none, and train.py would insist on one
runpy.run_path("train.py", run_name="__main__")
"""
PROFILE = """
workload = "./watched/"
search_space = "./space.toml"
executor = "ray"
trials = 6
[slots]
device = "cuda"
[constants]
DATA_SOURCE = "~/texts"
FLOP_BUDGET = 20_000_000_000
VOCAB_SIZE = 320
MAX_SEQ_LEN = 32
EVAL_TOKENS = 1990
DEPTH = 2
ASPECT_RATIO = 32
HEAD_DIM = 32
WINDOW_PATTERN = "SL"
TOTAL_BATCH_SIZE = 512
DEVICE_BATCH_SIZE = 8
MATRIX_LR = 0.02
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One node with two GPUs that are none; this process's environment leads to it."""
    with local_cluster(tmp_path_factory.mktemp("cluster")) as found, pytest.MonkeyPatch.context() as patch:
        found.add(cpus=2, gpus=2)
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def driver(cluster: LocalCluster) -> Path:
    """A home for a driver: its folder, its texts, our own scripts with a lookout for every file that they open."""
    folder = cluster.place / "driver"
    watched = folder / "watched"
    watched.mkdir(parents=True)
    for name in ("train.py", "prepare.py"):
        (watched / name).write_bytes((ROOT / "optimize" / "workloads" / "gpt" / name).read_bytes())
    (watched / "watched.py").write_text(WATCHED)
    (watched / "workload.toml").write_text('command = ["{python}", "watched.py"]\n')
    (folder / "profile.toml").write_text(PROFILE)
    (folder / "space.toml").write_text("[parameters]\nMATRIX_LR = [0.01, 0.02, 0.03, 0.04]\nDEPTH = [1, 2]\n")
    write_texts(folder)
    write_texts(cluster.place / "node-1" / "home")
    return folder


def write_texts(home: Path, seed: int = 0) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(60)]
    (home / "texts").mkdir(parents=True)
    for number in range(8):
        lines = [" ".join(draw.choices(words, range(60), k=9)) + "." for _ in range(500)]
        (home / "texts" / f"{number}.txt").write_text("\n<|endoftext|>\n".join(lines))


def start_study(driver: Path, name: str) -> subprocess.Popen[str]:
    pipe, words = subprocess.PIPE, ["run", "--profile", "./profile.toml", "--study", name, "--trust"]
    env = {**os.environ, "HOME": str(driver), "PYTHONPATH": str(ROOT)}
    env = {name: value for name, value in env.items() if not name.startswith("XDG_")}
    return Forked(words, cwd=driver, env=env, stdout=pipe, stderr=pipe)


def test_a_study_of_real_training_on_two_nodes_survives_the_death_of_one(cluster: LocalCluster, driver: Path) -> None:
    """Every node has a HOME, data, a temp folder and a working folder of its own, and none sees the driver's."""
    first, second = cluster.place / "node-1", cluster.add(cpus=1, gpus=1)
    write_texts(second / "home")
    for node in (first, second):
        (node / "home" / "hold").touch()  # only the baseline goes on, so that every slot has a trial when a node dies
    with start_study(driver, "real") as running:
        held = second / "home" / "held"
        assert eventually(lambda: held.exists() or running.poll() is not None, 300.0)
        os.kill(cluster.raylet(second), signal.SIGKILL)
        (first / "home" / "hold").unlink()
        shown, said = running.communicate(timeout=400)
    assert running.returncode == 0, said
    records = records_of(driver, "real")
    complete = [record for record in records if record.state == "COMPLETE"]
    lost = [
        record for record in records if record.state != "COMPLETE"
    ]  # perhaps once more before the death was noticed
    assert lost, (held.exists(), [(record.slot, record.kind) for record in records], said)
    assert {(record.status, record.slot) for record in lost} == {("lost", f"{second.name}/gpu:0")}
    for record in lost:
        (again,) = (other for other in complete if other.params == record.params)
        assert again.slot.partition(":")[0] == "node-1/gpu"
    assert len(complete) == 6
    assert all(record.curve and record.value for record in complete)
    assert len({record.summary["data_fingerprint"] for record in complete}) == 1
    assert (driver / "runs" / "real" / "best" / "train.py").exists()
    assert "(raylet)" not in shown + said
    assert f"node {second.name}: gone" in said
    for node in (first, second):
        opened = (node / "home" / "opened").read_text().splitlines()
        assert any(path.startswith(f"{node}/home/.cache/") for path in opened)
        assert any(path.startswith(f"{node}/temp/") for path in opened)
        assert not [path for path in opened if path.startswith(str(driver))]
    assert eventually(lambda: living(second) == [])


def test_a_node_with_another_torch_or_other_data_is_an_error_before_any_trial(
    cluster: LocalCluster, driver: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "torch-2.9.1.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.1\n")
    other_torch, other_texts = cluster.add(gpus=1, PYTHONPATH=str(tmp_path)), cluster.add(gpus=1)
    write_texts(other_texts / "home", seed=1)
    try:
        with start_study(driver, "mixed") as running:
            said = running.communicate(timeout=300)[1]
    finally:
        for folder in (other_torch, other_texts):
            os.kill(cluster.raylet(folder), signal.SIGKILL)
    assert running.returncode == 2, said
    here = version("torch").partition("+")[0]
    assert f"\nnode {other_torch.name}: it has torch 2.9.1, this machine has {here}. Install" in said
    assert f"\nnode {other_texts.name}: its data has the fingerprint " in said
    assert {record.state for record in records_of(driver, "mixed")} == {"WAITING"}


def records_of(driver: Path, study: str) -> list[TrialRecord]:
    with closing(open_database(driver / "runs" / "optuna.db")) as database:
        study_id = database.find_study(study)
        assert study_id is not None
        return read_records(database, study_id)
