"""A guardian by itself, as a process that is spoken to in lines of JSON."""

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

from optimize.executors.guardian import decode, encode, job_from_json, job_to_json
from optimize.runner.workdir import read_outcome
from optimize.trial import Job, Limits, Metric, TrialStatus
from tests.zoo import eventually, living, zoo_job

pytestmark = pytest.mark.slow  # real processes

ROOT = Path(__file__).parent.parent
Message = dict[str, Any]


class Guardian:
    """The driver's side of it, as plain as can be."""

    def __init__(self, work: Path) -> None:
        command = [sys.executable, "-S", "-m", "optimize.executors.guardian"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self.work = work

    def say(self, *messages: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(map(encode, messages)))
        self.process.stdin.flush()

    def read(self) -> Message:
        assert self.process.stdout is not None
        return decode(self.process.stdout.readline())

    def read_until(self, kind: str) -> Message:
        while kind not in (message := self.read()):
            pass
        return message

    def job(self, job: Job) -> Message:
        folder = str(self.work / str(job.number))
        return {"job": job_to_json(job), "folder": folder, "slot": {"name": "a", "env": {}, "device": "cpu"}}

    def stop(self, number: int) -> Message:
        return {"stop": {"number": number, "status": "hopeless", "reason": "because"}}

    def status_of(self, job: Job) -> str:
        self.say(self.job(job))
        return str(self.read_until("outcome")["outcome"]["status"])


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[Guardian]:
    guardian = Guardian(tmp_path)
    assert guardian.read() == {"ready": guardian.process.pid}
    with guardian.process:
        yield guardian
        assert guardian.process.stdin is not None
        guardian.process.stdin.close()
        assert guardian.process.wait(60.0) in (0, -signal.SIGKILL)
    assert living(tmp_path) == []


def test_it_ends_when_its_driver_has_gone_and_says_nothing(guardian: Guardian) -> None:
    assert guardian.process.stdin is not None
    guardian.process.stdin.close()
    assert guardian.process.wait(60.0) == 0
    assert guardian.process.stdout is not None
    assert guardian.process.stdout.read() == b""


def test_it_imports_nothing_but_the_standard_library_and_starts_without_site_packages() -> None:
    code = "import optimize.executors.guardian, sys; print(any('site-packages' in path for path in sys.path))"
    answer = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_but_sigkill_ends_it(guardian: Guardian, number: int) -> None:
    os.kill(guardian.process.pid, number)
    assert guardian.status_of(zoo_job("ok", number=1)) == "complete"
    guardian.say(guardian.job(zoo_job("slow_ok", "0.2", number=2)))
    guardian.read_until("progress")
    os.kill(guardian.process.pid, number)
    assert guardian.read_until("outcome")["outcome"]["status"] == "complete"


@pytest.mark.parametrize("ends", ["", "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"])
def test_sigterm_to_all_processes_is_not_the_scripts_fault(guardian: Guardian, ends: str) -> None:
    job = zoo_job("slow_ok", "600", number=1)
    guardian.say(guardian.job(replace(job, files={"train.py": ends + job.files["train.py"]})))
    guardian.read_until("progress")
    (script,) = living(guardian.work)
    os.kill(int(script.split()[0]), signal.SIGTERM)
    os.kill(guardian.process.pid, signal.SIGTERM)
    assert guardian.read_until("outcome")["outcome"]["status"] == "cancelled"
    left = read_outcome(guardian.work / "1")  # by the next driver, if this one has gone as well
    assert left is not None
    assert left.status is TrialStatus.CANCELLED
    alone = replace(zoo_job("ok", number=2), files={"train.py": "import os; os.kill(os.getpid(), 15)"})
    assert guardian.status_of(alone) == "crashed"


def test_the_script_does_not_inherit_its_signal_handlers(guardian: Guardian) -> None:
    text = (
        "import signal\n"
        "for number in (signal.SIGTERM, signal.SIGHUP): assert signal.getsignal(number) is signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()\n"
        "print('---\\nval_bpb: 1.5')\n"
    )
    assert guardian.status_of(replace(zoo_job("ok"), files={"train.py": text})) == "complete"


def test_a_stop_that_comes_together_with_its_job_counts(guardian: Guardian) -> None:
    guardian.say(guardian.job(zoo_job("hang", number=3)), guardian.stop(3))
    outcome = guardian.read_until("outcome")["outcome"]
    assert (outcome["status"], outcome["reason"]) == ("hopeless", "because")


def test_a_stop_for_another_job_does_no_harm(guardian: Guardian) -> None:
    guardian.say(guardian.stop(3), guardian.job(zoo_job("ok", number=4)), guardian.stop(5))
    assert guardian.read_until("outcome")["outcome"]["status"] == "complete"
    guardian.say(guardian.stop(4))
    assert guardian.status_of(zoo_job("ok", number=4)) == "complete"
    assert guardian.status_of(zoo_job("ok", number=5)) == "complete"


def test_the_first_progress_and_each_whole_percent_are_reported(guardian: Guardian) -> None:
    text = "for i in range(1001): print(f'step {i} ({i / 10:.1f}%) | loss: 3.0')\nprint('---\\nval_bpb: 1.5')"
    guardian.say(guardian.job(replace(zoo_job("ok"), files={"train.py": text})))
    told = []
    while "progress" in (message := guardian.read()):
        told.append(message["progress"]["fraction"])
    assert message["outcome"]["status"] == "complete"
    assert set(told) >= {i / 100 for i in range(101)}
    assert len(told) < 300


def test_a_driver_that_does_not_listen_does_not_hold_up_the_trial(guardian: Guardian, tmp_path: Path) -> None:
    text = (
        "for i in range(30_000): print(f'step {i} ({i % 100}.0%) | loss: 3.0 | remaining: 1s')\n"
        "print('---\\nval_bpb: 1.5')"
    )
    guardian.say(guardian.job(replace(zoo_job("ok", number=1), files={"train.py": text})))
    assert eventually((tmp_path / "1" / "exit.json").exists)
    assert guardian.read_until("outcome")["outcome"]["status"] == "complete"


@pytest.mark.parametrize("script", ["hang", "double_fork", "ignores_sigterm"])
def test_when_the_driver_goes_nothing_stays_and_the_record_says_lost(
    guardian: Guardian, tmp_path: Path, script: str
) -> None:
    guardian.say(guardian.job(zoo_job(script, number=1, limits=Limits(grace_s=3600.0))))
    guardian.read_until("progress")
    assert guardian.process.stdin is not None
    guardian.process.stdin.close()
    outcome = read_outcome(tmp_path / "1", wait_s=60.0)
    assert outcome is not None
    assert (outcome.status, outcome.reason) == (TrialStatus.LOST, "the driver went away")
    assert outcome.curve == ((0.01, 4.0),)
    assert living(tmp_path) == []


def test_when_the_driver_goes_after_the_summary_the_record_says_complete(guardian: Guardian, tmp_path: Path) -> None:
    guardian.say(guardian.job(zoo_job("hang_after_summary", number=1)))
    log = tmp_path / "1" / "log"
    assert eventually(lambda: log.exists() and "val_bpb" in log.read_text())
    assert guardian.process.stdin is not None
    guardian.process.stdin.close()
    outcome = read_outcome(tmp_path / "1", wait_s=60.0)
    assert outcome is not None
    assert (outcome.status, outcome.summary) == (TrialStatus.COMPLETE, {"val_bpb": 1.5})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing makes a child die with its parent")
def test_killed_with_9_it_takes_its_script_along(guardian: Guardian, tmp_path: Path) -> None:
    guardian.say(guardian.job(zoo_job("ignores_sigterm", number=1)))
    guardian.read_until("progress")
    guardian.process.kill()
    assert eventually(lambda: living(tmp_path) == [])
    assert read_outcome(tmp_path / "1", wait_s=60.0) is None


def test_a_job_survives_the_way_to_the_guardian() -> None:
    job = Job(
        number=7,
        params={"DEPTH": 8},
        files={"train.py": "x = 'é'\r\n\udcff", "a/b.py": ""},
        command=("{python}", "train.py", 'a "quoted" word'),
        env={"HOME": "/root"},
        metric=Metric("score", "maximize"),
        limits=Limits(total_s=1.5, startup_s=None, grace_s=0.1, disk_mb=None, log_mb=2.0),
    )
    assert job_from_json(decode(encode(job_to_json(job)))) == replace(job, params={})


def test_a_message_is_one_line() -> None:
    assert encode({"log": "a\nb\r\x00é"}).count(b"\n") == 1
    assert json.loads(encode({"log": "a\nb"})) == {"log": "a\nb"}
