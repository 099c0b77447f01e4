"""The gpt workload's scripts on a small text: rendered as the service renders them, as a module or as a trial."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from optimize.script.constants import read_constants, render
from tests.forked import run_forked

FOLDER = Path(__file__).parents[1] / "optimize" / "workloads" / "gpt"
DATA = {"VOCAB_SIZE": 320, "MAX_SEQ_LEN": 32, "EVAL_TOKENS": 1990}
SMALL = {
    "DEPTH": 2,
    "ASPECT_RATIO": 32,
    "HEAD_DIM": 32,
    "WINDOW_PATTERN": "SL",
    "TOTAL_BATCH_SIZE": 512,
    "DEVICE_BATCH_SIZE": 8,
}
BUDGET = 12_000_000_000  # some twenty steps of that model
numbers = count()

# --- a small text, prepared once, and scripts rendered as the service renders them --------------------------------------


def rendered(folder: Path, *, as_on_a_gpu: bool = False, source: Path = FOLDER, **constants: object) -> Path:
    """Both scripts of `source` in a folder of their own, small, with these constants; or in the form that a GPU compiles."""
    folder.mkdir(parents=True)
    for name in ("train.py", "prepare.py"):
        text = (source / name).read_text()
        known = read_constants(text, name)
        values = {key: value for key, value in {**DATA, **SMALL, **constants}.items() if key in known}
        text = render(text, values, name)  # type: ignore[arg-type]
        (folder / name).write_text(text.replace(".is_cpu", ".is_meta") if as_on_a_gpu else text)
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of text with some structure to learn, tokenised under a cache of its own."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(60)]
    for number in range(8):
        lines = [" ".join(draw.choices(words, range(60), k=9)) + "." for _ in range(500)]
        (folder / f"{number}.txt").write_text("\n<|endoftext|>\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        scripts = rendered(folder.parent / "prepared", DATA_SOURCE=str(folder))
        subprocess.run([sys.executable, "prepare.py"], cwd=scripts, check=True, capture_output=True)
        yield folder


def imported(folder: Path) -> ModuleType:
    """The folder's train.py as a module under a name of its own, and its prepare.py with it."""
    name = f"train_{next(numbers)}"
    spec = importlib.util.spec_from_file_location(name, folder / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "prepare", raising=False)
        patch.setitem(sys.modules, name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        patch.delitem(sys.modules, "prepare")
    return module


@pytest.fixture
def load(text: Path, tmp_path: Path) -> Callable[..., ModuleType]:
    """train.py with these constants as a module under a name of its own, and its prepare.py with it."""

    import torch

    torch.set_num_threads(1)  # as in a trial: two threads on cores that others use are far slower than one

    def loaded(*, as_on_a_gpu: bool = False, source: Path = FOLDER, **constants: object) -> ModuleType:
        constants = {"DATA_SOURCE": str(text), "FLOP_BUDGET": BUDGET, **constants}
        folder = tmp_path / f"train_{next(numbers)}"
        return imported(rendered(folder, as_on_a_gpu=as_on_a_gpu, source=source, **constants))

    return loaded


@pytest.fixture
def trial(text: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A trial as the service runs it: rendered scripts, a process of their own, forked from one that has torch."""

    def run(*, code: str = "", **constants: object) -> subprocess.CompletedProcess[str]:
        constants = {"DATA_SOURCE": str(text), "FLOP_BUDGET": BUDGET, **constants}
        folder = rendered(tmp_path / f"trial_{next(numbers)}", **constants)
        words = ["-c", code] if code else ["train.py"]
        return run_forked(words, server="torch", cwd=folder, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})

    return run


def built(train: ModuleType, dtype: str = "float32", kind: str = "cpu") -> Any:
    """A model with weights that no symmetry or zero hides anything in."""
    import torch

    device = train.Device(kind, "test", getattr(torch, dtype), torch.float32, None)
    torch.manual_seed(1)
    model = train.Gpt(train.shape_of_constants(320), device)
    model.initialise()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return model


def tokens(train: ModuleType, rows: int) -> Any:
    import torch

    pair = torch.randint(320, (2, rows, train.MAX_SEQ_LEN), generator=torch.Generator().manual_seed(7))
    return pair.unbind(0)
