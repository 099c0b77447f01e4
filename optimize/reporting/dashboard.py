"""The dashboard: a study's note and plots and a note for each trial, kept up to date, and the server that shows them.

Notes and plots can be made again from the database at any time; a study does not end when one cannot be written. The server is
optuna-dashboard, on loopback unless the user asks for more.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import SettingsError
from optimize.reporting.figures.interactive import interactive_figures
from optimize.reporting.hints import command_line, training_command
from optimize.reporting.notes import StudyFacts, study_note, trial_note
from optimize.reporting.program import elsewhere_python
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.standing import newest_choices
from optimize.reporting.study_cost import StudyCost, read_settings_json, replicates_cost
from optimize.search import stored_space
from optimize.study.best import baseline_of, find_best
from optimize.study.callback import Callback
from optimize.study.left_files import PATCH, BaselineFiles
from optimize.study.stored import StoredStudy, main_studies
from storage import (
    Database,
    DatabaseLostError,
    StorageError,
    TrialRecord,
    artifact_link,
    dashboard_storage,
    most_notes,
    parent_of,
    put_trial_notes,
    trials_with_notes,
    write_study_notes,
)

EVERY_S, NOTES_EVERY_S = 10.0, 1.0
SHARE = 20  # the loop spends at most one part in so many of its time on notes and plots
LINKS = 5  # of notes, that are printed
AT_A_TIME = 20  # notes of trials that a tick writes: an old study may need a thousand, and trials wait to be started


class DashboardWriter(Callback):
    """Keep the notes and plots of one study up to date, from its finished trials."""

    def __init__(self, shown: ShownStudy) -> None:
        self._shown, self._stored = shown, shown.stored
        self._database, self._study_id = self._stored.database, self._stored.study_id
        self._artifacts, self._said = self._stored.artifacts(), ""
        # Trials without a note, the newest last; None until the database has been asked.
        self._without_note: list[TrialRecord] | None = None
        self._stale = True
        self._due, self._notes_due = 0.0, 0.0
        self._of_baseline = BaselineFiles()
        self._patch: tuple[int, str] = (-1, "")  # trial, what it changed
        self._settings = read_settings_json(self._stored.paths.settings_json)
        self._repeated: StudyCost | None = None

    def on_trial_end(self, record: TrialRecord) -> None:
        self._stale = True
        if self._without_note is not None:
            self._without_note.append(record)

    def on_verdict(self, verdict: Verdict) -> None:
        self._stale, self._repeated = True, None

    def on_tick(self) -> None:
        if time.monotonic() >= self._notes_due:
            self._attempt(lambda: self._write_trial_notes(AT_A_TIME))
            self._notes_due = time.monotonic() + NOTES_EVERY_S
        if self._stale and time.monotonic() >= self._due:
            self._attempt(lambda: self._write_study_note(running=True))

    def write(self) -> bool:
        """Write everything that is missing or out of date; return whether all of it was written. It says once what failed."""
        self._repeated = None
        trials = self._attempt(lambda: self._write_trial_notes(most_notes(len(self._shown.records()))))
        return self._attempt(lambda: self._write_study_note(running=False)) and trials

    def _attempt(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except DatabaseLostError:  # the driver itself ends, and says why
            return False
        except Exception as error:  # whatever it is: trials are worth more than their notes
            line = str(error) if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
            if line != self._said:
                self._said = line
                self._shown.say(f"the dashboard's notes and plots: {line} (the study goes on)")
            return False
        return True

    def _write_trial_notes(self, most: int) -> None:
        if self._without_note is None:
            noted, records = trials_with_notes(self._database, self._study_id), self._shown.records()
            newest = records[-most_notes(len(records)) :]
            self._without_note = [r for r in newest if r.is_finished and r.trial_id not in noted]
        if not self._without_note or not self._shown.is_ours():
            return
        baseline = baseline_of(self._shown.records())
        notes = {each.trial_id: self._note(each, baseline) for each in self._without_note[-most:]}
        put_trial_notes(self._database, self._study_id, notes)
        del self._without_note[-most:]

    def _note(self, record: TrialRecord, baseline: TrialRecord | None) -> str:
        ids, study_id = self._artifacts.ids(record.trial_id), self._study_id
        links = {name: artifact_link(study_id, record.trial_id, each) for name, each in ids.items()}
        return trial_note(record, self._stored.metric, baseline, self._texts(record, ids), links)

    def _write_study_note(self, running: bool) -> None:
        started, records = time.monotonic(), self._shown.records()
        self._stale, self._due = False, started + (EVERY_S if records else 0.0)
        if not self._shown.is_ours():
            return
        attrs = self._database.study_attrs(self._study_id)
        verdict, baseline = verdict_of(attrs), baseline_of(records)
        shown = find_best(records, self._stored.metric.direction, verdict, stored_space(attrs))
        best = shown.record if shown else None
        facts = StudyFacts(
            name=self._stored.name,
            metric=self._stored.metric,
            attrs=attrs,
            records=records,
            choices=newest_choices(self._stored),
            best_patch=self._patch_of(best),
            folder=str(self._stored.paths.folder),
            starts=training_command(self._artifacts.ids(best.trial_id) if best else (), elsewhere_python()),
            here=str(Path.cwd()),
            on_server=self._database.path is None,
            no_best=self._stored.no_best,
            running=running,
            settings=self._settings,
            replicates=self._replicates(),
            others=self._database.study_names(),
        )
        figures = interactive_figures(records, self._stored.metric, verdict)
        keep = {each.trial_id for each in (best, shown.luckiest if shown else None, baseline) if each}
        write_study_notes(self._database, self._study_id, study_note(facts), figures, keep)
        now = time.monotonic()
        if records:  # else the first ending is shown at once
            self._due = now + max(EVERY_S, SHARE * (now - started))

    def _replicates(self) -> StudyCost:
        """Return what repeats have cost, by the last verdict: nobody else confirms while this driver has the study."""
        if self._repeated is None:
            self._repeated = replicates_cost(self._stored, self._settings)
        return self._repeated

    def _patch_of(self, best: TrialRecord | None) -> str:
        if best is not None and best.number != self._patch[0]:
            self._patch = (best.number, self._texts(best, self._artifacts.ids(best.trial_id)).get(PATCH, ""))
        return self._patch[1]

    def _texts(self, record: TrialRecord, ids: Mapping[str, str]) -> dict[str, str]:
        """Return a trial's files with its patches; a file that is gone is left out."""
        if self._of_baseline.record is None:
            self._of_baseline = self._stored.baseline_files()
        texts = {}
        for name in ids:
            with suppress(StorageError):
                texts[name] = self._artifacts.text(ids[name])
        if not ids and record.value is not None and not record.kind:
            return self._stored.texts(record)
        return self._of_baseline.patched(texts)


def write_dashboard(stored: StoredStudy, say: Callable[[str], None]) -> None:
    """Write a study's note, its plots and a note for each trial that has none.

    Notes that a person has edited stay. While a driver runs the study, only the driver may do this.
    """
    if parent_of(stored.name) or stored.database.read_only:
        return  # replicates have no best of their own
    if DashboardWriter(ShownStudy(stored, stored.finished, say)).write():
        say(f"written: the notes and plots of study {stored.name} in the dashboard")


def serve_dashboard(database: Database, artifacts: Path, host: str, port: int) -> None:
    """Serve the dashboard until Ctrl-C; studies may be running, or not exist yet."""
    app = dashboard_app(database, artifacts)
    with make_server(host, port, app, _ServerV6 if ":" in host else WSGIServer, _Quiet) as server:
        # In a thread of its own, because wsgiref swallows a Ctrl-C that comes while it answers a request.
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with suppress(KeyboardInterrupt):  # the usual end
                serving.join()
        finally:
            server.shutdown()


def address(host: str, port: int) -> str:
    """Return the dashboard's URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def note_links(database: Database, url: str) -> list[str]:
    """Return a line for each of the newest studies with the link of its note, which begins with the four facts."""
    ids = {name: database.find_study(name) for name in main_studies(database)}
    newest = sorted(((study_id, name) for name, study_id in ids.items() if study_id is not None), reverse=True)
    lines = [f"study {name}: {url}/dashboard/studies/{study_id}/note" for study_id, name in newest[:LINKS]]
    more = len(newest) - LINKS
    return [*lines, *([f"and {more} more studies: {url}/dashboard"] if more > 0 else [])]


def dashboard_app(database: Database, artifacts: Path) -> Callable[..., Iterable[bytes]]:
    """Return the dashboard as a WSGI application."""
    import optuna_dashboard  # a second, which no study needs that only writes notes
    from optuna.artifacts import FileSystemArtifactStore

    with suppress(OSError):  # a folder that is only looked at
        artifacts.mkdir(parents=True, exist_ok=True)
    app: Callable[..., Iterable[bytes]] = optuna_dashboard.wsgi(
        dashboard_storage(database), artifact_store=FileSystemArtifactStore(str(artifacts))
    )
    return _looking_only(app, database.read_only) if database.frozen else app


def _looking_only(app: Callable[..., Iterable[bytes]], why: str) -> Callable[..., Iterable[bytes]]:
    """Return the application without what would change something: it would delete artifacts before it finds that it cannot."""

    def answer(environ: Mapping[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": why}).encode()]

    return answer


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: an open page asks every few seconds. Errors are still logged."""


class _ServerV6(WSGIServer):
    address_family = socket.AF_INET6


def check_address(host: str, port: int, expose: bool) -> list[str]:
    """Return warnings about this address.

    Raises SettingsError if others could reach it and the user did not ask for that, or if the port is taken.
    """
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    if not loopback and not expose:
        raise SettingsError(f"{_meaning(host)} Use an SSH tunnel to 127.0.0.1, or add --expose.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port if port else -1))  # 0 would be any
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a port"
            raise SettingsError(
                f"{host}:{port}: {why}. Choose another port: {command_line('dashboard', {'port': 8081 if port != 8081 else 8082})}"
            ) from None
    return [] if loopback else [_meaning(host)]


def _meaning(host: str) -> str:
    return f"--host {host}: everybody who reaches this address can read, change and delete your studies; there is no login."
