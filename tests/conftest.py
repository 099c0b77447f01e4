"""What several test files share: a tiny workload, a study over it that can be driven inline, and surroundings without surprises."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import Settings, load_settings
from optimize.executors.simulated import SimulatedExecutor
from optimize.study.callback import Callback
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.study.stored import find_study
from optimize.study.study import Study
from optimize.trial import Job, Outcome, Suggestion, TrialStatus
from storage import Database, StudyPaths, open_database
from tests.databases import empty_database

pytest_plugins = ["tests.gpt", "tests.postgres", "tests.replicating"]

# No test depends on speed: a busy machine draws examples slowly, and that is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# What the shell, the scheduler or the git hook that starts the tests may have set, and no test means: a database or a server
# to use instead, a proxy in front of the tests' own servers, another repository, a narrow, a coloured or a dumb terminal.
FOREIGN = re.compile(
    "OPTIMIZE_.*|OPENAI_.*|PG[A-Z]+|RAY_ADDRESS|MLFLOW_.*|GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX)|(?i:[a-z]+_proxy)"
    "|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|PYTHONWARNINGS|PYTHONIOENCODING|JPY_PARENT_PID|MPLBACKEND|GIT_PAGER|CLICOLOR_FORCE"
)


# Tests that share what is dear stay in one process each (`pytest -n auto --dist loadgroup`), and the longest begin first. A
# test belongs to the group of its own mark `xdist_group`, of a fixture below, or of its module where that shares a fixture.
GROUP_OF_FIXTURE = {"cluster": "ray", "text": "training", "postgres": "postgres"}
MEMORY, ROOM_BYTES = Path("/dev/shm"), 4_000_000_000  # temporary files lie there if they fit: SQLite waits for disks
FIRST = ("ray", "training", "notebook", "postgres", "slurm", "browser", "test_executors", "test_executors_forked")
WAITING = 1  # more processes than cores: the dear groups wait for servers, browsers and trials; with 2 all are slower


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    found = yield
    return found if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else found + WAITING


@pytest.fixture(autouse=True)
def as_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages show commands with the program and the flags that this process was started with: not those of pytest."""
    monkeypatch.setattr(sys, "argv", ["optimize"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    groups = {item: group_of(item) for item in items}
    items.sort(key=lambda item: turn(item, groups[item]))  # stable: within a group the order stays
    for item, group in groups.items():
        if group and config.getoption("loadgroup", False):
            item.add_marker(pytest.mark.xdist_group(group))
            # pytest-xdist 3.8 renames `_nodeid` for its scheduler, which pytest 9.2 reads no more
            if hasattr(item, "_id"):
                item._id = type(item._id).parse(f"{item.nodeid}@{group}")


def group_of(item: pytest.Item) -> str:
    if mark := item.get_closest_marker("xdist_group"):
        return str(mark.args[0])
    assert isinstance(item, pytest.Function)
    given = item.callspec.params if hasattr(item, "callspec") else {}
    for fixture, group in GROUP_OF_FIXTURE.items():
        if fixture in item.fixturenames and fixture not in given:
            return group
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return item.path.stem if any(each[-1].scope in ("class", "module") for each in fixtures) else ""


def turn(item: pytest.Item, group: str) -> tuple[int, bool]:
    return FIRST.index(group) if group in FIRST else len(FIRST), not item.get_closest_marker("slow")


def pytest_configure(config: pytest.Config) -> None:
    """Each process of the tests, and so all that they start, finds the same surroundings wherever they were started."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as in a trial: two threads on cores that others use are far slower than one
    config.option.loadscopereorder = False  # of pytest-xdist: `turn` says what comes first
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Ten lines that look like a training script from outside: constants, progress, a summary.
SCRIPT = """\
import sys
X = 4
Y = 0.5
PAIR = (0.8, 0.95)
SIZE = 8
for step in range(4):
    sys.stdout.write(f"\\rstep {step:05d} ({25 * (step + 1):.1f}%) | loss: {3 - step / 10:.6f} | remaining: {3 - step}s")
value = 1.0 + abs(X - 2) / 10 + abs(Y - 0.25) + PAIR[0] / 100
print(f"\\n---\\nval_bpb:          {value:.6f}\\nnum_steps:        4")
"""
SPACE = """\
[parameters]
X = [1, 2, 3, 4]
Y = [0.125, 0.25, 0.5, 1.0]
PAIR = [[0.8, 0.95], [0.9, 0.95]]

[[rules]]
rule = "SIZE % X == 0"
why = "the script halves its size"
"""


def val_bpb(params: Mapping[str, object]) -> float:
    """What SCRIPT prints for these parameters."""
    pair = params["PAIR"]
    assert isinstance(pair, tuple)
    return 1.0 + abs(float(str(params["X"])) - 2) / 10 + abs(float(str(params["Y"])) - 0.25) + float(pair[0]) / 100


def complete(job: Job) -> Outcome:
    value = val_bpb(job.params)
    curve = tuple((percent / 100, value + 1 - percent / 200) for percent in (10, 40, 70))
    return Outcome(TrialStatus.COMPLETE, 10.0, summary={"val_bpb": value}, log="a log\n", curve=curve)


@dataclass
class Told(Callback):
    """A watcher that remembers."""

    ended: list[tuple[int, str]] = field(default_factory=list)

    def on_trial_end(self, record) -> None:  # type: ignore[no-untyped-def]
        self.ended.append((record.number, record.status))


@dataclass
class Driver:
    """Opens the study of one folder as often as a test likes."""

    folder: Path
    settings: Settings
    kept: Path  # what `once` has made, for the tests of all processes
    said: list[str] = field(default_factory=list)
    data: str = "data"

    @property
    def paths(self) -> StudyPaths:
        return StudyPaths(self.settings.runs, self.settings.study)

    @property
    def plan(self) -> Plan:
        return make_plan(self.settings)

    def set(self, **changes: object) -> None:
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]

    @contextmanager
    def database(self) -> Iterator[Database]:
        self.paths.create()
        if not self.settings.storage and not self.paths.database.exists():
            empty_database(self.paths.root)
        with closing(open_database(self.settings.storage or self.paths.database)) as database:
            database.retry.say = self.said.append
            yield database

    @contextmanager
    def open(self) -> Iterator[Study]:
        with (
            self.database() as database,
            open_study(database, self.plan, self.data, self.said.append) as study,
        ):
            yield study

    def once(self, what: str, make: Callable[[], object]) -> None:
        """A `runs/` that many tests begin with: the first of them makes it, the others copy it, if script, space and settings
        are the same."""
        kept = self.kept / f"{what}-{self._digest()}"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making it
            if not kept.exists():
                make()
                shutil.copytree(self.settings.runs, kept.with_suffix(".part"))
                kept.with_suffix(".part").rename(kept)
                return
        shutil.copytree(kept, self.settings.runs)

    def _digest(self) -> str:
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        texts = [f"{path.relative_to(self.folder)} {path.read_bytes()!r}" for path in files]
        same = [*texts, repr(self.settings).replace(str(self.folder), "")]
        return hashlib.sha256("\n".join(same).encode()).hexdigest()[:16]

    def job(self, suggestion: Suggestion) -> Job:
        return self.plan.workload.prepare(suggestion, self.settings.constants, {}, self.settings.limits)

    def ask_to_stop(self, now: bool) -> str:
        """As `optimize stop` does from another terminal."""
        with self.database() as database:
            return find_study(database, self.settings.study, self.settings.runs).request_stop(now)

    def run(self, run: Callable[[Job], Outcome] = complete, slots: int = 1, **budget: object) -> tuple[str, Told]:
        """A whole call of the loop, trials taking no time; returns why it ended and what was told."""
        told, plan = Told(), self.plan

        def prepare(suggestion: Suggestion) -> Job:
            return plan.workload.prepare(suggestion, self.settings.constants, {}, self.settings.limits)

        with self.open() as study, StopSignals() as stop_signals:
            executor = SimulatedExecutor(run, slots)
            limits = Budget(**budget)  # type: ignore[arg-type]
            return Loop(study, executor, prepare, limits, (told,), stop_signals, tick_s=0).run(), told


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the tests of all processes share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def cache(once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `prepare.py` has made of the documentation is made once: it locks its cache itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(once / "cache"))
    return once / "cache"


@pytest.fixture
def driver(tmp_path: Path, once: Path) -> Driver:
    return make_driver(tmp_path, once)


def make_driver(folder: Path, kept: Path) -> Driver:
    workload = folder / "workload"
    workload.mkdir()
    (workload / "train.py").write_text(SCRIPT)
    (folder / "space.toml").write_text(SPACE)
    (folder / "profile.toml").write_text("executor = 'local'\n[slots]\ndevice = 'cpu'\n")
    flags = {
        "workload": str(workload),
        "search_space": str(folder / "space.toml"),
        "runs": folder / "runs",
        "study": "s",
        "sampler": "random",
        "pruning": False,  # trials end as their test says; test_pruner.py turns it on
    }
    settings = load_settings(str(folder / "profile.toml"), "a test", flags, {})
    return Driver(folder, settings, kept)
