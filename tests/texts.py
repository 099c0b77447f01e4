"""Text for prepare.py, and prepare.py itself as a test wants it: small, in a folder of its own, with its own cache."""

from __future__ import annotations

import importlib.util
import random
import re
import sys
import types
from itertools import count
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "optimize" / "workloads" / "gpt" / "prepare.py"
SMALL = {"VOCAB_SIZE": 300, "MAX_SEQ_LEN": 16, "EVAL_TOKENS": 500, "BACKOFF_S": 0.001, "PACK_BUFFER": 50}
numbers = count()


def own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From here on data is prepared in this folder, not in the user's cache; returns where."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder / "cache" / "optimize-gpt"


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


def write_folder(place: Path) -> Path:
    """A folder source: four files of text."""
    (place / "texts").mkdir()
    for number in range(4):
        marked = "\n<|endoftext|>\n".join(texts(120, seed=number))
        (place / "texts" / f"{number}.txt").write_text(marked)
    return place / "texts"
