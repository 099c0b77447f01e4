"""Tells a study's story in the dashboard: its note, its plots, a note for each trial, kept up to date while it runs.

All of it can be made again from the database at any time. A study does not end for what cannot be written here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore

from optimize.confirm.verdict import verdict_of
from optimize.errors import SettingsError
from optimize.reporting.figures.interactive import interactive_figures
from optimize.reporting.notes import StudyFacts, study_note, trial_note
from optimize.script.command import RUN
from optimize.study.best import baseline_of, find_best
from optimize.study.callback import Callback
from optimize.study.stored import StoredStudy
from optimize.trial import Metric
from storage import (
    Artifacts,
    Database,
    StorageError,
    StudyPaths,
    TrialRecord,
    artifact_link,
    most_notes,
    parent_of,
    put_trial_notes,
    trials_with_notes,
    write_study_notes,
)

EVERY_S, NOTES_EVERY_S = 10.0, 1.0
SHARE = 20  # of its time, that the loop spends on the story at most: one part in so many
AT_A_TIME = (
    20  # notes of trials that a tick writes: an old study has a thousand to write, and trials wait to be started
)
IN_NOTES = frozenset({"train.patch", "log.txt"})


class DashboardWriter(Callback):
    """Of one study. `records` are its finished trials, `paths` where its files lie, in a folder that may have another name."""

    def __init__(
        self, database: Database, study: str, metric: Metric, paths: StudyPaths, artifacts: Artifacts,
        records: Callable[[], Sequence[TrialRecord]], say: Callable[[str], None], ours: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._database, self._study, self._metric, self._paths = database, study, metric, paths
        self._study_id = database.find_study(study) or 0
        self._artifacts, self._records, self._say, self._said = artifacts, records, say, ""
        self._ours = ours  # False once another driver has the study: it tells of more
        self._without_note: list[TrialRecord] | None = (
            None  # trials without a note, the newest last; None: not looked yet
        )
        self._stale = True
        self._due, self._notes_due = 0.0, 0.0
        self._patch: tuple[int, str] = (-1, "")  # trial, what it changed

    def on_trial_end(self, record: TrialRecord) -> None:
        self._stale = True
        if self._without_note is not None:
            self._without_note.append(record)

    def on_tick(self) -> None:
        if time.monotonic() >= self._notes_due:
            self._attempt(lambda: self._write_trial_notes(AT_A_TIME))
            self._notes_due = time.monotonic() + NOTES_EVERY_S
        if self._stale and time.monotonic() >= self._due:
            self._attempt(self._write_study_note)

    def write(self) -> bool:
        """All that there is to tell. What cannot be written is said, once; was all of it written?"""
        trials = self._attempt(lambda: self._write_trial_notes(most_notes(len(self._records()))))
        return self._attempt(self._write_study_note) and trials

    def _attempt(self, tell: Callable[[], None]) -> bool:
        try:
            tell()
        except Exception as error:  # whatever it is: trials are worth more than what is told of them
            line = str(error) if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
            if line != self._said:
                self._said = line
                self._say(f"the dashboard's notes and plots: {line} (the study goes on)")
            return False
        return True

    def _write_trial_notes(self, most: int) -> None:
        if self._without_note is None:
            told, records = trials_with_notes(self._database, self._study_id), self._records()
            newest = records[-most_notes(len(records)) :]
            self._without_note = [r for r in newest if r.is_finished and r.trial_id not in told]
        if not self._without_note or not self._ours():
            return
        baseline = baseline_of(self._records())
        notes = {each.trial_id: self._note(each, baseline) for each in self._without_note[-most:]}
        put_trial_notes(self._database, self._study_id, notes)
        del self._without_note[-most:]

    def _note(self, record: TrialRecord, baseline: TrialRecord | None) -> str:
        ids, study_id = self._artifacts.ids(record.trial_id), self._study_id
        links = {name: artifact_link(study_id, record.trial_id, each) for name, each in ids.items()}
        return trial_note(record, self._metric, baseline, self._texts(ids), links)

    def _write_study_note(self) -> None:
        started, records = time.monotonic(), self._records()
        self._stale, self._due = False, started + (EVERY_S if records else 0.0)
        if not self._ours():
            return
        attrs = self._database.study_attrs(self._study_id)
        verdict, baseline = verdict_of(attrs), baseline_of(records)
        shown = find_best(records, self._metric.direction, verdict)
        best = shown.record if shown else None
        newest = self._database.latest_trials(self._study_id, 1)
        choices = {name: getattr(d, "choices", ()) for trial in newest for name, d in trial.distributions.items()}
        facts = StudyFacts(self._study, self._metric, attrs, records, choices, self._patch_of(best), str(self._paths.folder),
                      self._starts(best))  # fmt: skip
        figures = interactive_figures(records, self._metric, verdict)
        keep = {each.trial_id for each in (best, shown.luckiest if shown else None, baseline) if each}
        write_study_notes(self._database, self._study_id, study_note(facts), figures, keep)
        now = time.monotonic()
        if records:  # of a study in which nothing has ended, the first ending is told at once
            self._due = now + max(EVERY_S, SHARE * (now - started))

    def _patch_of(self, best: TrialRecord | None) -> str:
        if best is not None and best.number != self._patch[0]:
            self._patch = (best.number, self._texts(self._artifacts.ids(best.trial_id)).get("train.patch", ""))
        return self._patch[1]

    def _starts(self, best: TrialRecord | None) -> str:
        """What trains it again in a folder of its files."""
        return f"sh {RUN}" if best is not None and RUN in self._artifacts.ids(best.trial_id) else "python train.py"

    def _texts(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Of what a trial left, what a note quotes; a file that is gone is not quoted."""
        texts = {}
        for name in ids.keys() & IN_NOTES:
            with suppress(StorageError):
                texts[name] = self._artifacts.text(ids[name])
        return texts


def write_dashboard(stored: StoredStudy, say: Callable[[str], None]) -> None:
    """Write what the dashboard shows of a study again: its note, its plots, a note for each trial that has none.

    What somebody has written there stays. A driver does that itself: nobody else may, while there is one.
    """
    if parent_of(stored.name) or stored.database.read_only:
        return  # replicates have no best of their own
    writer = DashboardWriter(
        stored.database, stored.name, stored.metric, stored.paths, stored.artifacts(), stored.finished, say
    )
    if writer.write():
        say(f"written: the notes and plots of study {stored.name} in the dashboard")


def serve_dashboard(database: Database, artifacts: Path, host: str, port: int) -> None:
    """Serve until Ctrl-C; the studies may be running, or not there yet."""
    app = dashboard_app(database, artifacts)
    with make_server(host, port, app, _ServerV6 if ":" in host else WSGIServer, _Quiet) as server:
        # Not in this thread: while a request is answered, wsgiref would swallow a Ctrl-C and go on.
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with suppress(KeyboardInterrupt):  # the end that is meant
                serving.join()
        finally:
            server.shutdown()


def dashboard_app(database: Database, artifacts: Path) -> Callable[..., Iterable[bytes]]:
    """The dashboard as a WSGI application."""
    artifacts.mkdir(parents=True, exist_ok=True)
    app: Callable[..., Iterable[bytes]] = optuna_dashboard.wsgi(
        database.storage, artifact_store=FileSystemArtifactStore(str(artifacts))
    )
    return app


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """An open page asks every few seconds; errors are told as before."""


class _ServerV6(WSGIServer):
    address_family = socket.AF_INET6


def check_address(host: str, port: int, expose: bool) -> list[str]:
    """What the user must know of this address. Raises SettingsError if others could reach it unasked, or the port is taken."""
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    if not loopback and not expose:
        raise SettingsError(f"{_meaning(host)} Use an SSH tunnel to 127.0.0.1, or add --expose if you mean it.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port if port else -1))  # 0 would be any
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a port"
            raise SettingsError(f"{host}:{port}: {why}. Choose another port, such as PORT=8081.") from None
    return [] if loopback else [_meaning(host)]


def _meaning(host: str) -> str:
    return f"--host {host}: whoever reaches this address can read, change and delete your studies; there is no login."
