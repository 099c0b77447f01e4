"""A server that goes away in the middle of a study: waited for, nothing lost, nothing twice, and no study with two drivers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from optimize.study.stopping import StopLevel
from optimize.trial import Job, Outcome, TrialStatus
from storage import Database, LeaseLostError, StorageError, acquire, open_database
from storage.locks import this_process
from tests.conftest import Driver, complete
from tests.databases import new_trial
from tests.forked import Forked
from tests.postgres import Server
from tests.test_cli import environment, flags, slow_down
from tests.test_lease import pretend

pytestmark = pytest.mark.slow


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def study(driver: Driver, url: str) -> Driver:
    """The tiny study of the other tests, in PostgreSQL."""
    driver.set(storage=url)
    return driver


def restart(server: Server, how: str, again: Callable[[], object] = lambda: None) -> threading.Thread:
    """Stopped when this returns, in order (INT) or by a crash (QUIT); started again when `again` returns."""
    server.stop(how)

    def start() -> None:
        again()
        server.start()

    later = threading.Thread(target=start)
    later.start()
    return later


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def test_a_study_goes_on_after_every_restart_and_has_lost_nothing(postgres: Server, study: Driver) -> None:
    restarts: list[threading.Thread] = []
    ways: dict[int, Callable[[], threading.Thread]] = {
        1: lambda: restart(postgres, "INT"),
        4: lambda: restart(postgres, "QUIT", lambda: until(lambda: bool(study.said))),
        7: lambda: restart(postgres, "QUIT"),
    }

    def run(job: Job) -> Outcome:
        if job.number in ways:
            for each in restarts:
                each.join()
            restarts.append(ways.pop(job.number)())
        return complete(job)

    reason, told = study.run(run, slots=2, trials=10)
    for each in restarts:
        each.join()
    assert "10 trials are done" in reason
    assert len(told.ended) == 10
    with study.database() as database:
        trials = database.trials(1)
    assert [trial.number for trial in trials] == list(range(10))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert all(len(trial.params) == 3 and len(trial.system_attrs) >= 4 for trial in trials)
    assert "no server answers there" in study.said[0]
    assert "tried again for 10 min, nothing is lost" in study.said[0]
    assert "there again after" in study.said[1]


def test_a_real_study_survives_a_crash_of_the_server(postgres: Server, study: Driver, url: str) -> None:
    slow_down(study, 0.05)
    env = environment(study) | {"OPTIMIZE_STORAGE_URL": url}
    words, pipe = ["run", "--trust", *flags(study), "--trials", "6"], subprocess.PIPE
    with Forked(words, cwd=study.folder, env=env, stdout=pipe, stderr=pipe) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "baseline:" in line)
        err = process.stderr
        restart(postgres, "QUIT", lambda: next(line for line in err if "tried again" in line)).join()
        out, rest = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "6 trials are done" in out
    assert "there again after" in rest
    with study.database() as database:
        assert database.counts(1) == {"RUNNING": 0, "COMPLETE": 6, "PRUNED": 0, "FAIL": 0, "WAITING": 0}


class Cut:
    """A way to the server that breaks once, at the nth message: before it arrives, or after it was answered."""

    def __init__(self, port: int) -> None:
        self._to, self._listener = port, socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.at, self.answered, self.seen = -1, False, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def arm(self, at: int, answered: bool) -> None:
        self.at, self.answered, self.seen = at, answered, 0

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        """PostgreSQL's talk is question and answer: each turn of the client is one message here."""
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    cut = self.seen == self.at
                    self.seen += 1
                    if cut and not self.answered:
                        break
                    if cut:
                        client.shutdown(socket.SHUT_WR)  # what the server answers now is lost
                    server.sendall(data)
                    if cut:
                        time.sleep(0.05)
                        break
            for each in (client, server):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _answers(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)


@contextmanager
def through(cut: Cut, url: str, server: Server) -> Iterator[Database]:
    with closing(open_database(url.replace(f":{server.port}/", f":{cut.port}/"))) as database:
        yield database


@pytest.fixture
def cut(postgres: Server) -> Iterator[Cut]:
    with closing(Cut(postgres.port)) as cut:
        yield cut


def at_every_message(cut: Cut, work: Callable[[], None]) -> int:
    """Does `work` until no message is left to be cut; returns how often it was cut."""
    times = 0
    for answered in (False, True):
        for at in range(200):
            cut.arm(at, answered)
            work()
            if cut.seen <= at:
                break
            times += 1
    return times


def test_a_trial_is_created_once_wherever_the_connection_breaks(postgres: Server, url: str, cut: Cut) -> None:
    made = []
    with through(cut, url, postgres) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        times = at_every_message(cut, lambda: made.append(new_trial(database, study_id, origin={"kind": "start"})))
    assert times > 10
    with closing(open_database(url)) as database:
        trials = database.trials(study_id)
    assert [trial._trial_id for trial in trials] == made
    assert [trial.number for trial in trials] == list(range(len(made)))
    assert all(trial.user_attrs == {"origin": {"kind": "start"}} and len(trial.params) == 5 for trial in trials)


def test_an_ending_is_told_once_and_queued_once_wherever_the_connection_breaks(
    postgres: Server, study: Driver, url: str, cut: Cut
) -> None:
    study.set(storage=url.replace(f":{postgres.port}/", f":{cut.port}/"))
    told = []
    with study.open() as opened:

        def one_trial() -> None:
            job = study.job(opened.ask())
            told.append(opened.tell(job, Outcome(TrialStatus.CANCELLED, 1.0, "stopped", log="a log\n")))

        times = at_every_message(cut, one_trial)
    assert times > 30
    with closing(open_database(url)) as database:
        trials = database.trials(1)
        counts = database.counts(1)
    assert [record.number for record in told] == list(range(len(told)))  # each cancelled trial is the next one to run
    assert counts == {"RUNNING": 0, "COMPLETE": 0, "PRUNED": 0, "FAIL": len(told), "WAITING": 1}
    assert [trial.user_attrs["origin"]["requeue_of"] for trial in trials[1:]] == list(range(len(told)))


def test_a_study_that_another_driver_took_while_the_server_was_away_is_left_to_it(
    postgres: Server, study: Driver
) -> None:
    def run(job: Job) -> Outcome:
        if job.number == 2:
            restart(postgres, "QUIT").join()
            with closing(open_database(str(study.settings.storage))) as elsewhere:
                pretend(elsewhere, replace(this_process(), host="elsewhere", place="another boot", pid=7))
        return complete(job)

    with pytest.raises(LeaseLostError, match="another driver took this study over"):
        study.run(run, trials=10)
    with study.database() as database:
        assert database.counts(1) == {"RUNNING": 1, "COMPLETE": 2, "PRUNED": 0, "FAIL": 0, "WAITING": 0}


def test_the_lease_is_still_ours_after_a_long_silence_if_nobody_took_it(postgres: Server, url: str) -> None:
    now = 1_700_000_000.0
    with closing(open_database(url)) as database:
        study_id = database.create_study("cpu", "minimize", "val_bpb")
        lease = acquire(database, study_id, clock=lambda: now)
        later = restart(postgres, "QUIT")
        now += 3600
        lease.renew()
        later.join()
        assert lease.write(lambda: new_trial(database, study_id), stands=lambda _: True)
        lease.release()


def test_patience_ends_with_one_line_and_a_wish_to_stop_ends_it_at_once(postgres: Server, url: str) -> None:
    with closing(open_database(url, retry_s=0.5)) as database:
        postgres.stop()
        try:
            with pytest.raises(StorageError, match="no server answers there") as caught:
                database.study_names()
            assert "\n" not in str(caught.value)
            database.retry.seconds = 600
            asked: list[StopLevel] = []

            def go_on() -> bool:
                asked.append(StopLevel.CANCEL if len(asked) == 2 else StopLevel.NONE)
                return asked[-1] < StopLevel.CANCEL

            database.retry.go_on = go_on
            with pytest.raises(StorageError):
                database.study_names()
            assert asked == [StopLevel.NONE, StopLevel.NONE, StopLevel.CANCEL]
        finally:
            postgres.start()
        database.retry.go_on = lambda: True
        assert database.study_names() == []
