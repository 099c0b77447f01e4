"""How large everything in `gpu.py` is: for a GPU by the profile that its memory asks for, or small enough for a CPU core.

Three shapes of one model differ in depth, and all trials have one of them: a GPU compiles each once, in the piece `speed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from optimize.config.settings import pick_profile
from optimize.executors.slots import Device
from optimize.trial import Value

Constants = Mapping[str, Value]
DEFAULT, SHALLOW, DEEP = SHAPES = ("default", "shallow", "deep")
SHAPE = ("DEPTH", "DEVICE_BATCH_SIZE", "TOTAL_BATCH_SIZE")


@dataclass(frozen=True)
class Sizes:
    """What the pieces take their constants, seconds and numbers of trials from."""

    kind: str  # "cuda" or "cpu"
    constants: Constants  # of every run
    shapes: Mapping[str, Constants]
    direct_s: int  # of training in a run without a study
    study_s: int  # TIME_BUDGET of the study's trials
    trials: int  # of the study; the baseline, the other shapes and the one without memory are four of them
    full_rows: int  # DEVICE_BATCH_SIZE that fits no device
    shared_s: float  # of training in a trial under a budget of work, alone on the device
    shared_trials: int
    parity: Constants  # a small shape, in which a CPU computes the same
    direct: tuple[str, ...] = SHAPES  # that are also run without a study

    def of(self, shape: str, **more: Value) -> dict[str, Value]:
        """Return all constants of a run in that shape."""
        return {**self.constants, **self.shapes[shape], **more}


def sizes_of(device: Device, small: bool = False) -> Sizes:
    """Return the sizes for this device; `small`: on a CPU, so small that all pieces together take about a minute."""
    if device.kind == "cuda":
        return _GPUS[pick_profile(device)[0]]
    return _SMALL if small else _CPU


def _shapes(*rows: tuple[int, int, int]) -> dict[str, Constants]:
    return {name: dict(zip(SHAPE, row, strict=True)) for name, row in zip(SHAPES, rows, strict=True)}


# The text is small: half of its validation part has 136,000 tokens in this vocabulary, which one evaluation takes at once.
_TEXT: Constants = {"DATA_SOURCE": "docs", "VOCAB_SIZE": 8192, "EVAL_TOKENS": 131_072}
_H100 = Sizes(
    kind="cuda",
    constants={**_TEXT, "MAX_SEQ_LEN": 2048, "ASPECT_RATIO": 64, "HEAD_DIM": 128, "WINDOW_PATTERN": "SSSL"},
    shapes=_shapes((8, 128, 2**19), (4, 128, 2**19), (10, 64, 2**19)),
    direct_s=6,
    study_s=30,
    trials=7,
    full_rows=4096,
    shared_s=8.0,
    shared_trials=5,
    parity={"DEPTH": 4, "MAX_SEQ_LEN": 512, "HEAD_DIM": 64, "DEVICE_BATCH_SIZE": 4, "TOTAL_BATCH_SIZE": 2048},
)
_GPUS = {
    "h100": _H100,
    "gpu": replace(_H100, shapes=_shapes((8, 16, 2**17), (4, 32, 2**17), (12, 16, 2**17))),
    "colab": replace(
        _H100,
        constants={**_H100.constants, "MAX_SEQ_LEN": 512, "WINDOW_PATTERN": "SL"},
        shapes=_shapes((4, 16, 2**16), (2, 32, 2**16), (8, 16, 2**16)),
    ),
}
_CPU = Sizes(
    kind="cpu",
    constants={
        **{"DATA_SOURCE": "docs", "VOCAB_SIZE": 2048, "MAX_SEQ_LEN": 256, "EVAL_TOKENS": 16_384},
        **{"ASPECT_RATIO": 64, "HEAD_DIM": 64, "WINDOW_PATTERN": "SL"},
    },
    shapes=_shapes((2, 4, 1024), (1, 4, 1024), (3, 4, 1024)),
    direct_s=3,
    study_s=6,
    trials=7,
    full_rows=2**50,  # more than any address space holds, so that nothing is filled before it is refused
    shared_s=2.0,
    shared_trials=5,
    parity={"DEPTH": 2, "MAX_SEQ_LEN": 128, "HEAD_DIM": 64, "DEVICE_BATCH_SIZE": 2, "TOTAL_BATCH_SIZE": 256},
)
_SMALL = replace(
    _CPU,
    constants={**_CPU.constants, "EVAL_TOKENS": 2048, "ASPECT_RATIO": 32},
    direct_s=1,
    study_s=1,
    trials=5,
    shared_s=0.3,
    shared_trials=3,
    direct=(DEFAULT, SHALLOW),
)
