"""The training script in the form that a GPU compiles, traced on a CPU: whole graphs, compiled once, that compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from search_spaces import load_space
from tests.gpt import built, tokens
from tests.traced import SHAPE, graphs_of, loaded, shapes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def tracing(train: ModuleType, graphs: list[Any], dtype: str = "float32") -> Any:
    """A device that compiles as a GPU does, but for the kernels; a graph that breaks is an error."""
    import torch
    from torch._dynamo import lookup_backend

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    class Tracing(train.Device):  # type: ignore[name-defined, misc]
        def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
            compiled: Callable[..., Any] = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
            return compiled

        def number(self, value: float, finite: Any = None) -> Any:
            return torch.tensor(value) if finite is None else torch.tensor(value) * finite

    return Tracing("cpu", "test", getattr(torch, dtype), getattr(torch, dtype), None)


@pytest.mark.parametrize("attention", ["auto", "varlen"])
def test_a_shape_of_the_gpu_spaces_is_compiled_once(tmp_path: Path, attention: str) -> None:
    shape = {**shapes(40)[0], "DEPTH": 2, "WINDOW_PATTERN": "SL", "ATTENTION": attention}
    warm, later, evaluating = graphs_of(loaded(tmp_path / "scripts", shape))
    assert (later, evaluating) == (0, 1)
    assert 8 <= warm <= 10  # the loss; AdamW for head, tables and scalars; Muon for each size


def test_all_corners_of_the_gpu_spaces_are_among_the_forty_shapes() -> None:
    found = shapes(40)
    for name in ("gpu", "h100"):
        space = load_space(name)
        for each in SHAPE:
            assert {min(space[each].choices), max(space[each].choices)} <= {shape[each] for shape in found}
    assert len({tuple(shape[each] for each in SHAPE) for shape in found}) >= 38
    assert {shape["WINDOW_PATTERN"] for shape in found} == set(load_space("h100")["WINDOW_PATTERN"].choices)


def test_what_a_gpu_compiles_computes_what_a_cpu_computes(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    # without a kernel it is slow, but it is right, gradients included, which it would refuse on a CPU
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    train, plain = load(as_on_a_gpu=True, VALUE_DECAY=0.2), load(VALUE_DECAY=0.2)
    device = tracing(train, [])
    model, same = built(train), built(plain)
    model.turn = torch.view_as_real(model.turn)
    model.attends = [train.flex_attention(window, 32, device) for window in model.shape.windows]
    x, y = tokens(train, 4)
    loss, expected = device.compile(model.loss)(x, y), same.loss(x, y)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for (name, parameter), other in zip(model.named_parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=2e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")
    with torch.no_grad():
        for parameter, other in zip(model.parameters(), same.parameters(), strict=True):
            parameter.copy_(other)
            parameter.grad = other.grad.clone()
    train.Optimizer(model, device).step(5, 0.75)
    plain.Optimizer(same, plain.Device("cpu", "test", torch.float32, torch.float32, None)).step(5, 0.75)
    for (name, parameter), other in zip(model.named_parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
