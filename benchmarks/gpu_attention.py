"""A piece of `gpu.py`: the paths that attention can take, side by side: is each right, and how long does it take?

Right is what its definition says, computed in float64, gradients included. The time is that of one layer of each shape,
forwards and backwards, compiled as the model is; what the model makes of it, the piece `speed` measures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from gpu_parity import load
from gpu_pieces import NO_TIME, Work, first_line
from gpu_sizes import DEFAULT
from gpu_trial import write

Attend = Callable[..., torch.Tensor]
SMALL_CONTEXT, SMALL_HEADS = 256, 2
REPEATS, LEAST_S = 10, 20.0


def measure(work: Work) -> None:
    """Compare each path with the definition, then time each at every shape."""
    cuda = work.sizes.kind == "cuda"
    train = load(write(work.folder / "scripts", work.sizes.of(DEFAULT)), "train_attention")
    dtype = train.open_device().dtype if cuda else torch.float32
    device = train.Device(work.sizes.kind, "measured", dtype, dtype, None)
    if cuda and dtype == torch.bfloat16:
        flash = train.activate_flash_attention(torch.cuda.get_device_capability()[0])
        work.sheet.fact("FlashAttention", flash)
    head_dim = int(train.HEAD_DIM)
    with flex_allowed(device.kind):
        for path, window, attend in paths(train, device, SMALL_CONTEXT):
            compiled = torch.compile(attend, dynamic=False) if cuda else attend
            with attempt(work, "attention_error", f"{path}, {window}"):
                error = worst_error(compiled, SMALL_CONTEXT, window, head_dim, device, by_token=path == "varlen")
                work.sheet.add("attention_error", error, f"{path}, {window}")
        for shape in work.sizes.direct:
            time_shape(work, train, device, shape)


def time_shape(work: Work, train: ModuleType, device: Any, shape: str) -> None:
    constants = work.sizes.of(shape)
    context, head_dim = int(constants["MAX_SEQ_LEN"]), int(constants["HEAD_DIM"])  # type: ignore[arg-type]
    heads = -(-int(constants["DEPTH"]) * int(constants["ASPECT_RATIO"]) // head_dim)  # type: ignore[arg-type]
    rows = int(constants["DEVICE_BATCH_SIZE"])  # type: ignore[arg-type]
    for path, window, attend in paths(train, device, context):
        name = f"{shape}, {path}, {window}"
        if device.kind == "cpu" and path == "flex":
            work.sheet.miss("attention_ms", "without a kernel it is slow, and never used", name)
        elif work.left_s < LEAST_S:
            work.sheet.miss("attention_ms", NO_TIME, name)
        else:
            compiled = torch.compile(attend, dynamic=False) if device.kind == "cuda" else attend
            with attempt(work, "attention_ms", name):
                x = inputs(rows, heads, context, head_dim, device, by_token=path == "varlen")
                work.sheet.add("attention_ms", milliseconds(compiled, x, device.kind), name)
        torch._dynamo.reset()


def paths(train: ModuleType, device: Any, context: int) -> list[tuple[str, str, Attend]]:
    """Return what can be taken here: name, window, and the function. `auto` is what the model takes by itself."""
    found = []
    for name, window in (("short", context // 2), ("whole", context)):
        found.append(("auto", name, train.attention(window, context, device)))
        if device.dtype != torch.float16:
            found.append(("flex", name, train.flex_attention(window, context, device)))
        if device.kind == "cuda" and device.dtype == torch.bfloat16:
            found.append(("varlen", name, train.varlen_attention(window, context)))
    return found


@contextmanager
def attempt(work: Work, kind: str, of: str) -> Any:
    """Write why a path cannot be taken, and let the others have their turn."""
    try:
        yield
    except Exception as error:
        work.sheet.miss(kind, first_line(error), of)


def flex_allowed(kind: str) -> AbstractContextManager[object]:
    """Let FlexAttention have gradients on a CPU, where it refuses them: without a kernel it is slow, but right."""
    refusal = "torch.nn.attention.flex_attention._validate_device"
    return mock.patch(refusal, return_value=None) if kind == "cpu" else nullcontext()


def inputs(rows: int, heads: int, context: int, head_dim: int, device: Any, by_token: bool) -> list[torch.Tensor]:
    """Return queries, keys and values as leaves, and a gradient, in the layout that the path takes."""
    torch.manual_seed(0)
    size = (rows, context, heads, head_dim) if by_token else (rows, heads, context, head_dim)
    x = [torch.randn(size, dtype=device.dtype, device=device.kind) for _ in range(4)]
    return [*(each.requires_grad_() for each in x[:3]), x[3]]


def worst_error(attend: Attend, context: int, window: str, head_dim: int, device: Any, by_token: bool) -> float:
    """Return the largest relative error of the output and the three gradients."""
    x = inputs(2, SMALL_HEADS, context, head_dim, device, by_token)
    reach = context // 2 if window == "short" else context
    swapped = (lambda t: t.transpose(1, 2)) if by_token else (lambda t: t)
    wide = [swapped(each.detach()).double().requires_grad_() for each in x]
    expected = defined(*wide[:3], reach)
    expected.backward(wide[3].detach())
    found = attend(*x[:3])
    found.backward(x[3])
    pairs: Mapping[Any, Any] = {found: expected, **{a.grad: b.grad for a, b in zip(x[:3], wide[:3], strict=True)}}
    return max(((swapped(a).double() - b).norm() / b.norm()).item() for a, b in pairs.items())


def defined(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Return causal attention in which a query sees itself and `window` tokens before it; (B, heads, T, head_dim)."""
    position = torch.arange(q.size(-2), device=q.device)
    distance = position[:, None] - position
    scores = (q @ k.mT / q.size(-1) ** 0.5).masked_fill((distance < 0) | (distance > window), -torch.inf)
    return scores.softmax(-1) @ v


def milliseconds(attend: Attend, x: list[torch.Tensor], kind: str) -> float:
    """Return the median of some calls, forwards and backwards, after two that are not counted."""
    taken = []
    for _ in range(REPEATS + 2):
        for leaf in x[:3]:
            leaf.grad = None
        wait(kind)
        began = time.perf_counter()
        attend(*x[:3]).backward(x[3])
        wait(kind)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[2:])


def wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()
