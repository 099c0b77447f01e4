"""Train a small GPT within a fixed budget, measure it once, and print what that cost. val_bpb: bits per byte, lower is better.

    python prepare.py && python train.py

Whatever may be tuned is a constant of the first section; nothing is read from flags, nothing is written but stdout. Progress is
one line rewritten with a carriage return; the result is the block after `---`. A loss that is NaN or above 100 prints FAIL, exit 1.

Names, defaults and meanings are those of autoresearch (github.com/karpathy/autoresearch), so that its published configurations
carry over; the code is our own. Where an idea comes from is given as an arXiv number:

| constant | meaning | source |
|---|---|---|
| DEPTH | transformer layers | 1706.03762 |
| ASPECT_RATIO, HEAD_DIM | width = DEPTH * ASPECT_RATIO, rounded up to whole heads of HEAD_DIM channels | nanochat |
| WINDOW_PATTERN | a letter per layer, repeated: L sees the whole context, S the end of it; the last layer is L | 2004.05150 |
| SHORT_WINDOW_RATIO | how much of the context S sees | |
| ROPE_BASE | rotary positions: channels turn by 1 to nearly 1 / ROPE_BASE a token | 2104.09864 |
| TOTAL_BATCH_SIZE | tokens of an optimizer step | |
| DEVICE_BATCH_SIZE | rows of MAX_SEQ_LEN tokens in a forward pass; gradients of several are accumulated | |
| EMBEDDING_LR | AdamW; token and value embeddings; times (width / 768)^-0.5 | 1711.05101, 2410.17897 |
| UNEMBEDDING_LR | AdamW; output head; times (width / 768)^-0.5 | |
| EMBEDDING_DECAY, VALUE_DECAY, UNEMBEDDING_DECAY | AdamW's, times the rate: token embeddings, value embeddings, head | 1711.05101 |
| SCALAR_LR | AdamW; x0 scalars with betas (0.96, 0.95); 0.01 of it for the residual scalars | modded-nanogpt |
| ADAM_BETAS | of all other AdamW rates; epsilon 1e-10, no other decay | |
| MATRIX_LR | Muon, all matrices in blocks; times max(1, rows / columns)^0.5 | kellerjordan.github.io/posts/muon |
| MUON_WARMUP_STEPS | in which its Nesterov momentum rises, 0.85 -> 0.95 | modded-nanogpt |
| (direction) | polar factor by 5 iterations of Polar Express | 2505.16932 |
| (scaling) | NorMuon: a second moment per row or column, beta 0.95, keeping the norm | 2510.05491 |
| WEIGHT_DECAY | on those matrices, where it agrees with the update; times 1 - progress | 2510.12402 |
| WARMUP_RATIO, WARMDOWN_RATIO | fractions of the budget in which rates rise from 0 and fall | 2405.18392 |
| FINAL_LR_FRAC | what they fall to, as a fraction | |
| INIT_SCALE | of the initial matrices and value embeddings; 1 keeps a variance of 1 | |
| X0_INIT | weight with which each layer takes in the token embeddings again, at first; learned with SCALAR_LR | modded-nanogpt |
| SEED | of the initial weights; the order of the data never changes | |

Fixed: RMSNorm without gain (1910.07467), queries and keys normalised (2010.04245), ReLU^2 (2109.08668), value embeddings on
every second layer and the last, logits capped at 15 by tanh (2408.00118).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

# CUDA only; read when torch is imported. Under WSL the first allocation may fail with it
os.environ.setdefault("PYTORCH_ALLOC_CONF", f"expandable_segments:{'microsoft' not in os.uname().release.lower()}")

import torch
import torch.nn.functional as F  # noqa: N812
from prepare import FLOP_BUDGET, MAX_SEQ_LEN, TIME_BUDGET, batches, evaluate_bpb, open_data
from torch import Tensor, nn

# ---------------------------------------------------------------------------------------------------------------------
# Hyperparameters

DEPTH = 8
ASPECT_RATIO = 64
HEAD_DIM = 128
WINDOW_PATTERN = "SSSL"
TOTAL_BATCH_SIZE = 524288
DEVICE_BATCH_SIZE = 128
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 0.04
SCALAR_LR = 0.5
ADAM_BETAS = (0.8, 0.95)
WEIGHT_DECAY = 0.2
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.0
ROPE_BASE = 10000
SHORT_WINDOW_RATIO = 0.5
X0_INIT = 0.1
INIT_SCALE = 1.0
EMBEDDING_DECAY = 0.0
VALUE_DECAY = 0.0
UNEMBEDDING_DECAY = 0.0
MUON_WARMUP_STEPS = 300
SEED = 42

# ---------------------------------------------------------------------------------------------------------------------
# Device: what differs between processors, apart from the arithmetic of the next section. Nothing that is for CUDA alone has run
# on a GPU yet, for want of one; docs/gpu.md says what was done instead.

# CUDA only, with bfloat16. "auto": FlexAttention for short windows, SDPA for whole ones. "varlen": FlashAttention as torch ships
# it, with its layout (B, T, heads, head_dim) and positions that turn the halves of a head, not neighbours: the same model with
# its channels in another order, so a seed gives another val_bpb. Which is faster, a GPU has to tell before this is changed.
ATTENTION = "auto"


@dataclass(frozen=True)
class Device:
    kind: str  # "cpu" or "cuda"
    name: str
    dtype: torch.dtype  # of activations and products; losses are float32, and so is all that the optimizer keeps but:
    table_dtype: torch.dtype  # of the embedding tables and their optimizer state
    peak_flops: float | None  # dense, in `dtype`, from the data sheet

    @property
    def by_token(self) -> bool:
        """Whether attention takes (B, T, heads, head_dim). FlashAttention 2 knows no GPU as old as a T4."""
        return ATTENTION == "varlen" and self.kind == "cuda" and self.dtype == torch.bfloat16

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiled on a GPU; on a CPU that takes 33 s, more than a trial."""
        return torch.compile(function, dynamic=False) if self.kind == "cuda" else function

    def number(self, value: float, finite: Tensor | None = None) -> Any:
        """A number that differs from call to call; 0 if `finite` is false. A compiled function takes it as a tensor, or it
        would compile again."""
        number = torch.tensor(value) if self.kind == "cuda" else value
        return number if finite is None else number * finite

    def send(self, tensor: Tensor) -> Tensor:
        """From the host, without waiting until it arrives."""
        return tensor.pin_memory().to(self.kind, non_blocking=True) if self.kind == "cuda" else tensor

    def put(self, block: Any) -> tuple[Tensor, Tensor]:
        """Rows (B, T + 1) of uint16 as inputs and targets (B, T) of int64."""
        rows = self.send(torch.from_numpy(block.astype("int32"))).long()
        return rows[:, :-1], rows[:, 1:]


PEAK_FLOPS = {  # NVIDIA's data sheets, dense bf16 (T4: fp16); the first that is in the name, as whole words, counts
    "H200": 989.5e12, "GH200": 989.5e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989.5e12, "A100": 312e12,
    "L40S": 362e12, "L4": 121e12, "T4": 65e12,
}  # fmt: skip


def open_device() -> Device:
    """CUDA if there is any, else the CPU. An Apple GPU is not used: there a seed would not fix the result."""
    named = {os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("HIP_VISIBLE_DEVICES")} - {None, "", "-1"}
    if not named and not torch.cuda.is_available():
        return open_cpu()
    torch.cuda.init()  # a GPU that is named and cannot be used is no reason to take a CPU: this raises, and says why
    # bfloat16; where the hardware has none (T4) float16 with loss scaling
    name, modern = torch.cuda.get_device_name(), torch.cuda.get_device_capability() >= (8, 0)
    torch.set_float32_matmul_precision("high")
    peak = next((flops for part, flops in PEAK_FLOPS.items() if f" {part} " in f"{name} ".replace("-", " ")), None)
    types = (torch.bfloat16, torch.bfloat16) if modern else (torch.float16, torch.float32)
    device = Device("cuda", name, *types, peak)
    if device.by_token:
        print(f"attention: varlen, FlashAttention {activate_flash_attention(torch.cuda.get_device_capability()[0])}")
    return device


def activate_flash_attention(major: int) -> int:
    """3 or 4 if its package is installed and this GPU can run it; else 2, which torch brings along."""
    from torch.nn.attention import activate_flash_attention_impl

    for version, majors in ((3, (9,)), (4, (9, 10))):
        if major in majors:
            with contextlib.suppress(ImportError, RuntimeError):
                activate_flash_attention_impl(f"FA{version}")
                return version
    return 2


def open_cpu() -> Device:
    """One thread: two on cores that others use are 30 times slower. bfloat16 only if there are instructions for it."""
    torch.set_num_threads(1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for option, value in ((-3, 2**30), (-1, 2**31 - 1), (-2, 2**28)) if mallopt else ():
        # MALLOC_MMAP_THRESHOLD_ etc.: keep large blocks instead of faulting them in again, a tenth of a step
        mallopt(option, value)
    facts: dict[str, str] = {}
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in file)}
    has_bf16 = {"amx_bf16", "avx512_bf16"} & set(facts.get("flags", "").split())
    dtype = torch.bfloat16 if has_bf16 else torch.float32
    return Device("cpu", facts.get("model name", "CPU"), dtype, torch.float32, None)


class LossScale:
    """Keeps float16 gradients in range (1710.03740, section 3.2); does nothing for other types. A step whose gradient overflows
    changes nothing but the scale. That is decided on the device, so that the host never waits: all rates of the step are 0."""

    def __init__(self, device: Device) -> None:
        self.active = device.dtype == torch.float16
        self.factor = torch.tensor(2.0**14 if self.active else 1.0, device=device.kind)
        self.steps = torch.zeros((), device=device.kind)  # without overflow

    def unscale(self, gradients: list[Tensor]) -> Tensor | None:
        """Whether all are finite, as a tensor; None where nothing is scaled."""
        if not self.active:
            return None
        finite = torch.stack([gradient.isfinite().all() for gradient in gradients]).all()
        for gradient in gradients:
            gradient.nan_to_num_(0.0, 0.0, 0.0).mul_(finite / self.factor)
        self.steps.copy_(torch.where(finite, self.steps + 1, 0))
        self.factor.mul_(torch.where(finite, torch.where(self.steps % 1000 == 0, 2.0, 1.0), 0.5))
        return finite


# ---------------------------------------------------------------------------------------------------------------------
# Operations. A GPU compiles the plain form. On a CPU most time goes into elementwise passes over memory, not into products, so
# there each has a form with few passes, its gradient written by hand. tests/test_train.py holds the two together.

EPSILON = 1e-7  # added to mean squares
SOFTCAP = 15.0
CHUNK_ROWS = 512  # a CPU makes logits for so many tokens at a time
EVALUATION_TOKENS = {
    "cpu": 2_048,
    "cuda": 131_072,
}  # at a time, whatever the trial's batch: val_bpb must not depend on that
EVALUATION_CHUNK_ROWS = 16_384  # a GPU makes logits for so many of them at a time, for less memory than training takes

# queries, keys, values (B, heads, T, head_dim) -> (B, heads, T, head_dim), or (B, T, heads, head_dim) each
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def rms_norm(x: Tensor) -> Tensor:
    """Each row (..., C) divided by its root mean square."""
    return CpuRmsNorm.apply(x) if x.is_cpu else F.rms_norm(x, x.shape[-1:], eps=EPSILON)


class CpuRmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.size(-1)).add_(EPSILON).rsqrt_()
        y = (wide * inverse).to(x.dtype)
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        y, inverse = ctx.saved_tensors
        wide, y = gradient.to(torch.float32, copy=True), y.float()
        return wide.addcmul_(y, (wide * y).mean(-1, keepdim=True), value=-1).mul_(inverse).to(gradient.dtype)


def rotation(context: int, head_dim: int, device: Device) -> Tensor:
    """Position t turns channels 2i, 2i + 1 by -t / ROPE_BASE^(2i / head_dim): (T, head_dim / 2) complex, or real (..., 2)."""
    frequencies = float(ROPE_BASE) ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(context, dtype=torch.float32), frequencies)
    turn = torch.polar(torch.ones_like(angles), -angles)
    if device.kind == "cpu":
        return turn
    real = torch.view_as_real(turn).to(device.kind, device.dtype)
    return real.unsqueeze(1) if device.by_token else real


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """(..., T, head_dim), normalised and turned; compilers know no complex numbers, a CPU is fastest with them."""
    if x.is_cpu:
        pairs = torch.view_as_complex(rms_norm(x.float().contiguous()).unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)
    (even, odd), (cos, sin) = rms_norm(x).unflatten(-1, (-1, 2)).unbind(-1), turn.unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def rotated_halves(x: Tensor, turn: Tensor) -> Tensor:
    """(..., T, heads, head_dim), normalised and turned; channel i belongs to i + head_dim / 2: two reads in a row each."""
    (first, second), (cos, sin) = rms_norm(x).unflatten(-1, (2, -1)).unbind(-2), turn.unbind(-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def attention(window: int, context: int, device: Device) -> Attend:
    """Causal attention in which a query sees itself and `window` tokens before it."""
    if device.by_token:
        return varlen_attention(window, context)
    if device.kind == "cuda" and window >= context - 1:
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if device.kind == "cuda" and device.dtype == torch.bfloat16:
        return flex_attention(window, context, device)
    position = torch.arange(context, device=device.kind)
    distance = position[:, None] - position
    bias = torch.zeros(context, context, dtype=device.dtype, device=device.kind)
    bias.masked_fill_((distance < 0) | (distance > window), -torch.inf)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not (q.is_cpu and torch.is_grad_enabled()):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        # on a CPU the gradient of the fused form takes 2 to 5 times longer than that of plain products
        scores = torch.baddbmm(bias, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=q.size(-1) ** -0.5)
        return torch.bmm(scores.softmax(-1), v.flatten(0, 1)).view(q.shape)

    return attend


def flex_attention(window: int, context: int, device: Device) -> Attend:
    """A kernel that skips blocks in which no query sees a key."""
    from torch.nn.attention import flex_attention as flex

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query - key <= window)

    mask = flex.create_block_mask(visible, None, None, context, context, device=device.kind)
    return lambda q, k, v: flex.flex_attention(q, k, v, block_mask=mask)


def varlen_attention(window: int, context: int) -> Attend:
    """FlashAttention's own window, over rows laid end to end: (B, T, heads, head_dim)."""
    from torch.nn.attention import varlen

    reach = (-1 if window >= context - 1 else window, 0)  # to the left, to the right; (-1, 0) is the causal kernel

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        starts = torch.arange(0, len(q) * context + 1, context, dtype=torch.int32, device=q.device)
        flat = [x.flatten(0, 1) for x in (q, k, v)]
        seen = varlen.varlen_attn(*flat, starts, starts, context, context, window_size=reach)
        return seen.unflatten(0, (len(q), context))

    return attend


def token_losses(x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of capped logits in nats, float32: x (N, C), head (vocabulary, C), targets (N,) -> (N,)."""
    logits = SOFTCAP * torch.tanh(F.linear(x, head.to(x.dtype)).float() / SOFTCAP)
    if torch.is_grad_enabled():  # on a GPU: a gather's gradient would be a second table of logits, filled in disorder
        return F.cross_entropy(logits, targets, reduction="none")
    # at most e^15 each, so the usual subtraction of the largest is not needed
    return logits.exp().sum(1).log() - logits.gather(1, targets[:, None]).squeeze(1)


class CpuSummedLoss(torch.autograd.Function):
    """The sum of token_losses. Makes its gradients going forwards, so that only a chunk of logits exists at any time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        total, dx, dhead = torch.zeros(()), torch.empty_like(x), torch.zeros_like(head)
        scaled = (head / SOFTCAP).to(x.dtype)
        chunk = (min(CHUNK_ROWS, len(x)), len(head))
        memory = torch.empty(chunk, dtype=x.dtype), torch.empty(chunk), torch.empty(chunk)
        for start in range(0, len(x), CHUNK_ROWS):
            rows, goals = x[start : start + CHUNK_ROWS], targets[start : start + CHUNK_ROWS, None]
            logits, tanh, powers = (part[: len(rows)] for part in memory)
            tanh.copy_(torch.mm(rows, scaled.mT, out=logits)).tanh_()
            sums = torch.mul(tanh, SOFTCAP, out=powers).exp_().sum(1, keepdim=True)
            total += (sums.log() - SOFTCAP * tanh.gather(1, goals)).sum()
            # d loss / d logit = (powers / sums - 1 at the target) * (1 - tanh^2); dividing thin factors saves a wide pass
            torch.ops.aten.tanh_backward.grad_input(powers.scatter_add_(1, goals, -sums), tanh, grad_input=powers)
            inverse = sums.reciprocal_().to(x.dtype)
            torch.mm(logits.copy_(powers), scaled, out=dx[start : start + CHUNK_ROWS]).mul_(inverse)
            dhead += logits.mT @ (rows * inverse)
        ctx.save_for_backward(dx.mul_(SOFTCAP), dhead)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        dx, dhead = ctx.saved_tensors
        return dx * gradient, dhead * gradient, None


# ---------------------------------------------------------------------------------------------------------------------
# Model

GATE_CHANNELS = 32  # of a block's input, which decide how far its value embedding is let in


@dataclass(frozen=True)
class Shape:
    vocab: int
    context: int
    depth: int
    width: int
    head_dim: int
    windows: tuple[int, ...]  # tokens before itself that a query sees, for each layer

    def has_values(self, layer: int) -> bool:
        return (self.depth - 1 - layer) % 2 == 0


def shape_of_constants(vocab: int) -> Shape:
    width = math.ceil(DEPTH * ASPECT_RATIO / HEAD_DIM) * HEAD_DIM
    reach = {"L": MAX_SEQ_LEN, "S": int(MAX_SEQ_LEN * SHORT_WINDOW_RATIO)}
    windows = [reach[WINDOW_PATTERN[layer % len(WINDOW_PATTERN)]] for layer in range(DEPTH)]
    return Shape(vocab, MAX_SEQ_LEN, DEPTH, width, HEAD_DIM, (*windows[:-1], MAX_SEQ_LEN))


class Block(nn.Module):
    """Attention, then two layers of 4 x width. Matrices are (out, in), float32, and cast where they are used."""

    def __init__(self, shape: Shape, layer: int, by_token: bool) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.width // shape.head_dim
        self.by_token, self.rotated = by_token, rotated_halves if by_token else rotated
        self.qkv = nn.Parameter(torch.empty(3, width, width))  # three matrices for Muon, one product for us
        self.out = nn.Parameter(torch.empty(width, width))
        self.up = nn.Parameter(torch.empty(4 * width, width))
        self.down = nn.Parameter(torch.empty(width, 4 * width))
        self.gate = nn.Parameter(torch.empty(self.heads, GATE_CHANNELS)) if shape.has_values(layer) else None

    def forward(self, x: Tensor, values: Tensor | None, turn: Tensor, attend: Attend) -> Tensor:
        x = x + self.mix(rms_norm(x), values, turn, attend)
        hidden = F.linear(rms_norm(x), self.up.to(x.dtype))
        return x + F.linear(F.relu(hidden).square(), self.down.to(x.dtype))

    def mix(self, x: Tensor, values: Tensor | None, turn: Tensor, attend: Attend) -> Tensor:
        qkv = F.linear(x, self.qkv.to(x.dtype).flatten(0, 1)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.unbind(2) if self.by_token else qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.gate is not None and values is not None:
            gate = 2 * torch.sigmoid(F.linear(x[..., :GATE_CHANNELS], self.gate.to(x.dtype)))
            v = v + self.swapped(gate.unsqueeze(-1) * values.unflatten(-1, (self.heads, -1)))
        seen = self.swapped(attend(self.rotated(q, turn), self.rotated(k, turn), v))
        return F.linear(seen.flatten(2), self.out.to(x.dtype))

    def swapped(self, x: Tensor) -> Tensor:
        """From (B, T, heads, head_dim) to attention's layout, and back."""
        return x if self.by_token else x.transpose(1, 2)


class Gpt(nn.Module):
    def __init__(self, shape: Shape, device: Device) -> None:
        super().__init__()
        self.shape, self.dtype = shape, device.dtype

        def table(dtype: torch.dtype = device.table_dtype) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape.vocab, shape.width, dtype=dtype))

        self.tokens, self.head = table(), table(torch.float32)
        self.values = nn.ParameterDict({str(i): table() for i in range(shape.depth) if shape.has_values(i)})
        self.blocks = nn.ModuleList(Block(shape, i, device.by_token) for i in range(shape.depth))
        self.residual_scalars = nn.Parameter(torch.empty(shape.depth))
        self.x0_scalars = nn.Parameter(torch.empty(shape.depth))
        self.turn = rotation(shape.context, shape.head_dim, device)
        attends = {window: attention(window, shape.context, device) for window in set(shape.windows)}
        self.attends = [attends[window] for window in shape.windows]

    @torch.no_grad()
    def initialise(self) -> None:
        """With an INIT_SCALE of 1, queries, keys, values and hidden units have variance 1. Each block starts as identity."""
        bound = INIT_SCALE * (3 / self.shape.width) ** 0.5
        self.tokens.normal_()
        self.head.normal_(std=0.001)
        self.residual_scalars.fill_(1.0)
        self.x0_scalars.fill_(X0_INIT)
        for table in self.values.values():
            table.uniform_(-bound, bound)
        for name, matrix in self.blocks.named_parameters():
            if name.endswith(("qkv", "up")):
                matrix.uniform_(-bound, bound)
            else:  # a gate of 0 is half open, which counts as 1
                matrix.zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) -> what the head reads (B * T, width)."""
        x = x0 = rms_norm(F.embedding(tokens, self.tokens).to(self.dtype))
        for i, block in enumerate(self.blocks):
            values = F.embedding(tokens, self.values[str(i)]).to(self.dtype) if self.shape.has_values(i) else None
            x = block(self.residual_scalars[i] * x + self.x0_scalars[i] * x0, values, self.turn, self.attends[i])
        return rms_norm(x).flatten(0, 1)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """(B, T) each -> mean cross-entropy in nats, float32."""
        x, y = self(inputs), targets.flatten()
        if x.is_cpu:
            return CpuSummedLoss.apply(x, self.head, y) / len(x)
        return token_losses(x, self.head, y).mean()

    @torch.no_grad()
    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """(B, T) each -> cross-entropy of each token in nats, float32 (B, T)."""
        x, y = self(inputs), targets.flatten()
        size = CHUNK_ROWS if x.is_cpu else EVALUATION_CHUNK_ROWS
        chunks = zip(x.split(size), y.split(size), strict=True)
        return torch.cat([token_losses(rows, self.head, goals) for rows, goals in chunks]).view(targets.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Cost. A FLOP budget is charged with FLOPs, two for each multiply-add of a matrix product, and for elementwise work, which on a
# CPU takes longer than the products, with 500 FLOPs for each activation. Without these a narrow model would get 3 times the
# seconds of a wide one; with them seconds differ by up to 1.5 over the cpu space, in bfloat16 and in float32.

FLOPS_PER_ACTIVATION = 500


def flops_per_token(model: Gpt) -> int:
    """6 for each weight in a product (2 forwards, 4 backwards); in attention 12 for each channel and key in the window."""
    weights = model.head.numel() + sum(matrix.numel() for matrix in model.blocks.parameters())
    return 6 * weights + 12 * model.shape.width * sum(model.shape.windows)


def activations_per_token(model: Gpt) -> int:
    """About 16 for each channel of a layer, twice the attention scores and twice the logits."""
    shape = model.shape
    return 16 * shape.width * shape.depth + 2 * shape.width // shape.head_dim * sum(shape.windows) + 2 * shape.vocab


def flops_per_update(model: Gpt) -> int:
    """Muon's products: for a matrix with sides s <= l, 4 s^2 l + 2 s^3 in each iteration."""
    total = 0
    for matrix in model.blocks.parameters():
        small, large = sorted(matrix.shape[-2:])
        total += matrix.numel() // (small * large) * len(POLAR_EXPRESS) * (4 * small**2 * large + 2 * small**3)
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Optimizer: Muon for the matrices in blocks, AdamW for the rest. Not torch.optim, which takes 1.5 s to import

ADAM_EPSILON = 1e-10
MUON_BETA = 0.95
POLAR_EXPRESS = (  # 2505.16932: 5 iterations, safety factor 0.02, cushion 2
    (8.156554525, -22.483292926, 15.878769915),
    (4.042929935, -2.808917466, 0.500017845),
    (3.891667802, -2.772484153, 0.506064818),
    (3.285753658, -2.368129493, 0.464490242),
    (2.346541326, -1.709782838, 0.423235512),
)


def rate_multiplier(progress: float) -> float:
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress < 1 - WARMDOWN_RATIO:
        return 1.0
    left = (1 - progress) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


def adamw_update(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, rate: Any, new1: Any, new2: Any, root: Any, decay: Any
) -> None:
    """1711.05101, algorithm 2. new = 1 - beta; `rate` and `root` carry the corrections of the start; decay may be None."""
    if decay is not None:
        p.mul_(1 - decay)
    m.lerp_(g, new1)
    v.lerp_(g * g, new2)
    p.sub_((m / v.sqrt().div_(root).add_(ADAM_EPSILON)).mul_(rate))


def polar_factor(g: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices (n, rows, columns) with all singular values moved to about 1."""
    x = (g / (1.02 * g.norm(dim=(-2, -1), keepdim=True) + 1e-6)).to(dtype)
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


def muon_update(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, dtype: torch.dtype,
    rate: Any, new1: Any, new2: Any, momentum: Any, decay: Any,
) -> None:  # fmt: skip
    """p, g, m (n, rows, columns); v (n, rows, 1) or (n, 1, columns), averaged over the shorter side. new = 1 - beta."""
    m.lerp_(g, new1)
    update = polar_factor(g.lerp(m, momentum), dtype)
    fresh = update.square().mean(-1 if v.size(-1) == 1 else -2, keepdim=True)
    v.lerp_(fresh, new2)
    scale = v.clamp_min(1e-10).rsqrt()
    before, after = (moment.sum((-2, -1), keepdim=True).sqrt() for moment in (fresh, fresh * scale.square()))
    update.mul_(scale * (before / after.clamp_min(1e-10)))
    update.add_((update * p >= 0) * p * decay)
    p.sub_(update.mul_(rate))


class AdamW:
    def __init__(
        self, parameter: Tensor, rate: float, decay: float, betas: tuple[float, float], device: Device
    ) -> None:
        self.parameter, self.rate, self.decay, self.betas, self.device = parameter, rate, decay, betas, device
        self.state = [torch.zeros_like(parameter), torch.zeros_like(parameter)]
        self.update = device.compile(adamw_update)

    def step(self, step: int, progress: float, finite: Tensor | None = None) -> None:
        (beta1, beta2), now, number = self.betas, step + 1, self.device.number
        rate = self.rate * rate_multiplier(progress)
        rates = [number(value, finite) for value in (rate / (1 - beta1**now), 1 - beta1, 1 - beta2)]
        decay = number(rate * self.decay, finite) if self.decay else None  # none costs no pass over a table
        self.update(self.parameter, self.parameter.grad, *self.state, *rates, number((1 - beta2**now) ** 0.5), decay)


class Muon:
    """For all matrices of one size, as one stack; a parameter may itself be a stack (n, rows, columns)."""

    def __init__(self, parameters: list[Tensor], device: Device) -> None:
        self.parameters, self.device = parameters, device
        self.size = rows, columns = parameters[0].shape[-2:]
        self.rate = MATRIX_LR * max(1, rows / columns) ** 0.5
        mean = torch.zeros_like(self.stack(parameters))
        self.state = [mean, torch.zeros_like(mean[:, :, :1] if rows >= columns else mean[:, :1, :])]
        self.update = device.compile(muon_update)

    def stack(self, tensors: list[Tensor]) -> Tensor:
        return torch.cat([tensor.detach().view(-1, *self.size) for tensor in tensors])

    def step(self, step: int, progress: float, finite: Tensor | None = None) -> None:
        stack, number = self.stack(self.parameters), self.device.number
        gradients = self.stack([p.grad for p in self.parameters if p.grad is not None])
        momentum = 0.85 + 0.10 * min(step / max(1, MUON_WARMUP_STEPS), 1.0)
        rates = (self.rate * rate_multiplier(progress), 1 - momentum, 1 - MUON_BETA)
        numbers = [number(value, finite) for value in rates] + [number(momentum), number(WEIGHT_DECAY * (1 - progress))]
        self.update(stack, gradients, *self.state, self.device.dtype, *numbers)
        for p, new in zip(self.parameters, stack.split([p[..., 0, 0].numel() for p in self.parameters]), strict=True):
            p.copy_(new.view(p.shape))


class Optimizer:
    def __init__(self, model: Gpt, device: Device) -> None:
        scale = (model.shape.width / 768) ** -0.5
        tables = [(model.tokens, EMBEDDING_DECAY), *((table, VALUE_DECAY) for table in model.values.values())]
        sizes: dict[torch.Size, list[Tensor]] = {}
        for matrix in model.blocks.parameters():
            sizes.setdefault(matrix.shape[-2:], []).append(matrix)
        self.parameters = list(model.parameters())
        self.loss_scale = LossScale(device)
        self.parts = [
            AdamW(model.head, UNEMBEDDING_LR * scale, UNEMBEDDING_DECAY, ADAM_BETAS, device),
            *(AdamW(table, EMBEDDING_LR * scale, decay, ADAM_BETAS, device) for table, decay in tables),
            AdamW(model.residual_scalars, SCALAR_LR * 0.01, 0.0, ADAM_BETAS, device),
            AdamW(model.x0_scalars, SCALAR_LR, 0.0, (0.96, 0.95), device),
            *(Muon(matrices, device) for matrices in sizes.values()),
        ]

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        scale = [self.loss_scale.factor, self.loss_scale.steps]
        return [*self.parameters, *scale, *(tensor for part in self.parts for tensor in part.state)]

    @torch.no_grad()
    def step(self, step: int, progress: float) -> None:
        """Uses up the gradients. Steps count from 0; progress is the part of the budget spent before this step."""
        finite = self.loss_scale.unscale([p.grad for p in self.parameters if p.grad is not None])
        for part in self.parts:
            part.step(step, progress, finite)
        for p in self.parameters:
            p.grad = None


# ---------------------------------------------------------------------------------------------------------------------
# Training


@dataclass
class Budget:
    """Seconds, or FLOPs if a step has a price in them. A step that would not fit is not begun."""

    total: float
    step_flops: int
    spent: float = 0.0
    elapsed_s: float = 0.0
    steps: int = 0

    @property
    def progress(self) -> float:
        return self.spent / self.total

    def allows_a_step(self) -> bool:
        return self.spent + (self.step_flops or self.elapsed_s / max(self.steps, 1)) <= self.total

    def charge(self, seconds: float) -> None:
        self.steps += 1
        self.elapsed_s += seconds
        self.spent += self.step_flops or seconds


class Trainer:
    def __init__(self, model: Gpt, device: Device, rows: Any) -> None:
        self.device, self.rows, self.optimizer = device, rows, Optimizer(model, device)
        self.loss = device.compile(model.loss)
        self.flops_per_step = TOTAL_BATCH_SIZE * flops_per_token(model) + flops_per_update(model)
        elementwise = TOTAL_BATCH_SIZE * activations_per_token(model) * FLOPS_PER_ACTIVATION
        self.charge_per_step = self.flops_per_step + elementwise
        self.budget = Budget(FLOP_BUDGET, self.charge_per_step) if FLOP_BUDGET else Budget(TIME_BUDGET, 0)

    def backward(self, stream: Iterator[Any]) -> tuple[Tensor, int]:
        """Gradients of one step; its mean loss, perhaps still on its way from the device, and the epoch of its last row."""
        total, epoch = torch.zeros((), device=self.device.kind), 0
        count = TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * MAX_SEQ_LEN)
        for block, epoch in islice(stream, count):  # noqa: B007
            loss = self.loss(*self.device.put(block)) / count
            (loss * self.optimizer.loss_scale.factor).backward()
            total += loss.detach()
        return total, epoch

    def warm_up(self) -> None:
        """Compile all of a step, then undo it: compilation is not charged, and nobody trains for free."""
        before = [tensor.detach().to("cpu", copy=True) for tensor in self.optimizer.state()]  # a GPU may be full
        stream = batches(self.rows, DEVICE_BATCH_SIZE)
        for _ in range(2):
            self.backward(stream)
            self.optimizer.step(0, 0.5)
        with torch.no_grad():
            for tensor, value in zip(self.optimizer.state(), before, strict=True):
                tensor.copy_(value)

    def run(self) -> None:
        """Train until the budget is spent, or until the loss is lost: FAIL, exit 1."""
        budget, stream = self.budget, batches(self.rows, DEVICE_BATCH_SIZE)
        smooth, percent, shown = 0.0, -1, 0.0
        gc.collect()
        gc.freeze()  # or each collection would look through all that torch has imported
        is_cuda = self.device.kind == "cuda"
        if is_cuda:
            gc.disable()  # a collection takes longer than a step
        clock = time.perf_counter()
        while budget.allows_a_step():
            progress = budget.progress
            loss, epoch = self.backward(stream)
            self.optimizer.step(budget.steps, progress)
            value = loss.item()  # the only wait for the device, once a step
            if not value <= 100:  # NaN is not
                print("\nFAIL", flush=True)
                sys.exit(1)
            clock, seconds = time.perf_counter(), time.perf_counter() - clock
            budget.charge(seconds)
            if is_cuda and budget.steps % 5000 == 0:
                gc.collect()
            smooth = 0.9 * smooth + 0.1 * value
            if int(100 * budget.progress) > percent or clock > shown + 0.1:
                percent, shown = int(100 * budget.progress), clock
                self.show(smooth / (1 - 0.9**budget.steps), rate_multiplier(progress), seconds, epoch)
        print()

    def show(self, loss: float, rate: float, seconds: float, epoch: int) -> None:
        budget = self.budget
        line = f"step {budget.steps - 1:05d} ({100 * budget.progress:.1f}%) | loss: {loss:.6f} | lrm: {rate:.2f}"
        line += f" | dt: {seconds * 1000:.0f}ms | tok/sec: {int(TOTAL_BATCH_SIZE / seconds):,}"
        line += f" | mfu: {self.mfu_percent(seconds):.1f}%".replace("nan%", "n/a")
        line += f" | epoch: {epoch} | remaining: {budget.elapsed_s * (1 / budget.progress - 1):.0f}s"
        print(f"\r{line}    ", end="", flush=True)

    def mfu_percent(self, seconds_per_step: float) -> float:
        """Of the peak of the device; NaN where that is unknown."""
        return 100 * self.flops_per_step / seconds_per_step / (self.device.peak_flops or math.nan)


def in_blocks(losses: Callable[..., Tensor], rows: int, device: Device) -> Callable[[Tensor, Tensor], Tensor]:
    """`losses` of always `rows` rows at once, so that what a row measures cannot depend on the batch it comes in."""

    def call(x: Tensor, y: Tensor) -> Tensor:
        spare = -len(x) % rows
        x, y = (device.send(F.pad(tokens, (0, 0, 0, spare))) for tokens in (x, y))
        parts = [losses(*pair) for pair in zip(x.split(rows), y.split(rows), strict=True)]
        return torch.cat(parts)[: len(x) - spare]

    return call


def main() -> None:
    started = time.perf_counter()
    fits = TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0
    assert fits, f"{TOTAL_BATCH_SIZE=} is not a multiple of {DEVICE_BATCH_SIZE=} x {MAX_SEQ_LEN=}"
    assert ATTENTION in ("auto", "varlen"), f"{ATTENTION=} is neither auto nor varlen"
    device, data = open_device(), open_data()
    torch.manual_seed(SEED)
    model = Gpt(shape_of_constants(data.vocab_size), device)
    model.initialise()
    model.to(device.kind)
    parameters = sum(p.numel() for p in model.parameters())
    trainer = Trainer(model, device, data.train_rows)
    budget, dtype = trainer.budget, str(device.dtype).removeprefix("torch.")
    assert budget.allows_a_step(), f"FLOP_BUDGET is less than one step: {FLOP_BUDGET:,} < {budget.step_flops:,}"
    per_token, per_update = flops_per_token(model), flops_per_update(model)
    print(f"{device.name}, {dtype}; data {data.fingerprint}; {parameters:,} parameters: {model.shape}")
    print(f"FLOPs a step: {TOTAL_BATCH_SIZE:,} tokens x {per_token:,} + {per_update:,} for Muon")
    print(f"a FLOP_BUDGET also pays for {activations_per_token(model):,} activations a token x {FLOPS_PER_ACTIVATION}")
    if device.kind == "cuda":
        trainer.warm_up()
        torch.cuda.reset_peak_memory_stats()
    trainer.run()
    tokens = budget.steps * TOTAL_BATCH_SIZE
    epochs = tokens / (len(data.train_rows) * MAX_SEQ_LEN)
    if epochs > 1:
        print(f"note: this trial has seen the training data {epochs:.2f} times")
    rows = max(1, EVALUATION_TOKENS[device.kind] // MAX_SEQ_LEN)
    val_bpb = evaluate_bpb(in_blocks(device.compile(model.losses), rows, device), data, rows)
    summary = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{budget.elapsed_s:.1f}",
        "total_seconds": f"{time.perf_counter() - started:.1f}",
        "peak_vram_mb": f"{torch.cuda.max_memory_allocated() / 2**20 if device.kind == 'cuda' else 0:.1f}",
        "mfu_percent": f"{trainer.mfu_percent(budget.elapsed_s / budget.steps):.2f}".replace("nan", "n/a"),
        "total_tokens_M": f"{tokens / 1e6:.1f}",
        "num_steps": budget.steps,
        "num_params_M": f"{parameters / 1e6:.1f}",
        "depth": DEPTH,
        "total_flops": budget.steps * trainer.flops_per_step,
        "charged_flops": budget.steps * trainer.charge_per_step,
        "flops_per_token": per_token,
        "optimizer_flops_per_step": per_update,
        "tokens_per_second": f"{tokens / budget.elapsed_s:.0f}",
        "epochs": f"{epochs:.2f}",
        "seed": SEED,
        "dtype": dtype,
        "device": device.name,
        "data_fingerprint": data.fingerprint,
    }
    print("---")
    for key, value in summary.items():
        print(f"{key + ':':<26}{value}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # an orderly end takes half a second
