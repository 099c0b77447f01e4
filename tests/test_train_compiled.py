"""The training script in the form that a GPU compiles, traced on a CPU: whole graphs, compiled once, that compute the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.gpt import built, tokens

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

        def number(self, value: float) -> Any:
            return torch.tensor(value)

    return Tracing("cpu", "test", getattr(torch, dtype), getattr(torch, dtype), None)


def test_nothing_is_compiled_after_the_warm_up_but_the_evaluation(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    train, graphs = load(as_on_a_gpu=True), list[Any]()
    monkeypatch.setitem(sys.modules, train.__name__, train)  # torch looks there for what a decorated method is made of
    device, model, data = tracing(train, graphs, "bfloat16"), built(train, "bfloat16"), train.open_data()
    model.turn = torch.view_as_real(model.turn).to(model.dtype)
    trainer = train.Trainer(model, device, data.train_rows)
    trainer.warm_up()
    at_first, stream = len(graphs), train.batches(data.train_rows, train.DEVICE_BATCH_SIZE)
    for step, progress in ((0, 0.0), (1, 0.4), (2, 0.9)):
        trainer.backward(stream)
        trainer.optimizer.step(step, progress)
    assert len(graphs) == at_first
    losses = train.in_blocks(device.compile(model.losses), 8, device)
    for rows in (12, 3):
        assert losses(*tokens(train, rows)).shape == (rows, 32)
    assert len(graphs) == at_first + 1


def test_what_a_gpu_compiles_computes_what_a_cpu_computes(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    # without a kernel it is slow, but it is right, gradients included, which it would refuse on a CPU
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    train, plain = load(as_on_a_gpu=True), load()
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
