"""A study from a notebook, on Colab or any Jupyter: run and draw it, show the dashboard, keep backups on Drive, take it away.

Each is one line in a cell. The study is a process, as in a terminal, and nothing is decided here. An error is one line without a
traceback.
"""

from __future__ import annotations

import contextlib
import functools
import html
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import ParamSpec, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

from IPython.display import HTML, Image, display

from optimize.config.environment import KEY_VARIABLE, environment_with, without_model
from optimize.config.settings import load_settings, pick_profile
from optimize.errors import OptimizeError
from optimize.executors.slots import detect_device
from optimize.reporting.figures.data import history
from optimize.reporting.figures.static import progress
from optimize.reporting.figures.style import draw, png_of
from optimize.reporting.hints import pasteable
from optimize.study.stored import find_study
from storage import Database, RunsPaths, StorageError, holder_of, open_database

RUNS = Path("runs")
DRIVE = Path("/content/drive")
LINES_SHOWN, LAST_BYTES = 14, 20_000
EVERY_S = 3.0
PLAIN_TEXT = "white-space: pre; overflow-x: auto; font-family: monospace; font-size: 12px; line-height: 1.35"
NO_DRIVE = "backups go to {} on this machine and are lost with it"
# The study gets a process group of its own, so that an interrupt of the cell reaches it only from here. Linux ends it when this
# process ends.
STARTER = (
    "import ctypes, os, signal, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"  # PR_SET_PDEATHSIG
    "if str(os.getppid()) == sys.argv[1]: os.execv(sys.executable, [sys.executable, '-m', 'optimize', *sys.argv[2:]])\n"
)
# Jupyter tells programs to print as to a terminal, but a cell shows only lines.
PLAIN = ("env", "-u", "FORCE_COLOR", "-u", "CLICOLOR_FORCE", "NO_COLOR=1", "TERM=dumb", "COLUMNS=110")
P = ParamSpec("P")
T = TypeVar("T")


class CellError(OptimizeError):
    """An error that ends a cell; IPython shows its lines and nothing else."""

    def _render_traceback_(self) -> list[str]:
        return list(self.problems)


def _in_one_line(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except OptimizeError as error:
            raise CellError(*map(pasteable, error.problems)) from None
        except StorageError as error:
            raise CellError(pasteable(str(error))) from None

    return guarded


def drive(folder: str) -> Path:
    """Return where backups go: this folder of Google Drive, or a local folder where there is no Drive.

    From then on every `run` of this notebook that names no backup keeps one there.
    """
    _Drive.backup = _drive(folder)
    return _Drive.backup


class _Drive:
    """What an earlier cell of this notebook has said."""

    backup: Path | None = None


def _drive(folder: str) -> Path:
    here = Path("drive") / folder
    colab = _colab("drive")
    if colab is None:
        _say("not on Colab: " + NO_DRIVE.format(here))
        return here
    try:
        colab.mount(str(DRIVE))
    except Exception as error:  # whatever Drive raises when it is refused or unreachable
        _say(f"no Drive ({str(error) or type(error).__name__}): " + NO_DRIVE.format(here))
        return here
    _say(f"backups go to the folder {folder} of your Drive")
    return DRIVE / "MyDrive" / folder


@_in_one_line
def restore(backup: Path, runs: Path = RUNS) -> None:
    """Restore a backup on a new machine, if there is one. Studies that are here already stay as they are."""
    if RunsPaths(runs).database.exists():
        _say(f"{runs}: the studies are here already")
    elif backup.is_dir() and any(backup.iterdir()):
        _command("restore", str(backup), "--runs", str(runs))
    else:
        _say(f"{backup}: no backup yet; nothing to restore")


@_in_one_line
def dashboard(runs: Path = RUNS, port: int = 0, height: int = 700) -> str:
    """Show optuna-dashboard below the cell, before, while and after a study runs; return its address on this machine."""
    from optimize.reporting.dashboard import dashboard_app

    database = open_database(RunsPaths(runs).database, read_only=True)
    for notice in database.notices:
        _say(notice)
    server = make_server("127.0.0.1", port, dashboard_app(database, RunsPaths(runs).artifacts), handler_class=_Silent)
    threading.Thread(target=server.serve_forever, name="dashboard", daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/dashboard"
    colab = _colab("output")
    if colab is None:
        display(HTML(f'<a href="{address}" target="_blank">{address}</a>'))
    else:
        colab.serve_kernel_port_as_iframe(server.server_port, path="/dashboard", height=height)
    return address


@_in_one_line
def run(
    profile: str = "auto",
    study: str = "",
    trials: int = 0,
    hours: float = 0,
    backup: Path | str | None = None,
    more: Sequence[str] = (),
    runs: Path = RUNS,
    workload: str = "",
    advisor: str = "",
) -> str:
    """Run a study, or go on with it, and draw it meanwhile; return its name. 0 and "" stand for the profile's value.

    Without a `backup` it is the folder that `drive` has returned in this notebook; "" is none.
    A `workload` with a slash is a folder, whose commands are accepted by naming it; the space.toml beside it is the search
    space. `more` are further words of `optimize run`. The first interrupt of the cell lets the running trials finish, the second
    cancels them.
    """
    named = "" if profile == "auto" else profile
    chosen, why = (named, "flag") if named else pick_profile(detect_device())
    name = load_settings(chosen, why, {"study": study or None, "runs": runs, "workload": workload or None}).study
    flags = {"profile": named, "study": name, "runs": runs, "trials": trials, "hours": hours}
    flags |= {"backup": _backup(backup)}
    flags |= {"advisor": advisor, "workload": workload}
    words = [word for flag, value in flags.items() if value for word in (f"--{flag}", str(value))]
    words += ["--trust"] if "/" in workload else []
    with tempfile.TemporaryFile() as said:  # not a pipe, which would break when the kernel dies, and end the study
        started = _started("run", *words, *more, said=said.fileno(), secrets=_secrets() if advisor else {})
        _Screen(name, runs, said.fileno(), started).follow()
    return name


def _backup(named: Path | str | None) -> Path | str | None:
    """Return where a study keeps its backup. A line tells of a folder that the call has not named, and of none on Colab."""
    if named is not None:
        return named
    if _Drive.backup is not None:
        _say(f"backups go to {_Drive.backup}, as before")
    elif _colab("drive") is not None:
        _say("no backup: what it finds is lost with this machine. Keep one: backup = notebook.drive('optimize-train')")
    return _Drive.backup


def _secrets() -> dict[str, str]:
    """Return the key and the address of a model that are among Colab's secrets and not in the environment.

    One that is missing, or that a person gives no access to, is no error: a server may need no key.
    """
    found: dict[str, str] = {}
    if (colab := _colab("userdata")) is None:
        return found
    missing = without_model()
    for name in missing:
        with contextlib.suppress(Exception):  # whatever Colab raises then
            if secret := colab.get(name):
                found[name] = secret
    if not found and len(missing) == 2:
        _say(f"no {KEY_VARIABLE}: add it to this notebook's secrets (the key at the left), and allow access to it")
    return found


@_in_one_line
def bundle(study: str, runs: Path = RUNS) -> Path:
    """Write everything about a study into one file and return its path; on Colab your browser downloads it."""
    to = Path(f"{study}.zip")
    _say(f"putting study {study} into {to}: its report, its tables, its best script, its database")
    to.unlink(missing_ok=True)  # from an earlier run of this cell
    _command("export", "--study", study, "--bundle", "--to", str(to), "--runs", str(runs))
    colab = _colab("files")
    if colab is not None:
        colab.download(str(to))
    return to


class _Screen:
    """Show the picture of a study that a process drives, and below it the process's last lines."""

    def __init__(self, name: str, runs: Path, said: int, process: subprocess.Popen[str]) -> None:
        self._name, self._runs, self._said, self._process = name, runs, said, process
        self._drawn: object = None
        self._picture = display(HTML(""), display_id=True)
        self._text = display(HTML(""), display_id=True)

    def follow(self) -> None:
        """Update both until the process has ended. Raises CellError with its last line, which stands there only, if it failed."""
        process = self._process
        with _interrupts_go_to(process):
            while process.poll() is None:
                self._draw(self._lines()[-LINES_SHOWN:])
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(EVERY_S)
        lines, error = _parted(self._lines(), process.returncode)
        self._draw(lines[-2 * LINES_SHOWN :])
        if error:
            raise CellError(error)

    def _lines(self) -> list[str]:
        """Return the last lines, read without moving the position at which the study writes."""
        start = max(0, os.fstat(self._said).st_size - LAST_BYTES)
        return os.pread(self._said, LAST_BYTES, start).decode(errors="replace").splitlines()

    def _draw(self, lines: Sequence[str]) -> None:
        self._text.update(_as_html(lines))
        try:
            with closing(_look_at(RunsPaths(self._runs).database)) as database:
                stored = find_study(database, self._name, self._runs)
                counts = database.counts(stored.study_id)
                if counts != self._drawn and counts["COMPLETE"] and self._is_about(database, stored.study_id):
                    drawing = progress(history(stored.records(), stored.metric), stored.metric, labels=4)
                    self._picture.update(Image(png_of(draw(drawing, 10, 4.5, f"study {self._name}")), width=900))
                    self._drawn = counts
        except (StorageError, OptimizeError):
            return  # not made yet, or busy: the next update will show it
        except Exception as error:  # the study goes on, and so does its cell
            self._picture.update(_as_html([f"no picture: {type(error).__name__}: {error}"]))

    def _is_about(self, database: Database, study_id: int) -> bool:
        """Tell whether the process works on the study: above its refusal, a picture of an older study would mislead."""
        if self._drawn or self._process.poll() == 0:
            return True
        holder = holder_of(database, study_id)
        return holder is not None and holder.pid == self._process.pid


def _look_at(path: Path) -> Database:
    return open_database(path, create=False, check=False, read_only=True)


class _Silent(WSGIRequestHandler):
    """Log no requests: they do not belong into the output of a cell."""

    def log_message(self, *words: object) -> None: ...


@contextlib.contextmanager
def _interrupts_go_to(process: subprocess.Popen[str]) -> Iterator[None]:
    """Pass interrupts of this cell on to the study; raised here, one could break an import or a drawing."""
    before = signal.signal(signal.SIGINT, lambda number, frame: process.send_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _colab(part: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"google.colab.{part}")
    except ImportError:
        return None


def _started(
    *words: str, said: int = subprocess.PIPE, secrets: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen[str]:
    """Start a command. Secrets go to it alone: they are not in this process's environment, which a cell may print."""
    argv = [*PLAIN, sys.executable, "-c", STARTER, str(os.getpid()), *words]
    none, both = subprocess.DEVNULL, subprocess.STDOUT
    env = environment_with(secrets)
    return subprocess.Popen(
        argv, stdin=none, stdout=said, stderr=both, text=True, errors="replace", start_new_session=True, env=env
    )


def _command(*words: str) -> None:
    """Run a command and print its lines. Raises CellError with the last one if it failed."""
    process = _started(*words)
    out, _ = process.communicate()
    lines, error = _parted(out.splitlines(), process.returncode)
    for line in lines:
        _say(line)
    if error:
        raise CellError(error)


def _parted(lines: list[str], code: int) -> tuple[list[str], str]:
    """Return the lines of a process that has ended, and apart from them the one that says why it failed; "" if it did not."""
    last = max((place for place, line in enumerate(lines) if any(map(str.isalnum, line))), default=None)
    if not code:
        return lines, ""
    return ([], "it ended without a message") if last is None else (lines[:last], lines[last])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _as_html(lines: Sequence[str]) -> HTML:
    text = html.escape("\n".join(lines))
    return HTML(f'<pre style="{PLAIN_TEXT}">{text}</pre>')
