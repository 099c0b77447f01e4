"""The source `climbmix`: shards from a real HTTP server on loopback, one that fails in every way it can."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.texts import SMALL, load, own_cache, run, texts, write_parquet, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


class Server(ThreadingHTTPServer):
    """Serves `files`; `faults` holds, by name, what goes wrong in the next answers, first come first served."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.faults: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str]] = []  # (name, Range)
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path.strip("/"), self.headers.get("Range", "")
        self.server.requests.append((name, wanted))
        fault = (self.server.faults.get(name) or [""]).pop(0)
        if name not in self.server.files or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        body = b"<html>Please log in</html>" if fault == "login" else self.server.files[name]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        promised = len(body) - start + (1000 if fault == "short" else 0)
        if fault != "no length":
            self.send_header("Content-Length", str(promised))
        self.send_header("ETag", f'"{hash(body)}"')
        self.end_headers()
        part = body[start:]
        self.wfile.write(part[: len(part) // 2] if fault == "drop" else part)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Three shards, the last for validation, each of several hundred kB so that a download has a middle."""
    files = {}
    for number in range(3):
        name = f"shard_{number:05d}.parquet"
        files[name] = write_parquet(tmp_path / name, texts(1500, seed=number, words=80))
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def climbmix(tmp_path: Path, server: Server) -> types.ModuleType:
    return load(tmp_path, DATA_SOURCE="climbmix", NUM_SHARDS=2, LAST_SHARD=2, BASE_URL=server.url)


FIRST = "shard_00000.parquet"


def fetch(prepare: types.ModuleType, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    prepare.download(f"{prepare.BASE_URL}/{path.name}", path, int, threading.Event())


@pytest.mark.slow
def test_shards_are_downloaded_once_and_the_last_is_validation(
    climbmix: types.ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    assert run(climbmix, monkeypatch, "--download-workers", "2") == 0
    assert sorted(name for name, _ in server.requests) == sorted(server.files)
    assert {path.name: path.read_bytes() for path in (cache / "downloads").iterdir()} == server.files
    source = climbmix.open_source(2)
    assert {text.split()[0].split(".")[0] for text in source.documents("train")} == {"#0", "#1"}
    assert list(source.documents("val")) == texts(1500, seed=2, words=80)
    assert len(server.requests) == 3
    data = climbmix.open_data()
    assert data.train_rows.shape[1] == 17
    assert len(data.val_rows) > 500


@pytest.mark.slow
def test_the_number_of_shards_can_be_a_flag_and_the_constant_to_change_is_named(
    climbmix: types.ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(climbmix, monkeypatch, "--num-shards", "1") == 0
    assert sorted(name for name, _ in server.requests) == [FIRST, "shard_00002.parquet"]
    assert "set NUM_SHARDS = 1 in prepare.py" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        climbmix.open_data()


def test_all_shards_are_minus_one(climbmix: types.ModuleType) -> None:
    assert climbmix.open_source(-1).key == {"shards": 2}


def test_a_dropped_connection_is_resumed_where_it_broke(
    climbmix: types.ModuleType, server: Server, cache: Path
) -> None:
    server.files[FIRST] = b"PAR1" + random.Random(0).randbytes(500_000) + b"PAR1"
    server.faults[FIRST] = ["drop", "drop"]
    fetch(climbmix, cache / FIRST)
    starts = [int(wanted[6:-1] or 0) for _, wanted in server.requests]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2] < len(server.files[FIRST])
    assert (cache / FIRST).read_bytes() == server.files[FIRST]
    assert [path.name for path in cache.iterdir()] == [FIRST]


def test_partial_download_is_resumed(climbmix: types.ModuleType, server: Server, cache: Path) -> None:
    server.faults[FIRST] = ["drop", "404"]
    with pytest.raises(climbmix.PrepareError):
        fetch(climbmix, cache / FIRST)
    kept = (cache / f"{FIRST}.part").stat().st_size
    assert not (cache / FIRST).exists()
    fetch(climbmix, cache / FIRST)
    assert server.requests[-1] == (FIRST, f"bytes={kept}-")
    assert (cache / FIRST).read_bytes() == server.files[FIRST]


def test_a_partial_file_that_is_whole_is_not_asked_for_again(
    climbmix: types.ModuleType, server: Server, cache: Path
) -> None:
    server.faults[FIRST] = ["drop", "404"]
    with pytest.raises(climbmix.PrepareError):
        fetch(climbmix, cache / FIRST)
    (cache / f"{FIRST}.part").write_bytes(server.files[FIRST])
    server.requests.clear()
    fetch(climbmix, cache / FIRST)
    assert server.requests == []
    assert (cache / FIRST).read_bytes() == server.files[FIRST]


def test_a_server_without_ranges_starts_again(climbmix: types.ModuleType, server: Server, cache: Path) -> None:
    server.ranges = False
    server.faults[FIRST] = ["drop"]
    fetch(climbmix, cache / FIRST)
    assert (cache / FIRST).read_bytes() == server.files[FIRST]


@pytest.mark.parametrize("size", [2000, 200])
def test_a_file_that_changed_on_the_server_is_not_appended_to_its_old_beginning(
    climbmix: types.ModuleType, server: Server, cache: Path, tmp_path: Path, size: int
) -> None:
    server.faults[FIRST] = ["drop", "404"]
    with pytest.raises(climbmix.PrepareError):
        fetch(climbmix, cache / FIRST)
    server.files[FIRST] = write_parquet(tmp_path / FIRST, texts(size, seed=9))
    fetch(climbmix, cache / FIRST)
    assert (cache / FIRST).read_bytes() == server.files[FIRST]


def test_too_few_bytes_are_never_taken_for_the_file(
    climbmix: types.ModuleType,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cache: Path,
) -> None:
    server.faults[FIRST] = ["short"] * 100
    assert run(climbmix, monkeypatch) == 1
    error = capsys.readouterr().err
    assert f"{server.url}/{FIRST}: cannot be downloaded" in error
    assert error.count("\n") == 1
    assert not (cache / "downloads" / FIRST).exists()


def test_a_busy_server_is_asked_again(climbmix: types.ModuleType, server: Server, cache: Path) -> None:
    server.faults[FIRST] = ["503", "429", "no length"]
    fetch(climbmix, cache / FIRST)
    assert len(server.requests) == 4
    assert (cache / FIRST).read_bytes() == server.files[FIRST]


def test_a_shard_that_is_not_there_ends_it_at_once(
    climbmix: types.ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.files[FIRST]
    assert run(climbmix, monkeypatch) == 1
    assert [name for name, _ in server.requests].count(FIRST) == 1
    assert "(Not Found)" in capsys.readouterr().err


def test_a_login_page_is_not_a_shard(climbmix: types.ModuleType, server: Server, cache: Path) -> None:
    server.faults[FIRST] = ["login"]
    with pytest.raises(climbmix.PrepareError, match="not a parquet file"):
        fetch(climbmix, cache / FIRST)
    assert not (cache / FIRST).exists()
    fetch(climbmix, cache / FIRST)


@pytest.mark.slow
def test_without_a_network_one_line_says_what_to_do_and_no_other_source_is_taken(tmp_path: Path, cache: Path) -> None:
    with Server({}) as server:
        closed = server.url
    script = written(tmp_path / "job", **SMALL, BASE_URL=closed)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"prepare.py: {closed}/shard_0000")
    assert "Connection refused" in done.stderr
    assert 'DATA_SOURCE = "docs" (make optimize PROFILE=cpu)' in done.stderr
    assert done.stderr.count("\n") == 1
    assert "---" not in done.stdout
    assert not list(cache.glob("*/meta.json"))
