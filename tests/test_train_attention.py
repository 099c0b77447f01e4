"""Every form of attention in the training script against one reference in float64, and the model in FlashAttention's layout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.gpt import built, tokens

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CONTEXT, WINDOWS = 32, (0, 5, 31)


def reference(q: Any, k: Any, v: Any, window: int) -> Any:
    """Attention as its definition says, in float64; q, k, v (B, heads, T, head_dim)."""
    import torch

    q, k, v = (x.double() for x in (q, k, v))
    position = torch.arange(q.size(-2))
    distance = position[:, None] - position
    scores = (q @ k.mT / q.size(-1) ** 0.5).masked_fill((distance < 0) | (distance > window), -torch.inf)
    return scores.softmax(-1) @ v


def varlen_as_documented(
    q: Any, k: Any, v: Any, starts: Any, _ks: Any, longest: int, _k: int, *, window_size: Any
) -> Any:
    """What torch documents of varlen_attn, whose kernels are for CUDA alone: rows end to end, (tokens, heads, head_dim)."""
    import torch

    assert starts.dtype == torch.int32
    assert int(starts[-1]) == len(q) == len(k) == len(v)
    assert isinstance(window_size, tuple)  # a list would not be taken for the causal kernel
    left, right = window_size
    assert right == 0
    rows = [x.unflatten(0, (-1, longest)).transpose(1, 2) for x in (q, k, v)]
    seen = reference(*rows, window=longest if left == -1 else left)
    return seen.transpose(1, 2).flatten(0, 1).to(q.dtype)


class OnAGpu:
    """The parts of a CUDA device that choose a form of attention."""

    kind = "cuda"

    def __init__(self, dtype: Any, by_token: bool = False) -> None:
        self.dtype, self.by_token = dtype, by_token


def test_every_form_that_can_run_here_agrees_with_a_reference_in_float64(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    # without a kernel it is slow, but it is right, gradients included, which it would refuse on a CPU
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *given: None)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_as_documented)
    train = load()
    cpu = train.Device("cpu", "test", torch.float32, torch.float32, None)
    leaves = torch.randn(4, 2, 3, CONTEXT, 16, generator=torch.Generator().manual_seed(0))
    for window in WINDOWS:
        forms = {
            "by hand": train.attention(window, CONTEXT, cpu),
            "flex": train.flex_attention(window, CONTEXT, cpu),
            "varlen": _swapped(train.attention(window, CONTEXT, OnAGpu(torch.bfloat16, by_token=True))),
        }
        if window >= CONTEXT - 1:
            for dtype in (torch.float16, torch.bfloat16):
                forms[f"causal, {dtype}"] = train.attention(window, CONTEXT, OnAGpu(dtype))
        expected = _with_gradients(lambda *x, window=window: reference(*x, window), leaves)
        for name, attend in forms.items():
            for found, wanted in zip(_with_gradients(attend, leaves), expected, strict=True):
                torch.testing.assert_close(
                    found.double(), wanted.double(), rtol=1e-4, atol=1e-5, msg=f"{name}, {window}"
                )
        with torch.no_grad():  # on a CPU another form, and the one that a T4 has for short windows
            torch.testing.assert_close(forms["by hand"](*leaves[:3]).double(), expected[0], rtol=1e-4, atol=1e-5)


def _swapped(attend: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *x: attend(*(each.transpose(1, 2) for each in x)).transpose(1, 2)


def _with_gradients(attend: Callable[..., Any], leaves: Any) -> list[Any]:
    """What comes out, and the gradients of q, k and v for a gradient of it that is the fourth of `leaves`."""
    *inputs, gradient = (leaf.clone().requires_grad_() for leaf in leaves)
    out = attend(*inputs)
    out.backward(gradient.detach().to(out.dtype))
    return [out.detach(), *(each.grad for each in inputs)]


def test_layers_with_the_same_window_share_what_attention_needs(load: Callable[..., ModuleType]) -> None:
    model = built(load(DEPTH=6, ASPECT_RATIO=16, WINDOW_PATTERN="SSSL"))
    assert model.shape.windows == (16, 16, 16, 32, 16, 32)
    assert len({id(attend) for attend in model.attends}) == 2


@pytest.mark.parametrize("pattern", ["SL", "L"])
def test_in_flash_attentions_layout_the_model_is_the_same_with_channels_in_another_order(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    import torch

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_as_documented)
    plain, train = load(WINDOW_PATTERN=pattern), load(WINDOW_PATTERN=pattern, as_on_a_gpu=True)
    monkeypatch.setitem(sys.modules, train.__name__, train)
    same = built(plain)
    device = train.Device("cpu", "test", torch.float32, torch.float32, None)
    monkeypatch.setattr(train.Device, "by_token", True)
    model = train.Gpt(train.shape_of_constants(320), device)
    model.turn = torch.view_as_real(model.turn).unsqueeze(1)
    model.load_state_dict(same.state_dict())
    neighbours = (
        torch.arange(64).view(2, 16, 2).mT.flatten()
    )  # of each head, first the even channels, then the odd ones
    with torch.no_grad():
        for block in model.blocks:
            block.qkv[:2] = block.qkv[:2, neighbours]
    x, y = tokens(train, 4)
    loss, expected = model.loss(x, y), same.loss(x, y)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for (name, parameter), other in zip(model.named_parameters(), same.parameters(), strict=True):
        wanted = other.grad
        if name.endswith("qkv"):
            wanted = torch.stack([wanted[0, neighbours], wanted[1, neighbours], wanted[2]])
        torch.testing.assert_close(parameter.grad, wanted, rtol=2e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_flash_attention_3_and_4_are_taken_where_they_are_installed(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, asked, installed = load(), list[str](), set[str]()

    def activate(name: str) -> None:
        asked.append(name)
        if name not in installed:
            raise ModuleNotFoundError(name)

    monkeypatch.setattr("torch.nn.attention.activate_flash_attention_impl", activate)
    assert [train.activate_flash_attention(major) for major in (8, 9, 10, 12)] == [2, 2, 2, 2]
    assert asked == ["FA3", "FA4", "FA4"]
    installed |= {"FA4"}
    assert [train.activate_flash_attention(major) for major in (8, 9, 10, 12)] == [2, 4, 4, 2]
    installed |= {"FA3"}
    assert [train.activate_flash_attention(major) for major in (8, 9, 10, 12)] == [2, 3, 4, 2]
