"""A piece of `gpu.py`: does the compiled model compute what the CPU's form computes? Loss, gradients, a step of the optimizer.

The CPU's form in float32 is the reference: its tests hold it to results that were recorded long ago. The same weights go
through the form that a GPU compiles, once with all in float32 and once in the GPU's own type, there with each attention. On a
CPU that form is only traced, and run without kernels.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from gpu_pieces import Work
from gpu_trial import write

STEP, PROGRESS, NOISE = 5, 0.75, 0.05


def measure(work: Work) -> None:
    """Compare both forms, in float32 and in the device's own type."""
    kind = work.sizes.kind
    folder = write(work.folder / "scripts", {**work.sizes.constants, **work.sizes.parity})
    plain, train = load(folder, "train_plain"), load(folder, "train_compiled", traced=kind == "cpu")
    reference = reference_model(plain, int(work.sizes.constants["VOCAB_SIZE"]))  # type: ignore[arg-type]
    own = torch.float32 if kind == "cpu" else plain.open_device().dtype
    torch.set_float32_matmul_precision("highest")  # opening the device has allowed less
    compare(work, plain, reference, train, compiling_device(train, kind, torch.float32), "exact_", "float32")
    own = torch.bfloat16 if kind == "cpu" else own
    torch.set_float32_matmul_precision("high" if kind == "cuda" else "highest")
    named = str(own).removeprefix("torch.")
    compare(work, plain, reference, train, compiling_device(train, kind, own), "", f"auto, {named}")
    if kind == "cuda" and own == torch.bfloat16:
        train.ATTENTION = "varlen"
        train.activate_flash_attention(torch.cuda.get_device_capability()[0])
        compare(work, plain, reference, train, compiling_device(train, kind, own), "", f"varlen, {named}", steps=False)
    else:
        for figure in ("loss_error", "gradient_error"):
            work.sheet.miss(figure, "FlashAttention has no kernel here: CUDA and bfloat16 only", "varlen")


def load(folder: Path, name: str, traced: bool = False) -> ModuleType:
    """Return the folder's train.py as a module; `traced`: in the form for a GPU, wherever its tensors are."""
    script = folder / f"{name}.py"
    text = (folder / "train.py").read_text()
    script.write_text(text.replace(".is_cpu", ".is_meta") if traced else text)
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(folder))
    sys.modules.pop("prepare", None)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("prepare", None)
    return module


def reference_model(train: ModuleType, vocab: int) -> Any:
    """Return a model with weights that no symmetry or zero hides anything in, its tables exact in bfloat16."""
    device = train.Device("cpu", "reference", torch.float32, torch.float32, None)
    torch.manual_seed(1)
    model = train.Gpt(train.shape_of_constants(vocab), device)
    model.initialise()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * NOISE)
        for table in (model.tokens, *model.values.values()):
            table.copy_(table.bfloat16().float())
    return model


def compiling_device(train: ModuleType, kind: str, dtype: torch.dtype) -> Any:
    """Return a device that compiles, as `train.py` opens it on a GPU."""
    table = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    if kind == "cuda":
        return train.Device("cuda", torch.cuda.get_device_name(), dtype, table, None)

    class Tracing(train.Device):  # type: ignore[name-defined, misc]
        def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
            return torch.compile(function, backend="eager", fullgraph=True, dynamic=False)

        def number(self, value: float, finite: Any = None) -> Any:
            return torch.tensor(value) if finite is None else torch.tensor(value) * finite

    return Tracing("cpu", "traced", dtype, table, None)


def compare(
    work: Work,
    plain: ModuleType,
    reference: Any,
    train: ModuleType,
    device: Any,
    prefix: str,
    of: str,
    steps: bool = True,
) -> None:
    """Write how far loss, gradients and, if it `steps`, one step of the optimizer are from the reference's."""
    torch._dynamo.reset()
    model = train.Gpt(train.shape_of_constants(reference.shape.vocab), device)
    if device.kind == "cpu":
        turn = torch.view_as_real(model.turn).to(device.dtype)
        model.turn = turn.unsqueeze(1) if device.by_token else turn
    model.to(device.kind)
    order = halves_first(reference) if device.by_token else None
    copy(reference, model, order)
    vocab, rows = reference.shape.vocab, plain.DEVICE_BATCH_SIZE
    x, y = torch.randint(vocab, (2, rows, reference.shape.context), generator=torch.Generator().manual_seed(7))
    for parameter in reference.parameters():
        parameter.grad = None
    expected = reference.loss(x, y)
    expected.backward()
    loss = device.compile(model.loss)(x.to(device.kind), y.to(device.kind))
    scale = 1024.0 if device.dtype == torch.float16 else 1.0  # else small gradients would be lost
    (loss * scale).backward()
    for parameter in model.parameters():
        parameter.grad = parameter.grad / scale
    work.sheet.add(f"{prefix}loss_error", abs(loss.item() - expected.item()), of, f"loss {expected.item():.4f}")
    worst, name = worst_error(model, reference, order, lambda p: p.grad)
    work.sheet.add(f"{prefix}gradient_error", worst, of, name)
    if not steps:
        return
    worst, name = step_error(plain, reference, train, model, device, order)
    work.sheet.add(f"{prefix}update_error", worst, of, name)


def halves_first(reference: Any) -> torch.Tensor:
    """Return the rows of a query's matrix as varlen has them: of each head first the even channels, then the odd ones."""
    head_dim, width = reference.shape.head_dim, reference.shape.width
    return torch.arange(width).view(-1, head_dim // 2, 2).mT.flatten()


def copy(reference: Any, model: Any, order: torch.Tensor | None) -> None:
    with torch.no_grad():
        for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
            parameter.copy_(reordered(name, other, order))


def reordered(name: str, tensor: torch.Tensor, order: torch.Tensor | None) -> torch.Tensor:
    """Return what the reference has, in the order of channels that the model has."""
    if order is None or not name.endswith("qkv"):
        return tensor
    return torch.stack([tensor[0, order], tensor[1, order], tensor[2]])


def worst_error(
    model: Any, reference: Any, order: torch.Tensor | None, of: Callable[[Any], torch.Tensor]
) -> tuple[float, str]:
    """Return the largest norm of a difference relative to what is expected, and whose it is."""
    found = []
    for (name, parameter), other in zip(model.named_parameters(), reference.named_parameters(), strict=True):
        wanted = reordered(name, of(other[1]), order).double()
        error = (of(parameter).cpu().double() - wanted).norm() / wanted.norm()
        found.append((error.item(), name))
    return max(found)


def step_error(
    plain: ModuleType, reference: Any, train: ModuleType, model: Any, device: Any, order: torch.Tensor | None
) -> tuple[float, str]:
    """Return the same of what a step changes, from equal gradients."""
    before = {name: parameter.detach().clone() for name, parameter in reference.named_parameters()}
    with torch.no_grad():
        for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
            parameter.grad = reordered(name, other.grad, order).to(parameter.device, parameter.dtype, copy=True)
    own = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    plain.Optimizer(reference, plain.Device("cpu", "reference", torch.float32, torch.float32, None)).step(
        STEP, PROGRESS
    )
    optimizer = train.Optimizer(model, device)
    optimizer.loss_scale.factor.fill_(1.0)  # these gradients are not scaled
    optimizer.step(STEP, PROGRESS)
    found = []
    with torch.no_grad():
        for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
            wanted = reordered(name, other - before[name], order).double()
            made = (parameter.double() - own[name].double()).cpu()
            found.append((((made - wanted).norm() / wanted.norm()).item(), name))
            other.copy_(before[name])
    return max(found)
