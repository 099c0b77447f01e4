"""Text to packed tokens, once: everything about data that train.py needs, and its measure, bits per byte.

    python prepare.py                       # fetch text, train a tokenizer, pack rows; later calls only check
    python prepare.py --num-shards 4 --download-workers 2

Runs alone, and is imported by the train.py beside it for `open_data`, `batches` and `evaluate_bpb`. It does not train
and knows no device. It never takes another source than the one asked for and never cuts an evaluation short: it says in
one line what is missing, and stops.

All lies in optimize-gpt/ under $XDG_CACHE_HOME or ~/.cache, written beside its place and then renamed:
    downloads/shard_00000.parquet ...       shared by all datasets
    <source>-v<vocabulary>-t<row>-<key>/    one prepared dataset
        meta.json                           what it was made from, its fingerprint, the size of every file
        tokenizer.json  token_bytes.npy     (vocab,) int32: bytes that a token stands for, 0 for special tokens
        train.bin  val_0.bin  val_1.bin     (rows, MAX_SEQ_LEN + 1) little-endian uint16
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import fcntl
import gc
import hashlib
import json
import math
import os
import shutil
import sys
import threading
import warnings
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # imported where they are used: a call that finds everything prepared answers at once
    import numpy as np
    import numpy.typing as npt
    import requests
    import tiktoken
    import torch

# ---------------------------------------------------------------------------------------------------------------------
# Constants

DATA_SOURCE = "climbmix"  # "docs", "climbmix", or a folder of .parquet and .txt files (a path with a slash)
NUM_SHARDS = 10  # climbmix: training shards, about 250 MB of text each; -1 = all
VOCAB_SIZE = 8192  # tokens, 4 special ones included
MAX_SEQ_LEN = 2048  # tokens of context
TIME_BUDGET = 300  # seconds of training
FLOP_BUDGET = 0  # FLOPs of training; 0 = TIME_BUDGET decides
EVAL_TOKENS = 20971520  # targets that val_bpb is measured on
VAL_SPLIT = 0  # which half of the validation text, 0 or 1; they share no document

FORMAT = 1  # of the prepared files: another tokenizer or packing is another number
BASE_URL = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
LAST_SHARD = 6542  # climbmix: the validation text; those before it are training text
ATTEMPTS = 5  # failures of a download in a row, without a new byte in between
BACKOFF_S = 1.0  # wait after the first, doubled after each
TIMEOUT_S = 30.0
DOCS_PACKAGES = ("mpmath", "networkx", "numpy", "optuna", "sqlalchemy", "sympy", "torch")
DOCS_MIN_CHARS = 80  # a shorter docstring is a label, not text
# GPT-4's (cl100k_base in tiktoken/openai_public.py), but numbers in groups of 2: groups of 3 would be 1,000 tokens
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,2}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
SPECIAL_TOKENS = ("<|bos|>", "<|reserved_1|>", "<|reserved_2|>", "<|reserved_3|>")
TOKENIZER_CHARS = 250_000_000  # text that the tokenizer is trained on: more changes little
TOKENIZER_DOCUMENT_CHARS = 10_000  # of one document: a few long ones must not choose the vocabulary
PACK_BUFFER = 10_000  # documents to choose from when a row is filled: with 1,000, five times as much is cut off


class PrepareError(Exception):
    """What a user can cause or cure, as one line: what. what to do."""


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def progress_bar(items: Iterable[Any], title: str, unit: str) -> Iterable[Any]:
    from tqdm import tqdm

    # disable=None: no bar unless on a terminal
    bar: Iterable[Any] = tqdm(items, title, unit=unit, unit_scale=True, leave=False, disable=None)
    return bar


# ---------------------------------------------------------------------------------------------------------------------
# Sources: where documents come from


class Source(Protocol):
    """Text in two parts. `key` is all that determines it; `documents("train" or "val")` yields the same each time."""

    name: str
    key: dict[str, Any]

    def documents(self, split: str) -> Iterator[str]: ...


def open_source(num_shards: int, workers: int = 8) -> Source:
    if DATA_SOURCE == "docs":
        return Docs()
    if DATA_SOURCE == "climbmix":
        return Climbmix(LAST_SHARD if num_shards == -1 else num_shards, workers)
    if "/" in DATA_SOURCE:
        return Folder(Path(DATA_SOURCE).expanduser())
    choices = '"docs", "climbmix" or a folder (a path with a slash)'
    raise PrepareError(f"DATA_SOURCE = {DATA_SOURCE!r}: no such source. Choose {choices}.")


class Docs:
    """Docstrings of packages that are installed anyway: English, small, offline, the same for the same versions."""

    name = "docs"

    def __init__(self) -> None:
        from importlib import metadata

        versions: dict[str, str] = {}
        self.folders: list[Path] = []
        for package in DOCS_PACKAGES:
            try:
                found = metadata.distribution(package)
            except metadata.PackageNotFoundError:
                where = f'DATA_SOURCE = "docs": the package {package} is not installed'
                raise PrepareError(f"{where}. Run: {sys.executable} -m pip install {package}") from None
            versions[package] = found.version.split("+")[0]  # "+cpu" and "+cu130" are builds of the same sources
            self.folders.append(Path(str(found.locate_file(package))))
        self.key = {"versions": versions}
        self.texts: dict[str, list[str]] = {}

    def documents(self, split: str) -> Iterator[str]:
        if not self.texts:
            print(f"docs: reading the docstrings of {', '.join(DOCS_PACKAGES)} (20 s)", flush=True)
            self.texts = read_docstrings(self.folders)
        yield from self.texts[split]


def read_docstrings(folders: Sequence[Path]) -> dict[str, list[str]]:
    """{"train": docstrings, "val": docstrings} of the packages in `folders`, none of which is imported.

    A hash of the *file's* path chooses the part, 1 in 16 is validation: neighbours repeat each other and stay together.
    Exact duplicates are dropped. Sorted by sha256, so that the order is mixed, and the same on every machine.
    """
    for folder in folders:
        if not folder.is_dir():  # less text would be other text
            raise PrepareError(
                f"{folder}: no such folder, but the package is installed. Install it again, not editable."
            )
    files = [(path.relative_to(folder.parent).as_posix(), path) for folder in folders for path in folder.rglob("*.py")]
    parts: dict[str, dict[str, str]] = {"train": {}, "val": {}}
    gc.disable()  # syntax trees have no cycles, and a third of the time would go into looking for some
    for name, path in progress_bar(sorted(files), "docs", "file"):
        part = parts["val" if sha256(name)[0] % 16 == 0 else "train"]
        for text in file_docstrings(path):
            digest = sha256(text).hex()
            if not any(digest in texts for texts in parts.values()):
                part[digest] = text
    gc.enable()
    return {split: [texts[digest] for digest in sorted(texts)] for split, texts in parts.items()}


def file_docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            nodes: list[ast.AST] = [ast.parse(path.read_bytes())]
    except (SyntaxError, ValueError):  # written for another Python
        return
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if len(text) >= DOCS_MIN_CHARS:
                yield text.encode("utf-8", "replace").decode()  # Python allows lone surrogates, UTF-8 does not
        statements = (ast.stmt, ast.excepthandler, ast.match_case)  # expressions, most of a tree, hold no docstring
        nodes.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, statements))


class Climbmix:
    """Web text in shuffled shards: karpathy/climbmix-400b-shuffle, from NVIDIA's ClimbMix (CC BY-NC 4.0)."""

    name = "climbmix"

    def __init__(self, shards: int, workers: int) -> None:
        if not 1 <= shards <= LAST_SHARD:
            raise PrepareError(f"NUM_SHARDS = {shards}: choose 1 to {LAST_SHARD}, or -1 for all.")
        self.key = {"shards": shards}
        self.shards, self.workers = shards, workers

    def documents(self, split: str) -> Iterator[str]:
        folder = cache_folder() / "downloads"
        names = [f"shard_{number:05d}.parquet" for number in (*range(self.shards), LAST_SHARD)]
        download_all([name for name in names if not (folder / name).exists()], folder, self.workers)
        for name in names[:-1] if split == "train" else names[-1:]:
            yield from parquet_documents(folder / name)


class Folder:
    """The user's .parquet files (column `text`) and .txt files, in the order of their names.

    Validation are the files whose names hash lowest, 1 in 20 and at least one; of a single file its last documents.
    """

    name = "folder"

    def __init__(self, folder: Path) -> None:
        if not folder.is_absolute():
            raise PrepareError(f'DATA_SOURCE = "{folder}": a trial runs in a folder of its own. Give the whole path.')
        self.files = sorted(path for path in folder.rglob("*.*") if path.suffix in (".parquet", ".txt"))
        if not self.files:
            raise PrepareError(f'DATA_SOURCE = "{folder}": no .parquet or .txt file there. Check the path.')
        stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in self.files]
        self.key = {"files": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]}
        by_hash = sorted(self.files, key=lambda path: sha256(path.relative_to(folder).as_posix()))
        self.val = set(by_hash[: math.ceil(len(by_hash) / 20)])

    def documents(self, split: str) -> Iterator[str]:
        if len(self.files) == 1:
            total = sum(1 for _ in file_documents(self.files[0]))
            first_val = total - math.ceil(total / 20)
            ends = (0, first_val) if split == "train" else (first_val, total)
            yield from islice(file_documents(self.files[0]), *ends)
            return
        for path in self.files:
            if (path in self.val) == (split == "val"):
                yield from file_documents(path)


def file_documents(path: Path) -> Iterator[str]:
    return parquet_documents(path) if path.suffix == ".parquet" else text_documents(path)


def parquet_documents(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise PrepareError(f"{path}: no column `text`. Give the column of documents this name.")
            for batch in file.iter_batches(batch_size=1024, columns=["text"]):
                yield from filter(None, batch.column(0).to_pylist())
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise PrepareError(f"{path}: cannot be read ({reason}). Replace it, or delete it and run again.") from None


def text_documents(path: Path) -> Iterator[str]:
    """A document ends at a line <|endoftext|>, or at an empty line once it has 2,000 characters: context is kept."""
    text = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in chain(file, ["<|endoftext|>"]):
            mark = line.strip() == "<|endoftext|>"
            text += "" if mark else line
            if mark or (len(text) >= 2000 and not line.strip()):
                yield from filter(None, [text.strip()])
                text = ""


# ---------------------------------------------------------------------------------------------------------------------
# Downloads


class Stopped(Exception):
    """Not this download's fault: another one failed for good, or Ctrl-C."""


def download_all(names: Sequence[str], folder: Path, workers: int) -> None:
    """Fetch BASE_URL/name into folder for each name. The first to fail for good ends them all; what came is kept."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    from tqdm import tqdm

    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"climbmix: downloading {len(names)} shards into {folder}", flush=True)
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, workers)) as pool, tqdm(unit="B", unit_scale=True, disable=None) as bar:
        futures = [pool.submit(download, f"{BASE_URL}/{name}", folder / name, bar.update, stop) for name in names]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                bar.set_description(f"{done}/{len(names)} shards")
        finally:  # also on Ctrl-C: leaving the pool waits for its threads
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def download(url: str, path: Path, advance: Callable[[int], object], stop: threading.Event) -> None:
    """Fetch a parquet file to `path`, where it appears whole. Goes on from what an earlier call left in `path`.part."""
    import requests

    part = path.with_name(path.name + ".part")
    failures = most = 0
    while True:
        try:
            download_part(url, part, advance, stop)
            break
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else 0
            size = part.stat().st_size if part.exists() else 0
            failures, most = (1, size) if size > most else (failures + 1, most)
            if failures >= ATTEMPTS or (400 <= status < 500 and status not in (408, 429)):
                raise unreachable(url, error) from None
            if stop.wait(BACKOFF_S * 2 ** (failures - 1)):
                raise Stopped from None
    with part.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, part.stat().st_size - 4))
        tail = file.read()
    if (head, tail) != (b"PAR1", b"PAR1"):
        part.unlink()
        raise PrepareError(f"{url}: this is not a parquet file. Is a proxy or a login page in the way?")
    part.rename(path)
    version_file(part).unlink()


def download_part(url: str, part: Path, advance: Callable[[int], object], stop: threading.Event) -> None:
    """One request for what `part` lacks. Raises requests.RequestException unless all of it is there afterwards."""
    import requests

    known = version_file(part).read_text() if part.exists() and version_file(part).exists() else ""
    have = part.stat().st_size if known else 0
    if known and have == int(known.split()[0]):
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        resumed = answer.status_code == 206
        size = answer.headers.get("Content-Range" if resumed else "Content-Length", "").split("/")[-1]
        version = f"{size} {answer.headers.get('ETag', '')}"
        if have and (answer.status_code == 416 or (resumed and version != known)):
            part.unlink()
            raise requests.RequestException("the file has changed on the server")
        answer.raise_for_status()
        if not size.isdigit():
            raise requests.RequestException("the server does not tell the size")
        if not resumed:  # in this order: a kill in between must not leave an old part with a new version
            part.unlink(missing_ok=True)
            version_file(part).write_text(version)
        with part.open("ab") as file:
            for chunk in answer.iter_content(1 << 16):
                if stop.is_set():
                    raise Stopped
                advance(file.write(chunk))
    if part.stat().st_size != int(size):
        raise requests.RequestException(f"{part.stat().st_size} bytes came instead of {size}")


def version_file(part: Path) -> Path:
    """Holds size and ETag of the file that `part` is the beginning of: the end of another one must not be appended."""
    return part.with_name(part.name + ".version")


def unreachable(url: str, error: requests.RequestException) -> PrepareError:
    cause = getattr(error.args[0], "reason", error) if error.args else error
    reason = str(cause).split(": ", 1)[-1].split(" for url")[0]
    return PrepareError(
        f"{url}: cannot be downloaded ({reason}). Check the network and run prepare.py again, it goes on where it "
        'stopped; without a network choose DATA_SOURCE = "docs" (make optimize PROFILE=cpu).'
    )


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizer: byte-pair encoding, trained by rustbpe, run by tiktoken


def train_tokenizer(documents: Iterable[str], path: Path) -> None:
    """Write tokenizer.json: the bytes of each token in the order of ids; special tokens have the ids after them."""
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(head_of(documents), VOCAB_SIZE - len(SPECIAL_TOKENS), pattern=SPLIT_PATTERN)
    tokens = [bytes(token) for token, _ in sorted(tokenizer.get_mergeable_ranks(), key=lambda item: item[1])]
    size = len(tokens) + len(SPECIAL_TOKENS)
    if size != VOCAB_SIZE:
        raise PrepareError(f"VOCAB_SIZE = {VOCAB_SIZE}: the text has only {size} tokens. Lower it or add text.")
    content = {"pattern": SPLIT_PATTERN, "special_tokens": SPECIAL_TOKENS}
    path.write_text(json.dumps(content | {"tokens": [base64.b64encode(token).decode() for token in tokens]}, indent=0))


def head_of(documents: Iterable[str]) -> Iterator[str]:
    chars = 0
    for document in documents:
        yield document[:TOKENIZER_DOCUMENT_CHARS]
        chars += min(len(document), TOKENIZER_DOCUMENT_CHARS)
        if chars >= TOKENIZER_CHARS:
            return


def load_tokenizer(path: Path) -> tiktoken.Encoding:
    import tiktoken

    content = json.loads(path.read_text())
    ranks = {base64.b64decode(token): rank for rank, token in enumerate(content["tokens"])}
    special = {token: rank for rank, token in enumerate(content["special_tokens"], start=len(ranks))}
    return tiktoken.Encoding(path.stem, pat_str=content["pattern"], mergeable_ranks=ranks, special_tokens=special)


# ---------------------------------------------------------------------------------------------------------------------
# Packing: documents -> rows of MAX_SEQ_LEN + 1 tokens


def encode(documents: Iterable[str], tokenizer: tiktoken.Encoding) -> Iterator[npt.NDArray[np.uint16]]:
    """BOS and the first MAX_SEQ_LEN tokens of each document: what can stand in a row."""
    import numpy as np

    bos, documents = tokenizer.encode_single_token(SPECIAL_TOKENS[0]), iter(documents)
    while batch := list(islice(documents, 1024)):
        for ids in tokenizer.encode_ordinary_batch(batch, num_threads=os.cpu_count() or 1):
            if ids:
                yield np.array([bos, *ids[:MAX_SEQ_LEN]], dtype=np.uint16)


def pack(documents: Iterable[npt.NDArray[np.uint16]], row_tokens: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Rows of row_tokens without padding, from documents of at most that size that begin with BOS, as each row does.

    Into the space left in a row goes the largest of PACK_BUFFER waiting documents that fits, or else the beginning of
    the smallest. What is cut off is dropped, so that every token stands behind the true beginning of its document; the
    price is the ends of long documents, 43 % of the docs text in rows of 256 and 5 % in rows of 2,048.
    """
    import numpy as np

    documents, serial = iter(documents), count()
    waiting: list[tuple[int, int, npt.NDArray[np.uint16]]] = []  # (size, -serial, document), sorted
    row, filled = np.empty(row_tokens, dtype=np.uint16), 0
    while True:
        for document in islice(documents, PACK_BUFFER - len(waiting)):
            insort(waiting, (len(document), -next(serial), document))
        if not waiting:
            return
        space = row_tokens - filled
        fitting = bisect_right(waiting, (space, 1)) - 1  # of equally large ones the oldest; -1 if none fits
        size, _, document = waiting.pop(max(fitting, 0))
        row[filled : filled + size] = document[:space]
        filled += min(size, space)
        if filled == row_tokens:
            yield row.copy()
            filled = 0


def write_rows(documents: Iterable[npt.NDArray[np.uint16]], path: Path) -> int:
    """Pack documents into a file of rows and return their number. Rows are mixed: packing puts like beside like."""
    import numpy as np

    ordered, row_tokens = path.with_suffix(".ordered"), MAX_SEQ_LEN + 1
    with ordered.open("wb") as file:
        for row in progress_bar(pack(documents, row_tokens), path.name, "row"):
            file.write(row.astype("<u2", copy=False).tobytes())
    rows = ordered.stat().st_size // (2 * row_tokens)
    if rows == 0:
        raise PrepareError(f"{path.stem}: the text fills no row of {row_tokens} tokens. Lower MAX_SEQ_LEN or add text.")
    packed = np.memmap(ordered, dtype="<u2", mode="r", shape=(rows, row_tokens))
    mixed = np.random.RandomState(0).permutation(rows)  # RandomState: numpy promises never to change its stream
    with path.open("wb") as file:
        for start in range(0, rows, 4096):
            file.write(packed[mixed[start : start + 4096]].tobytes())
        os.fsync(file.fileno())
    ordered.unlink()
    return int(rows)


# ---------------------------------------------------------------------------------------------------------------------
# The prepared dataset


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "optimize-gpt"


def dataset_folder(source: Source) -> Path:
    """The folder of the dataset that the constants ask for; its name has a hash of all that determines it."""
    key = {"format": FORMAT, "source": source.name, "vocab": VOCAB_SIZE, "row": MAX_SEQ_LEN} | source.key
    digest = sha256(json.dumps(key, sort_keys=True)).hex()[:12]
    return cache_folder() / f"{source.name}-v{VOCAB_SIZE}-t{MAX_SEQ_LEN}-{digest}"


def load_meta(folder: Path) -> dict[str, Any]:
    """meta.json of a dataset; PrepareError unless it and every file it names are there in full size."""
    about = f"data for {DATA_SOURCE} (vocabulary {VOCAB_SIZE}, rows of {MAX_SEQ_LEN})"
    if not folder.exists():
        raise PrepareError(f"{about} is not prepared. Run: python prepare.py")
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        for name, size in meta["files"].items():
            if (folder / name).stat().st_size != size:
                raise ValueError(f"{name} has not its {size} bytes")
    except (OSError, ValueError, LookupError) as error:
        raise PrepareError(f"{about} is damaged in {folder} ({error}). Run: python prepare.py") from None
    return meta


def prepare_dataset(source: Source) -> dict[str, Any]:
    """meta.json of the dataset, which is made unless it is there and whole."""
    folder = dataset_folder(source)
    with contextlib.suppress(PrepareError):
        return load_meta(folder)
    with only_process():
        with contextlib.suppress(PrepareError):  # made by the process that this one waited for
            return load_meta(folder)
        for leftover in cache_folder().glob("*.building"):  # of a process that was killed
            shutil.rmtree(leftover)
        building = folder.with_name(folder.name + ".building")
        building.mkdir()
        meta = build_dataset(source, building)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        building.rename(folder)
    return meta


@contextlib.contextmanager
def only_process() -> Iterator[None]:
    """Hold the lock of the cache folder. The system releases it when the process ends, however it ends."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("prepare.py: another process is preparing data; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_dataset(source: Source, folder: Path) -> dict[str, Any]:
    import numpy as np

    train_tokenizer(source.documents("train"), folder / "tokenizer.json")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    bos_id = tokenizer.encode_single_token(SPECIAL_TOKENS[0])
    token_bytes = [len(tokenizer.decode_single_token_bytes(token)) for token in range(bos_id)]
    np.save(folder / "token_bytes.npy", np.array(token_bytes + [0] * len(SPECIAL_TOKENS), dtype=np.int32))
    print(f"{source.name}: packing rows of {MAX_SEQ_LEN} tokens, vocabulary {VOCAB_SIZE}", flush=True)
    rows = {"train": write_rows(encode(source.documents("train"), tokenizer), folder / "train.bin")}
    for half in (0, 1):
        documents = (text for text in source.documents("val") if sha256(text)[0] % 2 == half)
        rows[f"val_{half}"] = write_rows(encode(documents, tokenizer), folder / f"val_{half}.bin")
    meta = {
        "fingerprint": fingerprint([folder / "tokenizer.json", *sorted(folder.glob("*.bin"))]),
        "made_from": {"source": DATA_SOURCE} | source.key,
        "vocab_size": VOCAB_SIZE,
        "bos_id": bos_id,
        "rows": rows,
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2))
    return meta


def fingerprint(paths: Sequence[Path]) -> str:
    """16 hex digits over the content of files: the same text and versions give the same on every machine."""
    digest = hashlib.sha256(f"format {FORMAT}, rows of {MAX_SEQ_LEN}".encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def check_constants() -> None:
    if not 256 + len(SPECIAL_TOKENS) <= VOCAB_SIZE < 65536:  # every byte is a token, and a token has 16 bits
        raise PrepareError(f"VOCAB_SIZE = {VOCAB_SIZE}: choose 260 to 65535.")
    if MAX_SEQ_LEN < 1 or EVAL_TOKENS < 1:
        raise PrepareError(f"MAX_SEQ_LEN = {MAX_SEQ_LEN}, EVAL_TOKENS = {EVAL_TOKENS}: choose 1 or more.")
    if VAL_SPLIT not in (0, 1):
        raise PrepareError(f"VAL_SPLIT = {VAL_SPLIT}: the validation text has two halves. Choose 0 or 1.")


def check_evaluation(val_rows: int) -> None:
    targets = val_rows * MAX_SEQ_LEN
    if targets < EVAL_TOKENS:
        raise PrepareError(f"EVAL_TOKENS = {EVAL_TOKENS}: validation half {VAL_SPLIT} has {targets}. Lower it.")


# ---------------------------------------------------------------------------------------------------------------------
# For train.py


@dataclass(frozen=True)
class Data:
    """A prepared dataset; the rows are memory-mapped and read-only."""

    train_rows: npt.NDArray[np.uint16]  # (rows, MAX_SEQ_LEN + 1)
    val_rows: npt.NDArray[np.uint16]  # (rows, MAX_SEQ_LEN + 1), the half VAL_SPLIT
    token_bytes: npt.NDArray[np.int32]  # (vocab_size,) bytes that a token stands for, 0 for special tokens
    vocab_size: int
    bos_id: int
    fingerprint: str


def open_data() -> Data:
    """The dataset that the constants of this file ask for. If it is not there or not whole: one line, SystemExit(3)."""
    import numpy as np

    try:
        check_constants()
        folder = dataset_folder(open_source(NUM_SHARDS))
        meta = load_meta(folder)
        check_evaluation(meta["rows"][f"val_{VAL_SPLIT}"])
    except PrepareError as error:
        print(f"prepare.py: {error}", file=sys.stderr, flush=True)
        raise SystemExit(3) from None
    train, val = (
        np.memmap(folder / f"{part}.bin", dtype="<u2", mode="r", shape=(meta["rows"][part], MAX_SEQ_LEN + 1))
        for part in ("train", f"val_{VAL_SPLIT}")
    )
    token_bytes = np.load(folder / "token_bytes.npy", allow_pickle=False)
    return Data(train, val, token_bytes, meta["vocab_size"], meta["bos_id"], meta["fingerprint"])


def batches(rows: npt.NDArray[np.uint16], batch_size: int) -> Iterator[tuple[npt.NDArray[np.uint16], int]]:
    """Endless (block, epoch): the next batch_size rows, (batch_size, MAX_SEQ_LEN + 1); the first follows the last.

    `epoch` counts from 1 and is that of the block's last row. The order of rows is the same for every batch_size.
    """
    import numpy as np

    rows = np.asarray(rows)
    for start in count(0, batch_size):
        numbers = np.arange(start, start + batch_size)
        yield rows[numbers % len(rows)], 1 + int(numbers[-1]) // len(rows)


def evaluate_bpb(loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], data: Data, batch_size: int) -> float:
    """Bits per byte on exactly EVAL_TOKENS targets: nats / (ln 2 * bytes), special tokens left out of both sums.

    loss_fn(x, y) gets int64 tensors (batch_size, MAX_SEQ_LEN) on the CPU, y the targets of x, and returns fp32 nats of
    each target in the same shape, on the CPU or a GPU: there they are added up, and waited for once. The last batch is
    filled up with rows that do not count, so that a compiled model sees one shape. PrepareError if the validation half
    has less than EVAL_TOKENS targets.
    """
    import numpy as np
    import torch

    check_evaluation(len(data.val_rows))
    rows, needed = np.asarray(data.val_rows), math.ceil(EVAL_TOKENS / MAX_SEQ_LEN)
    nats, total_bytes = 0.0, 0
    for start in range(0, needed, batch_size):
        numbers = np.arange(start, start + batch_size)
        block = rows[np.minimum(numbers, needed - 1)].astype(np.int64)
        counts = numbers[:, None] * MAX_SEQ_LEN + np.arange(MAX_SEQ_LEN) < EVAL_TOKENS  # all false in rows that fill up
        target_bytes = data.token_bytes[block[:, 1:]] * counts
        with torch.no_grad():
            loss = loss_fn(torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy()))
        weights = torch.from_numpy((target_bytes > 0).astype(np.float32))
        weights = weights if loss.is_cpu else weights.pin_memory().to(loss.device, non_blocking=True)
        part = (loss.view(weights.shape) * weights).sum(dtype=torch.float64)
        nats += part.item() if loss.is_cpu else part
        total_bytes += int(target_bytes.sum())
    return float(nats) / (math.log(2) * total_bytes)


# ---------------------------------------------------------------------------------------------------------------------
# Command line


def print_summary(meta: dict[str, Any]) -> None:
    rows = meta["rows"]
    print("---")
    print(f"data_fingerprint: {meta['fingerprint']}")
    print(f"data_source:      {DATA_SOURCE}")
    print(f"train_tokens_M:   {rows['train'] * MAX_SEQ_LEN / 1e6:.4g}")
    print(f"val_tokens_M:     {(rows['val_0'] + rows['val_1']) * MAX_SEQ_LEN / 1e6:.4g}")
    print(f"vocab_size:       {meta['vocab_size']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch text, train a tokenizer, pack rows; later calls only check.")
    parser.add_argument("--num-shards", type=int, default=NUM_SHARDS, help="climbmix: training shards, -1 = all")
    parser.add_argument("--download-workers", type=int, default=8, help="climbmix: downloads at a time")
    args = parser.parse_args()
    try:
        check_constants()
        meta = prepare_dataset(open_source(args.num_shards, args.download_workers))
        check_evaluation(meta["rows"][f"val_{VAL_SPLIT}"])
    except PrepareError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        what = f"{error.filename or cache_folder()}: {error.strerror}"
        print(f"prepare.py: {what}. Make room, or set XDG_CACHE_HOME to another folder.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("prepare.py: interrupted. What was downloaded is kept; run it again.", file=sys.stderr)
        return 130
    if DATA_SOURCE == "climbmix" and args.num_shards != NUM_SHARDS:
        print(f"To train on this, set NUM_SHARDS = {args.num_shards} in prepare.py: train.py reads it there.")
    print_summary(meta)
    return 0


if __name__ == "__main__":
    sys.exit(main())
