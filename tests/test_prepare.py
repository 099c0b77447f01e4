"""The data side of the workload `gpt`: real files, a real HTTP server on loopback, real processes."""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import json
import math
import random
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[1] / "optimize" / "workloads" / "gpt" / "prepare.py"
SMALL = {"VOCAB_SIZE": 300, "MAX_SEQ_LEN": 16, "EVAL_TOKENS": 500, "BACKOFF_S": 0.001, "PACK_BUFFER": 50}
CONSTANTS = ("DATA_SOURCE", "NUM_SHARDS", "VOCAB_SIZE", "MAX_SEQ_LEN")
CONSTANTS += ("TIME_BUDGET", "FLOP_BUDGET", "EVAL_TOKENS", "VAL_SPLIT")
numbers = count()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "optimize-gpt"


def written(folder: Path, **constants: object) -> Path:
    """prepare.py in a folder of its own, its constants replaced as the service replaces them."""
    text = SCRIPT.read_text()
    for name, value in constants.items():
        text, replaced = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", text)
        assert replaced == 1, name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prepare.py").write_text(text)
    return folder / "prepare.py"


def load(folder: Path, **constants: object) -> types.ModuleType:
    """That prepare.py as a module, under a name of its own."""
    name = f"prepare_{next(numbers)}"
    spec = importlib.util.spec_from_file_location(name, written(folder / name, **SMALL | constants))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(prepare: types.ModuleType, monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    monkeypatch.setattr(sys, "argv", ["prepare.py", *flags])
    return int(prepare.main())


def texts(number: int, seed: int = 0, words: int = 60) -> list[str]:
    """Documents of made-up words, all different."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(1, 9))) for _ in range(400)]
    return [f"#{seed}.{n}# " + " ".join(draw.choices(lexicon, k=draw.randint(5, words))) for n in range(number)]


def write_parquet(path: Path, documents: list[str], column: str = "text") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({column: documents}), path)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder source: four files of text."""
    (tmp_path / "texts").mkdir()
    for number in range(4):
        marked = "\n<|endoftext|>\n".join(texts(120, seed=number))
        (tmp_path / "texts" / f"{number}.txt").write_text(marked)
    return tmp_path / "texts"


# ---------------------------------------------------------------------------------------------------------------------
# The script


def test_every_constant_is_one_plain_literal_at_module_level() -> None:
    tree = ast.parse(SCRIPT.read_text())
    values = {}
    for name in CONSTANTS:
        stores = [
            n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store)
        ]
        assigned = [n for n in tree.body if isinstance(n, ast.Assign) and stores[0] in n.targets]
        assert (len(stores), len(assigned)) == (1, 1), name
        values[name] = ast.literal_eval(assigned[0].value)
    assert values["EVAL_TOKENS"] == 40 * 524288
    assert (values["VOCAB_SIZE"], values["MAX_SEQ_LEN"], values["TIME_BUDGET"]) == (8192, 2048, 300)


@pytest.mark.slow
def test_a_second_call_prints_the_same_block_and_imports_nothing_heavy(tmp_path: Path, folder: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    first, second = (
        subprocess.run([sys.executable, "-X", "importtime", script], capture_output=True, text=True) for _ in range(2)
    )
    block = first.stdout[first.stdout.index("---") :]
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, block)
    assert [line.split(":")[0] for line in block.splitlines()] == [
        *("---", "data_fingerprint", "data_source", "train_tokens_M", "val_tokens_M", "vocab_size")
    ]
    imported = {line.split("|")[-1].strip() for line in second.stderr.splitlines()}
    assert not imported & {"numpy", "torch", "pyarrow", "tiktoken", "rustbpe", "requests", "tqdm"}


@pytest.mark.parametrize(
    ("constants", "names"),
    [
        ({"DATA_SOURCE": "pile"}, "DATA_SOURCE = 'pile'"),
        ({"DATA_SOURCE": "./texts"}, "whole path"),
        ({"DATA_SOURCE": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"NUM_SHARDS": 0}, "NUM_SHARDS = 0"),
        ({"VOCAB_SIZE": 65536}, "VOCAB_SIZE = 65536"),
        ({"VOCAB_SIZE": 259}, "VOCAB_SIZE = 259"),
        ({"VAL_SPLIT": 2}, "VAL_SPLIT = 2"),
        ({"MAX_SEQ_LEN": 0}, "MAX_SEQ_LEN = 0"),
    ],
)
def test_a_wrong_constant_is_one_clear_line(
    constants: dict[str, object],
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(load(tmp_path, **constants), monkeypatch) == 1
    error = capsys.readouterr().err
    assert names in error
    assert error.startswith("prepare.py: ")
    assert error.count("\n") == 1


# ---------------------------------------------------------------------------------------------------------------------
# docs


def write_package(site: Path, name: str, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (site / name / path).parent.mkdir(parents=True, exist_ok=True)
        (site / name / path).write_text(text)
    return site / name


def test_docstrings_are_read_wherever_they_stand_and_nothing_is_imported(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    long = "{} " + "words " * 20
    source = f'''"""{long.format("module")}"""
raise SystemExit("imported")
class A:
    """{long.format("class")}"""
    async def method(self):
        """{long.format("method")}"""
        if True:
            try:
                pass
            finally:
                match 1:
                    case 1:
                        def inner():
                            """{long.format("inner")}"""
def short():
    """A label."""
def twice():
    """{long.format("class")}"""
'''
    package = write_package(tmp_path, "pack", {"a.py": source, "b.py": "def broken(:", "c.py": source})
    parts = prepare.read_docstrings([package])
    found = parts["train"] + parts["val"]
    assert sorted(text.split()[0] for text in found) == ["class", "inner", "method", "module"]


def test_docstrings_with_lone_surrogates_become_valid_text(tmp_path: Path) -> None:
    package = write_package(tmp_path, "pack", {"a.py": f'"""\\ud800 {"words " * 20}"""'})
    parts = load(tmp_path).read_docstrings([package])
    assert [text[:2] for text in parts["train"] + parts["val"]] == ["? "]


def test_docstrings_of_one_file_stay_in_one_part_in_an_order_of_their_own(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    files = {
        f"m{n}.py": "".join(f'def f{k}():\n    """{n} {k} {"words " * 20}"""\n' for k in range(3)) for n in range(64)
    }
    package = write_package(tmp_path, "pack", files)
    parts = prepare.read_docstrings([package])
    owners = {split: {text.split()[0] for text in found} for split, found in parts.items()}
    assert owners["train"].isdisjoint(owners["val"])
    assert len(owners["train"]) + len(owners["val"]) == 64
    assert 1 <= len(owners["val"]) <= 12
    assert parts["train"] == sorted(parts["train"], key=prepare.sha256)
    assert prepare.read_docstrings([package]) == parts


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = load(tmp_path, DATA_SOURCE="docs", DOCS_PACKAGES=("numpy", "no_such_package"))
    assert run(prepare, monkeypatch) == 1
    error = capsys.readouterr().err
    assert "no_such_package is not installed" in error
    assert error.count("\n") == 1


def test_a_package_without_its_folder_is_refused_not_left_out(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    with pytest.raises(prepare.PrepareError, match="no such folder"):
        prepare.read_docstrings([write_package(tmp_path, "pack", {"a.py": ""}), tmp_path / "absent"])


@pytest.mark.slow
def test_docs_of_the_installed_packages_are_enough_for_the_cpu_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    constants = {"DATA_SOURCE": "docs", "VOCAB_SIZE": 2048, "MAX_SEQ_LEN": 256, "EVAL_TOKENS": 65536}
    prepare = load(tmp_path, **constants, PACK_BUFFER=10_000)
    assert run(prepare, monkeypatch) == 0
    assert "data_source:      docs\n" in capsys.readouterr().out
    data = prepare.open_data()
    assert data.train_rows.size > 3e6
    assert len(load(tmp_path, **constants, VAL_SPLIT=1).open_data().val_rows) * 256 > 100_000
    assert len(data.val_rows) * 256 > 100_000
    assert 2.6 < data.token_bytes[data.train_rows].mean() < 3.0
    measured_with = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "sympy": "1.14.0", "networkx": "3.6.1", "mpmath": "1.3.0"}
    measured_with |= {"sqlalchemy": "2.1.9", "optuna": "5.0.0", "tiktoken": "0.14.0", "rustbpe": "0.1.0"}
    if sys.version_info[:2] == (3, 11) and measured_with == {name: metadata.version(name) for name in measured_with}:
        assert data.fingerprint == "9c0c49ff806ef058"


# ---------------------------------------------------------------------------------------------------------------------
# A folder


@pytest.mark.slow
def test_validation_files_of_a_folder_are_whole_files_and_at_least_one(tmp_path: Path, folder: Path) -> None:
    write_parquet(folder / "5.parquet", texts(30, seed=5))
    source = load(tmp_path, DATA_SOURCE=str(folder)).open_source(1)
    train, val = (list(source.documents(split)) for split in ("train", "val"))
    owner = {text.split()[0].split(".")[0] for text in train}, {text.split()[0].split(".")[0] for text in val}
    assert owner[0].isdisjoint(owner[1])
    assert len(owner[1]) == 1
    assert sorted(train + val) == sorted([text for n in range(4) for text in texts(120, n)] + texts(30, seed=5))


def test_validation_of_a_single_file_is_its_tail(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    documents = texts(50)
    write_parquet(tmp_path / "one" / "a.parquet", documents)
    source = load(tmp_path, DATA_SOURCE=str(tmp_path / "one")).open_source(1)
    assert list(source.documents("train")) == documents[:47]
    assert list(source.documents("val")) == documents[47:]


def test_text_without_marks_is_cut_at_empty_lines_and_keeps_its_context(tmp_path: Path) -> None:
    paragraphs = [f"{n} " + "word " * 200 for n in range(10)]
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(paragraphs))
    documents = list(load(tmp_path).text_documents(path))
    assert [document.split()[0] for document in documents] == ["0", "2", "4", "6", "8"]
    assert " ".join(documents).split() == " ".join(paragraphs).split()


def test_unreadable_parquet_is_one_clear_line(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and then nothing of use PAR1")
    write_parquet(tmp_path / "other.parquet", ["a"], column="body")
    for name, reason in (("damaged", "cannot be read"), ("other", "no column `text`"), ("absent", "cannot be read")):
        with pytest.raises(prepare.PrepareError, match=reason) as caught:
            list(prepare.parquet_documents(tmp_path / f"{name}.parquet"))
        assert str(tmp_path / f"{name}.parquet") in str(caught.value)
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# climbmix, from a server on loopback


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


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizer


def test_tokens_survive_a_round_trip_and_know_their_true_bytes(tmp_path: Path) -> None:
    prepare = load(tmp_path, VOCAB_SIZE=280)
    text = "naïve façade — 你好 12345\r\n\tdef f(x):  return x" * 3
    prepare.train_tokenizer([text] * 5, tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    unseen = "🙂 not seen, <|bos|> is text here \ud800"
    ids = tokenizer.encode_ordinary(text + unseen)
    assert tokenizer.n_vocab == 280
    assert tokenizer.decode(ids) == text + unseen.replace("\ud800", "\ufffd")
    assert max(ids) < 276 <= tokenizer.encode_single_token("<|bos|>")
    assert sum(len(tokenizer.decode_single_token_bytes(i)) for i in ids) == len(tokenizer.decode_bytes(ids))


def test_tiktoken_cuts_text_as_rustbpe_learned_it(tmp_path: Path) -> None:
    import rustbpe

    prepare = load(tmp_path)
    documents = texts(200)
    prepare.train_tokenizer(documents, tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    learned = rustbpe.Tokenizer()
    learned.train_from_iterator(iter(documents), prepare.VOCAB_SIZE - 4, pattern=prepare.SPLIT_PATTERN)
    for text in [*documents, "It's 2024,  isn't\n\n it?   "]:
        assert tokenizer.encode_ordinary(text) == learned.encode(text)


def test_a_text_too_poor_for_the_vocabulary_is_refused(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    with pytest.raises(prepare.PrepareError, match="VOCAB_SIZE = 300: the text has only"):
        prepare.train_tokenizer(["aa ab"], tmp_path / "tokenizer.json")


def test_long_documents_do_not_choose_the_vocabulary(tmp_path: Path) -> None:
    prepare = load(tmp_path, TOKENIZER_CHARS=25, TOKENIZER_DOCUMENT_CHARS=10)
    assert [len(text) for text in prepare.head_of(["a" * 100, "b" * 6, "c" * 100, "d", "e"])] == [10, 6, 10]


# ---------------------------------------------------------------------------------------------------------------------
# Packing


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> types.ModuleType:
    return load(tmp_path_factory.mktemp("packing"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 9), max_size=200))
def test_packed_rows_are_full_and_hold_beginnings_of_documents(packing: types.ModuleType, sizes: list[int]) -> None:
    token = count(1)  # every token but BOS (0) occurs once
    documents = [np.array([0, *islice(token, size - 1)], dtype=np.uint16) for size in sizes]
    beginnings = {tuple(document[:end].tolist()) for document in documents for end in range(1, 10)}
    rows = [row.tolist() for row in packing.pack(iter(documents), 9)]
    seen: list[int] = []
    for row in rows:
        assert len(row) == 9
        assert row[0] == 0
        starts = [place for place, t in enumerate(row) if t == 0]
        parts = [tuple(row[a:b]) for a, b in zip(starts, [*starts[1:], 9], strict=True)]
        assert beginnings.issuperset(parts)
        seen += [t for t in row if t]
    assert len(seen) == len(set(seen))


def test_the_largest_fitting_document_fills_a_row(packing: types.ModuleType) -> None:
    documents = [np.array([0] + [size] * (size - 1), dtype=np.uint16) for size in (3, 6, 2, 7, 4)]
    rows = [row.tolist() for row in packing.pack(iter(documents), 10)]
    assert rows == [[0, 7, 7, 7, 7, 7, 7, 0, 3, 3], [0, 6, 6, 6, 6, 6, 0, 4, 4, 4]]


def test_where_none_fits_the_smallest_is_cut(packing: types.ModuleType) -> None:
    documents = [np.array([0] + [size] * (size - 1), dtype=np.uint16) for size in (7, 5, 6, 7)]
    rows = [row.tolist() for row in packing.pack(iter(documents), 9)]
    assert rows == [[0, 7, 7, 7, 7, 7, 7, 0, 5], [0, 7, 7, 7, 7, 7, 7, 0, 6]]


def test_little_text_is_cut_off_but_the_ends_of_long_documents(packing: types.ModuleType) -> None:
    draw = random.Random(0)
    documents = [np.zeros(min(257, int(draw.lognormvariate(5, 1)) + 20), dtype=np.uint16) for _ in range(20_000)]
    packing.PACK_BUFFER, before = 10_000, packing.PACK_BUFFER
    rows = sum(1 for _ in packing.pack(iter(documents), 257))
    packing.PACK_BUFFER = before
    assert rows * 257 > 0.98 * sum(map(len, documents))


def test_a_document_is_bos_and_the_tokens_that_a_row_can_hold(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    prepare.train_tokenizer(texts(100), tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    long = " ".join(texts(10))
    encoded = [ids.tolist() for ids in prepare.encode(["", "short", long], tokenizer)]
    bos = tokenizer.encode_single_token("<|bos|>")
    assert encoded == [[bos, *tokenizer.encode_ordinary("short")], [bos, *tokenizer.encode_ordinary(long)[:16]]]


# ---------------------------------------------------------------------------------------------------------------------
# The prepared dataset


def test_the_halves_of_the_validation_text_share_no_document(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = [load(tmp_path, DATA_SOURCE=str(folder), VAL_SPLIT=half) for half in (0, 1)]
    assert run(halves[0], monkeypatch) == 0
    data = [half.open_data() for half in halves]
    assert data[0].fingerprint == data[1].fingerprint
    assert data[0].train_rows.tobytes() == data[1].train_rows.tobytes()
    tokenizer = halves[0].load_tokenizer(halves[0].dataset_folder(halves[0].open_source(1)) / "tokenizer.json")
    begins = [  # each document begins with a number of its own
        set(re.findall(r"#\d+\.\d+#", tokenizer.decode([t for t in d.val_rows.ravel().tolist() if t < d.bos_id])))
        for d in data
    ]
    assert all(len(found) > 20 for found in begins)
    whole = {text.split()[0] for text in halves[0].open_source(1).documents("val")}
    assert not (begins[0] & whole) & (begins[1] & whole)


def test_open_data_gives_what_train_needs(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    run(prepare, monkeypatch)
    data = prepare.open_data()
    assert (data.vocab_size, data.bos_id) == (300, 296)
    assert data.train_rows.dtype == data.val_rows.dtype == np.uint16
    assert isinstance(data.train_rows, np.memmap)
    assert (data.train_rows[:, 0] == data.bos_id).all()
    assert (data.val_rows[:, 0] == data.bos_id).all()
    assert data.train_rows.max() < 300
    assert data.token_bytes.dtype == np.int32
    assert data.token_bytes[:296].min() == 1
    assert data.token_bytes[296:].tolist() == [0] * 4


@pytest.mark.slow
def test_the_same_text_has_the_same_fingerprint_and_other_rows_another(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for place, constants in (("a", {}), ("b", {}), ("c", {"VOCAB_SIZE": 290}), ("d", {"MAX_SEQ_LEN": 17})):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
        prepare = load(tmp_path, DATA_SOURCE=str(folder), **constants)
        assert run(prepare, monkeypatch) == 0
        found.append(prepare.open_data().fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert re.fullmatch("[0-9a-f]{16}", found[0])


@pytest.mark.slow
def test_datasets_lie_side_by_side_and_a_changed_folder_is_another_dataset(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for constants in ({}, {"VOCAB_SIZE": 290}):
        run(load(tmp_path, DATA_SOURCE=str(folder), **constants), monkeypatch)
    (folder / "more.txt").write_text("more")
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    with pytest.raises(SystemExit):
        prepare.open_data()
    run(prepare, monkeypatch)
    assert len(list(cache.glob("folder-*/meta.json"))) == 3
    assert not list(cache.glob("**/*.pkl"))


def test_data_that_is_not_prepared_is_one_line_and_exit_code_3(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        load(tmp_path, DATA_SOURCE=str(folder)).open_data()
    assert caught.value.code == 3
    line = f"prepare.py: data for {folder} (vocabulary 300, rows of 16) is not prepared. Run: python prepare.py\n"
    assert capsys.readouterr().err == line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.bin", "val_0.bin", "token_bytes.npy", "tokenizer.json", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_dataset_is_named_and_made_again(
    name: str,
    damage: str,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    run(prepare, monkeypatch)
    path = prepare.dataset_folder(prepare.open_source(1)) / name
    path.write_bytes(path.read_bytes()[:-1]) if damage == "cut" else path.unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        prepare.open_data()
    error = capsys.readouterr().err
    assert caught.value.code == 3
    assert "damaged" in error
    assert error.endswith("Run: python prepare.py\n")
    assert error.count("\n") == 1
    assert run(prepare, monkeypatch) == 0
    prepare.open_data()


def test_more_eval_tokens_than_there_are_is_an_error_that_names_the_constant(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder), EVAL_TOKENS=10_000_000)
    assert run(prepare, monkeypatch) == 1
    assert "EVAL_TOKENS = 10000000: validation half 0 has" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare.open_data()
    assert "EVAL_TOKENS = 10000000" in capsys.readouterr().err


def test_a_text_smaller_than_a_row_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert run(load(tmp_path, DATA_SOURCE=str(folder), MAX_SEQ_LEN=100_000), monkeypatch) == 1
    assert "MAX_SEQ_LEN" in capsys.readouterr().err
    assert not list(cache.glob("folder-*/meta.json"))


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run(load(tmp_path, DATA_SOURCE=str(folder)), monkeypatch) == 1
    error = capsys.readouterr().err
    assert "Not a directory" in error
    assert "XDG_CACHE_HOME" in error
    assert error.count("\n") == 1


def wait_for(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


@pytest.mark.slow
def test_a_killed_preparation_leaves_nothing_or_a_whole_dataset(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    for sign in ("*.building", "*.building/tokenizer.json", "*.building/train.bin", "*.building/meta.json"):
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.DEVNULL)
        wait_for(lambda sign=sign, process=process: list(cache.glob(sign)) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for meta in cache.glob("folder-*[!g]/meta.json"):
            sizes = json.loads(meta.read_text())["files"]
            assert sizes == {name: (meta.parent / name).stat().st_size for name in sizes}
            assert len(sizes) == 5
            (meta.parent / "train.bin").unlink()
    assert subprocess.run([sys.executable, script], stdout=subprocess.DEVNULL).returncode == 0
    assert not list(cache.glob("*.building"))
    assert len(list(cache.glob("folder-*/meta.json"))) == 1


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    cache.mkdir(parents=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "another process is preparing data; waiting" in process.stdout.readline()
        assert not list(cache.glob("folder-*"))
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert "data_fingerprint" in process.communicate()[0]
    assert process.returncode == 0


@pytest.mark.slow
def test_ctrl_c_is_one_line(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    cache.mkdir(parents=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, script], text=True, **pipes)
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
    assert process.returncode == 130
    assert error.startswith("prepare.py: interrupted")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_processes_that_prepare_at_once_agree_and_one_of_them_does_the_work(tmp_path: Path, folder: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    processes = [subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output[output.index("---") :] for output in outputs}) == 1
    assert sum("packing rows" in output for output in outputs) == 1


# ---------------------------------------------------------------------------------------------------------------------
# For train.py


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 25])
def test_the_order_of_rows_does_not_depend_on_the_batch_size(packing: types.ModuleType, batch_size: int) -> None:
    rows = np.arange(10 * 5, dtype=np.uint16).reshape(10, 5)
    blocks = list(islice(packing.batches(rows, batch_size), 60))
    assert all(block.shape == (batch_size, 5) and type(block) is np.ndarray for block, _ in blocks)
    seen = np.concatenate([block for block, _ in blocks])
    assert (seen == np.resize(rows, (len(seen), 5))).all()
    assert [epoch for _, epoch in blocks] == [1 + (n * batch_size - 1) // 10 for n in range(1, 61)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[types.ModuleType, Any]:
    """A dataset whose last target counts in the middle of a row: EVAL_TOKENS is no multiple of MAX_SEQ_LEN."""
    place = tmp_path_factory.mktemp("prepared")
    (place / "texts").mkdir()
    (place / "texts" / "a.txt").write_text("\n<|endoftext|>\n".join(texts(3000)))
    prepare = load(place, DATA_SOURCE=str(place / "texts"), MAX_SEQ_LEN=64, EVAL_TOKENS=1003)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        assert run(prepare, patch) == 0
        return prepare, prepare.open_data()


@pytest.mark.slow
def test_val_bpb_is_the_same_for_every_batch_size(prepared: tuple[types.ModuleType, Any]) -> None:
    import torch

    prepare, data = prepared
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(300, 32), torch.nn.Linear(32, 64), torch.nn.Tanh())
    head = torch.nn.Linear(64, 300)

    def loss(x: Any, y: Any) -> Any:
        assert (x.dtype, y.dtype, x.shape[1]) == (torch.int64, torch.int64, 64)
        logits = head(model(x).cumsum(1))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)

    found = [prepare.evaluate_bpb(loss, data, batch_size) for batch_size in (1, 8, 12, 24)]
    assert found == pytest.approx([found[0]] * 4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 8, 12, 24, 1000])
def test_exactly_eval_tokens_targets_are_scored_and_special_tokens_are_not(
    prepared: tuple[types.ModuleType, Any], batch_size: int
) -> None:

    prepare, data = prepared
    targets = data.val_rows[:, 1:].ravel()[:1003].astype(int)
    true_bytes = data.token_bytes[targets]
    assert (true_bytes == 0).any()
    nats = (1 + targets / 512)[true_bytes > 0].sum()
    shapes = set()

    def loss(x: Any, y: Any) -> Any:
        shapes.add(tuple(y.shape))
        assert (x[:, 1:] == y[:, :-1]).all()
        return 1 + y.float() / 512

    expected = nats / (math.log(2) * true_bytes.sum())
    assert prepare.evaluate_bpb(loss, data, batch_size) == pytest.approx(expected, rel=1e-6)
    assert shapes == {(batch_size, 64)}


@pytest.mark.slow
def test_an_evaluation_is_never_cut_short(prepared: tuple[types.ModuleType, Any]) -> None:
    from dataclasses import replace

    prepare, data = prepared
    few = replace(data, val_rows=data.val_rows[:15])  # 960 targets, 1003 wanted
    with pytest.raises(prepare.PrepareError, match="EVAL_TOKENS = 1003"):
        prepare.evaluate_bpb(lambda x, y: y.float(), few, 8)
