"""optuna-dashboard over our storage and artifacts, in this process: our PRAGMAs hold, and `ps` shows no URL.

It is shown as it is; what it shows of a study is written by `study.py`.
"""

from __future__ import annotations

import socket
from pathlib import Path

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore

from optimize.errors import SettingsError
from storage import Database


def serve_dashboard(database: Database, artifacts: Path, host: str, port: int) -> None:
    """Serve until interrupted; the studies may be running, or not there yet."""
    artifacts.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(artifacts))
    optuna_dashboard.run_server(database.storage, host=host, port=port, artifact_store=store)


def check_address(host: str, port: int, expose: bool) -> list[str]:
    """What the user must know of this address. Raises SettingsError if others could reach it unasked, or the port is taken."""
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    if not loopback and not expose:
        raise SettingsError(f"{_meaning(host)} Use an SSH tunnel to 127.0.0.1, or add --expose if you mean it.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"{host}:{port}: {error.strerror}. Choose another port, such as PORT=8081.") from None
    return [] if loopback else [_meaning(host)]


def _meaning(host: str) -> str:
    return f"--host {host}: whoever reaches this address can read, change and delete your studies; there is no login."
