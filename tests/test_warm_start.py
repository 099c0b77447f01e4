"""Forked trials: they find and do what started ones do, nothing reaches the zygote, and when there is no fork."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimize.executors.local import LocalExecutor
from optimize.runner.process_tree import MARK, ZYGOTE, can_spare_children, kill_orphans
from optimize.trial import Job, Limits, Outcome, Progress, Slot, TrialStatus
from tests.zoo import as_preloaded, children_of, endings, eventually, guardians_of, is_zygote, living, zoo_job

pytestmark = [
    pytest.mark.slow,  # real processes
    pytest.mark.skipif(not can_spare_children(), reason="forks are for Linux"),
]

SUMMARY = "print('---\\nval_bpb: 1.5')\n"
FACTS = """\
import gc, json, os, resource, signal, sys, threading
known = sorted(globals())
facts = {
    "name": __name__, "file": __file__, "spec": repr(__spec__), "loader": type(__loader__).__name__, "known": known,
    "package": __package__, "doc": __doc__, "builtins": type(__builtins__).__name__,
    "is main": sys.modules["__main__"].__dict__ is globals(), "ours": [m for m in sys.modules if "optimize" in m],
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": str(sys.flags), "folder": os.getcwd(),
    "environment": sorted(os.environ.items()), "descriptors": sorted(os.listdir("/proc/self/fd")),
    "standard files": [os.readlink(f"/proc/self/fd/{i}").split(":")[0] for i in range(3)],
    "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
    "comm": open("/proc/self/comm").read(),
    "threads": [t.name for t in threading.enumerate()], "children": open("/proc/thread-self/children").read(),
    "signals": {s.name: str(signal.getsignal(s)) for s in signal.valid_signals() if isinstance(s, signal.Signals)},
    "mask": [str(s) for s in signal.pthread_sigmask(0, [])], "nice": os.nice(0), "umask": os.umask(0o22),
    "limits": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")],
    "streams": [[repr(s), s.line_buffering, s.write_through] for s in (sys.stdin, sys.stdout, sys.stderr)],
    "gc": [gc.isenabled(), gc.get_threshold()], "cores": sorted(os.sched_getaffinity(0)), "hook": str(sys.displayhook),
}
print("FACTS " + json.dumps(facts))
"""
ENDS = {
    "an error in a function": "def f():\n    raise ValueError('no')\nf()\n",
    "an error with a cause": "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k') from e\n",
    "an error before the first line": "print('a'\n",
    "an exit code": "import sys\nsys.exit(3)\n",
    "an exit with last words": "import sys\nsys.exit('enough')\n",
    "an exit in the middle": "import os\nprint('a')\nos._exit(4)\n",
    "a Ctrl-C": "raise KeyboardInterrupt\n",
    "what is to be done at the end": "import atexit\natexit.register(print, 'at the end')\n" + SUMMARY,
    "a thread that goes on": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('later'))).start()\n" + SUMMARY,
    "a hook of its own": "import sys\nsys.excepthook = lambda *a: print('hook', a[0])\nraise ValueError\n",
    "a file beside it": "import beside\nprint(beside.__file__)\n" + SUMMARY,
    "children of multiprocessing": "import multiprocessing\n"
    "def f(x):\n    return x * x\n"
    "if __name__ == '__main__':\n"
    "    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(f, [1, 2, 3]))\n"
    "    with multiprocessing.get_context('fork').Pool(1) as pool: print(pool.map(f, [1, 2, 3]))\n"
    "    " + SUMMARY,
    "a pickle of its own class": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))\n"
    + SUMMARY,
    "its own source": "import inspect\ndef f(): return 1\nprint(inspect.getsource(f))\n" + SUMMARY,
}


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor([Slot("a", {"SLOT": "a"})], tmp_path / "work") as executor:
        yield executor
    assert living(tmp_path) == []


def job(text: str, number: int = 0, **changes: Any) -> Job:
    """A script of this text, to be forked."""
    files = {"train.py": text, "beside.py": ""}
    return replace(as_preloaded(zoo_job("ok", number=number)), files=files, **changes)


def outcome_of(executor: LocalExecutor, job: Job) -> Outcome:
    executor.submit(job)
    return endings(executor)[0].outcome


def is_forked(executor: LocalExecutor, **changes: Any) -> bool:
    text = "import sys; print('PRELOADED', 'decimal' in sys.modules)\n" + SUMMARY
    outcome = outcome_of(executor, job(text, **changes))
    assert outcome.status is TrialStatus.COMPLETE
    return "PRELOADED True" in outcome.log


def zygotes() -> list[int]:
    return [
        child
        for guardian in guardians_of(os.getpid())
        for child in children_of(guardian)
        if is_zygote(Path(f"/proc/{child}"))
    ]


# --- like a started one-----------------------------------------------------------------------------------------------


def test_a_forked_script_finds_what_a_started_one_finds(executor: LocalExecutor) -> None:
    found = []
    for preload in ((), ("decimal",), ("decimal",)):
        changes = {"preload": preload, "command": ("{python}", "train.py", "--flag", "a b", "é")}
        log = outcome_of(executor, job(FACTS + SUMMARY, **changes)).log
        found.append(json.loads(log.partition("FACTS ")[2].splitlines()[0]))
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert is_forked(executor)


@pytest.mark.parametrize("what", ENDS)
def test_a_forked_script_ends_as_a_started_one_does(executor: LocalExecutor, tmp_path: Path, what: str) -> None:
    ends = []
    for preload in ((), ("decimal",)):
        outcome = outcome_of(executor, job(ENDS[what], number=7, preload=preload))
        record = json.loads((tmp_path / "work" / "7" / "exit.json").read_text())
        ends.append((replace(outcome, seconds=0.0), record["exit"]))
    assert ends[1] == ends[0]
    assert is_forked(executor)


def test_random_numbers_differ_from_trial_to_trial(executor: LocalExecutor) -> None:
    text = "import random, numpy.random as n, uuid, tempfile\n"
    text += "print(random.random(), n.random(), uuid.uuid4(), tempfile.mktemp())\n" + SUMMARY
    env = {"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"}  # as in every slot: without it numpy starts threads
    both = {"preload": ("random", "numpy.random", "uuid", "tempfile"), "env": env}
    first, second = (outcome_of(executor, job(text, **both)).log.split() for _ in range(2))
    assert "[preload:" not in first
    assert not set(first[:4]) & set(second[:4])


# --- nothing reaches the zygote ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["segfault", "exits_by_sigkill", "crash", "hidden_daemon", "double_fork", "hang"])
def test_whatever_becomes_of_a_trial_the_same_zygote_forks_the_next(executor: LocalExecutor, script: str) -> None:
    assert is_forked(executor)
    before, guardians = zygotes(), guardians_of(os.getpid())
    assert len(before) == 1
    outcome_of(executor, as_preloaded(zoo_job(script, number=1, limits=Limits(total_s=0.5, grace_s=0.2))))
    assert is_forked(executor)
    assert (zygotes(), guardians_of(os.getpid())) == (before, guardians)


def test_a_daemon_of_a_forked_trial_is_found_when_its_guardian_is_gone(executor: LocalExecutor, tmp_path: Path) -> None:
    """It never executed a program, so that its environment is the zygote's, and nothing but init is its parent."""
    executor.submit(as_preloaded(zoo_job("double_fork", number=1)))
    while not any(isinstance(event, Progress) for event in executor.wait(60.0)):
        pass
    assert len(living(tmp_path)) == 2
    (guardian,), (zygote,) = guardians_of(os.getpid()), zygotes()
    os.kill(guardian, signal.SIGKILL)
    assert eventually(lambda: len(living(tmp_path)) == 1 and not Path(f"/proc/{zygote}").exists())
    kill_orphans(tmp_path / "work" / "1")
    assert living(tmp_path) == []
    endings(executor)


def test_a_script_cannot_name_another_trial_as_its_zygote(tmp_path: Path) -> None:
    folder, other = tmp_path / "7", tmp_path / "8"
    folder.mkdir()
    (folder / ZYGOTE).write_text(str(other))
    command = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    with subprocess.Popen(command, env={MARK: str(other)}) as neighbour:
        kill_orphans(folder)
        assert neighbour.poll() is None
        neighbour.kill()


def test_a_guardian_that_is_killed_takes_trial_and_zygote_along(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(as_preloaded(zoo_job("ignores_sigterm", number=1)))
    while not any(isinstance(event, Progress) for event in executor.wait(60.0)):
        pass
    (guardian,), (zygote,) = guardians_of(os.getpid()), zygotes()
    os.kill(guardian, signal.SIGKILL)
    assert eventually(lambda: living(tmp_path) == [] and not Path(f"/proc/{zygote}").exists())
    assert endings(executor)[0].outcome.status is TrialStatus.LOST
    assert is_forked(executor, number=2)


def test_a_zygote_that_is_killed_is_replaced_and_its_trial_goes_on(executor: LocalExecutor) -> None:
    executor.submit(as_preloaded(zoo_job("slow_ok", "0.3", number=1)))
    while not any(isinstance(event, Progress) for event in executor.wait(60.0)):
        pass
    (before,) = zygotes()
    os.kill(before, signal.SIGKILL)
    assert endings(executor)[0].outcome.status is TrialStatus.COMPLETE
    assert is_forked(executor, number=2)
    assert zygotes() != [before]


def test_a_zygote_that_does_not_answer_is_ended_and_the_trial_started_without(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    """A module that stops the process at its first fork: what is asked for then never comes."""
    (tmp_path / "stopper.py").write_text(
        "import os, signal\nos.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    env = {"PATH": os.defpath, "PYTHONPATH": str(tmp_path)}
    for number in range(4):  # after three such there is no further attempt
        outcome = outcome_of(executor, job(SUMMARY, number=number, preload=("stopper",), env=env))
        assert outcome.status is TrialStatus.COMPLETE
        assert zygotes() == []
    assert "[preload: " in outcome.log
    assert "could not fork" in outcome.log


# --- when there is no fork --------------------------------------------------------------------------------------------


def test_another_environment_command_or_module_is_started_the_ordinary_way(executor: LocalExecutor) -> None:
    assert is_forked(executor)
    assert not is_forked(executor, env={"PATH": os.defpath, "OTHER": "1"})
    assert not is_forked(executor, command=("{python}", "-S", "train.py"))
    assert not is_forked(executor, command=("env", "{python}", "train.py"))
    assert not is_forked(executor, preload=("json",))
    assert not is_forked(executor, preload=())
    assert is_forked(executor)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import a_module_that_nobody_has", "No module named 'a_module_that_nobody_has'"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=[3600], daemon=True).start()", "starts thr"),
        ("raise SystemExit(1)", "SystemExit: 1"),
    ],
)
def test_what_cannot_be_preloaded_is_said_in_the_log(
    executor: LocalExecutor, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "module.py").write_text(text)
    env = {"PATH": os.defpath, "PYTHONPATH": str(tmp_path)}
    for number in range(2):
        outcome = outcome_of(executor, job(SUMMARY, number=number, preload=("module",), env=env))
        assert (outcome.status, outcome.summary) == (TrialStatus.COMPLETE, {"val_bpb": 1.5})
        assert outcome.log.startswith("[preload: ")
        assert says in outcome.log
        assert zygotes() == []


def test_a_stop_request_is_followed_while_the_modules_load(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(3600)")
    env = {"PATH": os.defpath, "PYTHONPATH": str(tmp_path)}
    executor.submit(job(SUMMARY, number=1, preload=("slow",), env=env))
    assert eventually(zygotes)
    executor.cancel(1, TrialStatus.CANCELLED, "enough")
    outcome = endings(executor)[0].outcome
    assert (outcome.status, outcome.reason, outcome.log) == (TrialStatus.CANCELLED, "enough", "")


def test_a_driver_that_goes_while_the_modules_load_leaves_nothing(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(3600)")
    env = {"PATH": os.defpath, "PYTHONPATH": str(tmp_path)}
    executor.submit(job(SUMMARY, number=1, preload=("slow",), env=env))
    assert eventually(zygotes)
    (zygote,) = zygotes()
    executor.__exit__(None, None, None)
    assert eventually(lambda: not Path(f"/proc/{zygote}").exists())
    executor.__enter__()
