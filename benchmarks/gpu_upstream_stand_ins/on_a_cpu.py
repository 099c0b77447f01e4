"""Runs autoresearch's train.py on a CPU, as far as a rehearsal needs it: not compiled, and CUDA's functions answer nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

NOTHING: dict[str, Callable[..., Any]] = {
    "get_device_capability": lambda: (9, 0),
    "manual_seed": lambda seed: None,
    "synchronize": lambda: None,
    "max_memory_allocated": lambda: 0,
}


def compile_nothing(function: Callable[..., Any] | None = None, **_how: object) -> Any:
    return function or (lambda decorated: decorated)


torch.compile = compile_nothing  # type: ignore[assignment]
for name, stand_in in NOTHING.items():
    setattr(torch.cuda, name, stand_in)
script = Path("train.py")
exec(compile(script.read_text().replace('"cuda"', '"cpu"'), "train.py", "exec"), {"__name__": "__main__"})
