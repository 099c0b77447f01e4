"""The training script as a GPU would run it, on fake tensors and with a compiler that only counts graphs: nothing is computed.

`python -m tests.traced` does that for forty shapes of the spaces `gpu` and `h100`, all corners among them: some minutes, by hand.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, product
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from search_spaces import load_space

SHAPE = ("DEPTH", "ASPECT_RATIO", "HEAD_DIM", "DEVICE_BATCH_SIZE")  # what a corner is one of, beside the patterns
DATA = {"VOCAB_SIZE": 8192, "MAX_SEQ_LEN": 2048}


def shapes(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """All corners of both spaces, and as many others as are missing from `count`; every pattern, decays and attention occur."""
    draw, found = random.Random(seed), []
    for name in ("gpu", "h100"):
        space = load_space(name)
        patterns = cycle(space["WINDOW_PATTERN"].choices)
        ends = [(min(space[each].choices), max(space[each].choices)) for each in SHAPE]  # type: ignore[type-var]
        picks = [*product(*ends), *(tuple(draw.choice(space[each].choices) for each in SHAPE) for _ in range(count))]
        for pick in picks[: count // 2]:
            shape: dict[str, Any] = {**dict(zip(SHAPE, pick, strict=True)), "WINDOW_PATTERN": next(patterns)}
            shape["TOTAL_BATCH_SIZE"] = 2 * shape["DEVICE_BATCH_SIZE"] * DATA["MAX_SEQ_LEN"]
            shape["ATTENTION"] = ("auto", "varlen")[len(found) % 3 == 2]
            shape["VALUE_DECAY"] = draw.choice(space["VALUE_DECAY"].choices)
            found.append(shape)
    return found


class Cuda(str):
    """Taken for "cuda" by the script, and for a CPU by torch, which without CUDA makes no fake tensors for it."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return other == "cuda"


def graphs_of(train: ModuleType, dtype: str = "bfloat16") -> tuple[int, int, int]:
    """How many graphs are compiled until the end of the warm-up, in steps after it, and by two evaluations."""
    import torch
    from torch._subclasses import FakeTensorMode

    count = 0

    def counting(graph: Any, _inputs: Any) -> Callable[..., Any]:
        nonlocal count
        count += 1
        outputs = [node.meta["example_value"] for node in next(iter(graph.graph.find_nodes(op="output"))).args[0]]
        return lambda *given: tuple(like(each, given) for each in outputs)

    def like(output: Any, given: Any) -> Any:
        zero = sum(x.sum().float() for x in given if isinstance(x, torch.Tensor) and x.requires_grad)
        fresh = torch.zeros(output.shape, dtype=output.dtype, device=output.device)
        return fresh + zero if torch.is_grad_enabled() else fresh

    table = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    device = train.Device(Cuda("cpu"), "a GPU that is not there", getattr(torch, dtype), table, None)
    compiled = lambda _self, f: torch.compile(f, backend=counting, fullgraph=True, dynamic=False)  # noqa: E731
    with FakeTensorMode(allow_non_fake_inputs=True), contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(train.Device, "compile", compiled))
        stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", lambda self: self))
        refusal = "torch.nn.attention.flex_attention._validate_device"  # of gradients on a CPU
        stack.enter_context(mock.patch(refusal, nothing))
        sys.modules[train.__name__] = train  # torch looks there for what a decorated method is made of
        stack.callback(sys.modules.pop, train.__name__)
        torch._dynamo.reset()
        model = train.Gpt(train.shape_of_constants(DATA["VOCAB_SIZE"]), device)
        model.initialise()
        rows = torch.zeros(train.DEVICE_BATCH_SIZE, train.MAX_SEQ_LEN + 1, dtype=torch.int32)
        stack.enter_context(mock.patch.object(train, "batches", return_value=endless(rows)))
        stack.enter_context(mock.patch.object(train.Device, "put", lambda _self, block: (block[:, 1:].long(),) * 2))
        trainer = train.Trainer(model, device, None)
        trainer.warm_up()
        warm = count
        for step, progress in ((0, 0.0), (1, 0.4), (2, 0.9)):
            trainer.backward(endless(rows))
            trainer.optimizer.step(step, progress)
        stepped = count
        losses = train.in_blocks(device.compile(model.losses), 64, device)
        for _ in range(2):
            losses(*[torch.zeros(64, train.MAX_SEQ_LEN, dtype=torch.int64)] * 2)
    return warm, stepped - warm, count - stepped


def nothing(*_tensors: Any) -> None:
    """Be what torch can compile, as a mock is not."""


def endless(rows: Any) -> Iterator[tuple[Any, int]]:
    while True:
        yield rows, 1


def loaded(folder: Path, constants: Mapping[str, object]) -> ModuleType:
    """train.py with these constants, as a module."""
    from tests.gpt import imported, rendered

    return imported(rendered(folder, as_on_a_gpu=True, **{**DATA, **constants}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for number, shape in enumerate(shapes(40)):
            started = time.process_time()
            warm, later, evaluating = graphs_of(loaded(Path(scratch) / str(number), shape))
            print(f"{number:2} {warm} {later} {evaluating} {time.process_time() - started:5.1f} s {shape}", flush=True)
            assert (later, evaluating) == (0, 1), shape
