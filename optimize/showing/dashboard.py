"""optuna-dashboard over our storage and artifacts, in this process: our PRAGMAs hold, and `ps` shows no URL.

It is shown as it is; what it shows of a study is written by `study.py` and told by `story.py`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore

from optimize.errors import SettingsError
from storage import Database


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
