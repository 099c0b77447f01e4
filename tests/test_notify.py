"""Messages to people who are away, received by a real server: what is told, how often, and what a broken address costs."""

from __future__ import annotations

import io
import os
import signal
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from optimize.cli import run as run_command
from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.errors import StudyAborted
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.notify import Notifier, unfit_notify_urls
from optimize.reporting.notify.messages import Message, Messages
from optimize.reporting.notify.notified import MOST, NOTIFIED, WITHIN_S, Notified, notified_of
from optimize.reporting.notify.recipient import Recipient
from optimize.reporting.run_end import RunResult
from optimize.reporting.shown_study import ShownStudy
from optimize.session.run import run_study
from optimize.session.session import Caller
from optimize.study.callback import Callback
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import Job, Outcome, Slot, TrialStatus
from tests.conftest import Driver, complete
from tests.forked import run_forked
from tests.model_server import Asked, ModelServer, model_server, send
from tests.replicating import Trainings, confirm
from tests.test_cli import environment, flags

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # apprise imports what Python 3.13 lacks
VARIABLE, SECRET = "OPTIMIZE_NOTIFY_URL", "s3cret"


def takes_all(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    send(handler, b"{}")


def url_of(server: ModelServer, more: str = "") -> str:
    return server.url.replace("http", "json").replace("/v1", f"/{SECRET}{more}")


class Unseen(Callback):
    """In the place of the dashboard's notes, which others test, and which take longer than all else here."""

    def __init__(self, shown: ShownStudy) -> None: ...

    def write(self) -> None: ...


@pytest.fixture(autouse=True)
def no_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.session.run.DashboardWriter", Unseen)
    monkeypatch.setattr("optimize.session.confirm.write_dashboard", lambda stored, say: None)


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server that takes all messages, and is the only address."""
    with model_server(takes_all) as server:
        monkeypatch.setenv(VARIABLE, url_of(server))
        yield server


def told(server: ModelServer) -> list[str]:
    return [str(asked.body["title"]).removeprefix("study s: ") for asked in server.asked]


def texts(server: ModelServer) -> list[str]:
    return [str(asked.body["message"]) for asked in server.asked]


def call(driver: Driver, run: Callable[[Job], Outcome], trials: int) -> RunResult:
    """One call of `optimize run`, whose trials take no time."""
    driver.set(trials=trials, origins={**driver.settings.origins, "trials": "flag"})
    caller = Caller(
        Console(file=io.StringIO()), driver.said.append, executor=lambda slots: SimulatedExecutor(run), data="data"
    )  # fmt: skip
    return run_study(driver.plan, (Slot("a"),), caller)


def verdict_for(number: int) -> Verdict:
    finalist = Finalist(number, 3, gain=0.25, low=0.125, high=0.375, confirmed=True)
    return Verdict((finalist,), 0.95, 0.03125, 0.0625, repeated=(number,))


@contextmanager
def opened(driver: Driver) -> Iterator[StoredStudy]:
    with driver.database() as database:
        yield find_study(database, "s", driver.settings.runs)


def confirming(driver: Driver, numbers: dict[int, int]) -> Callable[[Job], Outcome]:
    """Plays the script; while trial `key` runs, somebody writes that trial `value` is confirmed."""

    def run(job: Job) -> Outcome:
        if job.number in numbers:
            with opened(driver) as stored:
                for name, value in verdict_attrs(verdict_for(numbers[job.number])).items():
                    stored.database.set_study_attr(stored.study_id, name, value)
        return complete(job)

    return run


def everything_said(driver: Driver) -> bytes:
    files = b"".join(path.read_bytes() for path in driver.folder.rglob("*") if path.is_file())
    return files + "\n".join(driver.said).encode()


def test_each_confirmed_best_is_told_once_and_so_is_each_end(driver: Driver, inbox: ModelServer) -> None:
    call(driver, confirming(driver, {2: 1, 3: 1, 4: 2, 5: 1}), 7)
    assert told(inbox) == ["trial 1 is confirmed", "trial 2 is confirmed", "7 trials are done"]
    first, _, last = texts(inbox)
    assert first.startswith("Confirmed: trial 1 is better than the baseline by 0.250000 val_bpb (95%: +0.125000 to")
    assert "\nAll about it: optimize show 1 --study s" in first
    assert f"with {VARIABLE} set)" in first
    assert "\nWhat next? Use it: " in last
    assert "\noptimize show 1 --study s" in last
    call(driver, complete, 8)
    assert told(inbox)[3:] == ["8 trials are done"]
    assert driver.said.count(f"{VARIABLE}: messages go to JSON") == 2
    assert SECRET.encode() not in everything_said(driver)


def test_a_confirmation_tells_its_verdict_once_at_its_end(night: Driver, inbox: ModelServer) -> None:
    ended = confirm(night, Trainings())
    assert ended.verdict is not None
    assert ended.verdict.winner is not None
    assert told(inbox) == ["confirmation: every queued training is done"]
    assert texts(inbox)[0].startswith(f"Confirmed: trial {ended.verdict.winner.number} is better than the baseline")
    call(night, Trainings(), 11)
    assert told(inbox)[1:] == ["11 trials are done"]  # and not its winner again


def test_an_abort_and_a_stop_are_told_with_the_one_command_to_give(driver: Driver, inbox: ModelServer) -> None:
    def fails(job: Job) -> Outcome:
        return Outcome(TrialStatus.ENVIRONMENT, 1.0, "ModuleNotFoundError: No module named 'nothing'", log="a log")

    def stopped_by(number: signal.Signals) -> Callable[[Job], Outcome]:
        def stops(job: Job) -> Outcome:
            os.kill(os.getpid(), number)
            return complete(job)

        return stops

    with pytest.raises(StudyAborted):
        call(driver, fails, 3)
    call(driver, stopped_by(signal.SIGTERM), 3)
    call(driver, stopped_by(signal.SIGUSR1), 9)  # which is no end: somebody starts it again
    assert told(inbox) == ["aborted", "stopped by SIGTERM"]
    aborted, stopped = texts(inbox)
    assert "No module named 'nothing'" in aborted
    assert aborted.count("optimize ") == 1
    assert "`optimize show 0 --study s`" in aborted
    assert "\nTo go on: optimize run " in stopped
    assert "--trials 3" in stopped


def test_broken_addresses_cost_a_line_each_and_delay_nobody(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        send(handler, b"", 500)

    def hangs(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        handler.over.wait(60)  # type: ignore[attr-defined]

    with model_server(refuses) as broken, model_server(hangs) as silent, model_server(takes_all) as well:
        dead = f"json://127.0.0.1:9/{SECRET}"
        urls = [url_of(broken), url_of(silent, "?rto=0.2"), dead, url_of(well)]
        monkeypatch.setenv(VARIABLE, "  ".join(urls))
        call(driver, confirming(driver, {1: 0, 2: 1}), 4)
        assert told(well) == told(broken) == ["trial 0 is confirmed", "trial 1 is confirmed", "4 trials are done"]
    lines = sorted(line for line in driver.said if "not delivered" in line)
    assert [line.partition(". ")[0] for line in lines] == [
        f"{VARIABLE}: URL 1 of 4: a message was not delivered: the server answered 500",
        f"{VARIABLE}: URL 2 of 4: a message was not delivered: no server answered",
        f"{VARIABLE}: URL 3 of 4: a message was not delivered: no server answered",
    ]
    assert SECRET.encode() not in everything_said(driver)


class Notifying:
    """A notifier of a stored study whose only recipient is the test's, and its clock as well."""

    def __init__(self, driver: Driver, stored: StoredStudy, deliver: Callable[[Message], str], last_s: float) -> None:
        self.now, lines = 1e9, deque[str]()
        shown = ShownStudy(stored, stored.records, driver.said.append)
        recipient = Recipient(VARIABLE, "a test", deliver, lines.append)
        self.notifier = Notifier(shown, Messages(driver.plan, stored, {}), [recipient], lines, lambda: self.now, last_s)

    def call(self, reason: str = "all is done", goes_on: bool = False) -> None:
        assert self.notifier.follow(lambda: reason, lambda why: goes_on) == reason


@contextmanager
def notifying(driver: Driver, deliver: Callable[[Message], str], last_s: float = 60.0) -> Iterator[Notifying]:
    driver.once("one", lambda: driver.run(trials=1))
    with opened(driver) as stored:
        yield Notifying(driver, stored, deliver, last_s)


def test_an_address_that_never_answers_delays_no_trial_and_the_end_not_for_long(driver: Driver) -> None:
    answers, called = threading.Event(), threading.Event()

    def hangs(message: Message) -> str:
        called.set()
        answers.wait()
        return ""

    with notifying(driver, hangs, last_s=0.01) as of:
        for _ in range(3):
            of.call()  # returns, although the first is not sent
        assert called.wait(60)
        of.notifier.close()
    answers.set()
    lines = [line for line in driver.said if "not delivered" in line]
    assert lines == [
        f"{VARIABLE}: a message was not delivered: it has not answered yet, and is waited for no longer. "
        "The study goes on without it."
    ]


def test_an_error_of_a_service_is_told_without_its_text(driver: Driver) -> None:
    def breaks(message: Message) -> str:
        raise ValueError(f"https://host/{SECRET}")

    with notifying(driver, breaks) as of:
        of.call()
        of.notifier.close()
    assert driver.said[-1] == (
        f"{VARIABLE}: a message was not delivered: ValueError. The study goes on without it."
    )  # fmt: skip


def test_there_are_ten_messages_in_24_hours_over_restarts_and_the_last_is_for_an_end(driver: Driver) -> None:
    sent = list[Message]()
    with notifying(driver, lambda message: sent.append(message) or "") as of:
        for _ in range(MOST - 1):
            of.call()
        of.notifier.close()
    with notifying_again(driver, sent) as of:
        with opened(driver) as stored:
            for name, value in verdict_attrs(verdict_for(0)).items():
                stored.database.set_study_attr(stored.study_id, name, value)
        of.notifier.on_tick()  # which has a confirmed trial to tell, and no room for it
        of.call("goes on", goes_on=True)  # which is no end
        of.call("the last")
        of.call("too many")
        of.now += WITHIN_S
        of.notifier._changed = True
        of.notifier.on_tick()
        of.notifier.close()
    titles = [message.title.removeprefix("study s: ") for message in sent]
    assert titles == ["all is done"] * (MOST - 1) + ["the last", "trial 0 is confirmed"]
    assert driver.said.count(f"{VARIABLE}: 10 messages in 24 hours are enough: no more for now") == 1


@contextmanager
def notifying_again(driver: Driver, sent: list[Message]) -> Iterator[Notifying]:
    with opened(driver) as stored:
        yield Notifying(driver, stored, lambda message: sent.append(message) or "", 60.0)  # type: ignore[func-returns-value]


@pytest.mark.parametrize("kept", [None, 3, [], {"confirmed": 1}, {"confirmed": ["x"], "sent": []}])
def test_an_attribute_that_is_not_ours_has_told_nothing(kept: Any) -> None:
    assert notified_of({NOTIFIED: kept}) == notified_of({}) == Notified()


def test_a_clock_that_is_set_back_silences_no_study() -> None:
    full = Notified(sent=tuple(1e9 + number for number in range(MOST)))
    assert not full.has_room(1e9 - 60, is_end=True)
    assert full.has_room(1e9 - WITHIN_S, is_end=True)


def test_addresses_that_cannot_be_read_are_a_line_each_before_any_trial(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, f"{SECRET} json://127.0.0.1 json:// {SECRET}://host slack://{SECRET}/x")
    monkeypatch.chdir(driver.folder)
    assert run_command(["run", "--trust", *flags(driver), "--sampler", "nonsense"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "nonsense" in lines.pop()  # all mistakes at once
    assert [line.partition(". ")[0] for line in lines] == [
        f"{VARIABLE}: URL 1 of 5: apprise knows no such URL",
        f"{VARIABLE}: URL 3 of 5: apprise cannot read this json URL",
        f"{VARIABLE}: URL 4 of 5: apprise knows no such URL",
        f"{VARIABLE}: URL 5 of 5: apprise cannot read this slack URL",
    ]
    assert SECRET not in "".join(lines)
    assert not (driver.folder / "runs").exists()


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.reporting.notify.find_spec", lambda name: None)
    assert unfit_notify_urls() == []
    monkeypatch.setenv(VARIABLE, f"json://127.0.0.1/{SECRET}")
    (line,) = unfit_notify_urls()
    assert "the extra notify" in line
    assert "`pip install 'apprise>=2.2,<3'`" in line
    assert SECRET not in line


@pytest.mark.slow
def test_a_real_call_tells_its_end_and_nothing_else_gets_the_address(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    shows = "import os\nprint(dict(os.environ), open('/proc/self/environ').read())\n"
    train.write_text(train.read_text() + (shows if Path("/proc/self/environ").exists() else ""))
    with model_server(takes_all) as server:
        env = environment(driver) | {VARIABLE: url_of(server)}
        ended = run_forked(["run", "--trust", *flags(driver), "--trials", "2"], cwd=driver.folder, env=env)
        assert ended.returncode == 0, ended.stderr
        run_forked(["export", "--bundle", "--to", "all.zip"], cwd=driver.folder, env=env).check_returncode()
        assert told(server) == ["2 trials are done"]
    driver.said += [ended.stdout, ended.stderr]
    with zipfile.ZipFile(driver.folder / "all.zip") as bundle:
        bundle.extractall(driver.folder / "unpacked")
    assert b"PYTHONUNBUFFERED" in everything_said(driver)
    assert SECRET.encode() not in everything_said(driver)
