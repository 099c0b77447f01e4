"""The optimizer of the workload `gpt`: AdamW and Muon against the formulas written out, and what leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.gpt import built

# --- the optimizer ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rates_rise_stay_and_fall_with_the_budget(load: Callable[..., ModuleType]) -> None:
    train = load(WARMUP_RATIO=0.1, WARMDOWN_RATIO=0.4, FINAL_LR_FRAC=0.2)
    rates = [train.rate_multiplier(progress) for progress in (0.0, 0.05, 0.1, 0.5, 0.6, 0.8, 1.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 0.6, 0.2])
    plain = load(WARMUP_RATIO=0.0, WARMDOWN_RATIO=0.0)
    assert [plain.rate_multiplier(progress) for progress in (0.0, 0.999)] == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_is_that_of_torch(load: Callable[..., ModuleType], decay: float) -> None:
    import torch

    train = load(WARMDOWN_RATIO=0.0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5, 3)) for _ in range(2))
    device = train.Device("cpu", "test", torch.float32, torch.float32, None)
    part = train.AdamW(ours, 0.01, decay, (0.8, 0.95), device)
    adam = torch.optim.AdamW([theirs], lr=0.01, betas=(0.8, 0.95), eps=1e-10, weight_decay=decay)
    for step in range(4):
        gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        with torch.no_grad():
            part.step(step, 0.0)
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(32, 32), (96, 32), (32, 96)])
def test_the_polar_factor_keeps_directions_and_evens_out_singular_values(
    load: Callable[..., ModuleType], shape: tuple[int, int]
) -> None:
    import torch

    train = load()
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    factor = train.polar_factor(matrix[None], torch.float32)[0]
    assert torch.linalg.svdvals(factor).sub(1).abs().max() < 0.3
    assert torch.linalg.norm(factor - left @ right) / torch.linalg.norm(left @ right) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 32, 32), (96, 32), (32, 96)])
def test_muon_is_the_formula_written_out_matrix_by_matrix(
    load: Callable[..., ModuleType], shape: tuple[int, ...]
) -> None:
    import torch

    train = load(MATRIX_LR=0.05, WEIGHT_DECAY=0.3, WARMDOWN_RATIO=0.0)
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(shape))
    muon = train.Muon([parameter], train.Device("cpu", "test", torch.float32, torch.float32, None))
    weights = [w.clone() for w in parameter.detach().view(-1, *shape[-2:])]
    rows, columns = shape[-2:]
    axis = 1 if rows >= columns else 0
    means = [torch.zeros(rows, columns) for _ in weights]
    squares = [torch.zeros_like(w.mean(axis, keepdim=True)) for w in weights]
    for step in (0, 150, 400):
        gradient = torch.randn(shape)
        parameter.grad = gradient.clone()
        with torch.no_grad():
            muon.step(step, 0.25)
        momentum = min(0.85 + 0.1 * step / 300, 0.95)
        for i, g in enumerate(gradient.view(-1, rows, columns)):
            means[i] = momentum * means[i] + (1 - momentum) * g
            update = train.polar_factor((momentum * means[i] + (1 - momentum) * g)[None], torch.float32)[0]
            norm = update.norm()
            squares[i] = 0.95 * squares[i] + 0.05 * update.square().mean(axis, keepdim=True)
            update = update / squares[i].sqrt()
            update = update * norm / update.norm()
            rate, decay = 0.05 * max(1, rows / columns) ** 0.5, 0.3 * 0.75
            agrees = (update * weights[i] >= 0).float()
            weights[i] = weights[i] - rate * update - rate * decay * weights[i] * agrees
        torch.testing.assert_close(
            parameter.detach().view(-1, rows, columns), torch.stack(weights), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_each_parameter_has_its_own_rate(load: Callable[..., ModuleType]) -> None:
    train = load(EMBEDDING_DECAY=0.1, VALUE_DECAY=0.2, UNEMBEDDING_DECAY=0.3)
    model = built(train)
    parts = train.Optimizer(model, train.Device("cpu", "test", model.dtype, model.dtype, None)).parts
    scale = (64 / 768) ** -0.5
    adam = {id(part.parameter): (part.rate, part.betas) for part in parts if isinstance(part, train.AdamW)}
    assert adam[id(model.head)] == (pytest.approx(0.004 * scale), (0.8, 0.95))
    assert adam[id(model.tokens)] == adam[id(model.values["1"])] == (pytest.approx(0.6 * scale), (0.8, 0.95))
    assert adam[id(model.residual_scalars)] == (0.005, (0.8, 0.95))
    assert adam[id(model.x0_scalars)] == (0.5, (0.96, 0.95))
    decays = {id(part.parameter): part.decay for part in parts if isinstance(part, train.AdamW)}
    assert [decays[id(each)] for each in (model.tokens, model.values["1"], model.head)] == [0.1, 0.2, 0.3]
    assert decays[id(model.residual_scalars)] == decays[id(model.x0_scalars)] == 0.0
    muon = {tuple(part.size): part.rate for part in parts if isinstance(part, train.Muon)}
    assert muon == {(64, 64): 0.04, (256, 64): 0.08, (64, 256): 0.04, (2, 32): 0.04}
    owned = [*adam, *(id(p) for part in parts if isinstance(part, train.Muon) for p in part.parameters)]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())


@pytest.mark.slow
def test_warming_up_leaves_no_trace(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load()
    data, model = train.open_data(), built(train)
    trainer = train.Trainer(model, train.Device("cpu", "test", model.dtype, model.dtype, None), data.train_rows)
    before = [tensor.detach().clone() for tensor in trainer.optimizer.state()]
    trainer.warm_up()
    assert all(torch.equal(*pair) for pair in zip(before, trainer.optimizer.state(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (trainer.budget.steps, trainer.budget.spent) == (0, 0.0)


@pytest.mark.slow
def test_a_float16_step_that_overflows_changes_nothing_but_the_scale(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load(EMBEDDING_DECAY=0.1)
    device = train.Device("cpu", "test", torch.float16, torch.float32, None)
    model = built(train, "float16")
    optimizer = train.Optimizer(model, device)

    def step(number: int, lost: float = 0.0) -> None:
        draw = torch.Generator().manual_seed(number)
        for p in optimizer.parameters:
            p.grad = torch.randn(p.shape, generator=draw) * optimizer.loss_scale.factor
        optimizer.parameters[-1].grad[0] += lost
        optimizer.step(number, 0.25)

    def state() -> list[torch.Tensor]:
        return [tensor.detach().clone() for tensor in optimizer.state()]

    for number, lost in enumerate((math.inf, math.nan)):  # before anything has a momentum, and after
        before, scale = state(), optimizer.loss_scale.factor.item()
        step(number, lost)
        assert optimizer.loss_scale.factor.item() == scale / 2
        where = len(optimizer.parameters)
        after = state()
        assert all(
            torch.equal(*pair) for i, pair in enumerate(zip(before, after, strict=True)) if i not in (where, where + 1)
        )
        step(number)
        assert not any(torch.equal(*pair) for pair in zip(after[:where], state(), strict=False))
    assert all(tensor.isfinite().all() for tensor in state())


@pytest.mark.slow
def test_a_float16_gradient_is_scaled_back_and_an_overflow_found(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load()
    scale = train.LossScale(train.Device("cpu", "test", torch.float16, torch.float32, None))
    factor, good = scale.factor.item(), torch.tensor([2.0, 4.0])
    gradients = [good * factor]
    assert scale.unscale(gradients)
    torch.testing.assert_close(gradients[0], good)
    assert not scale.unscale([torch.tensor([1.0, math.inf]), torch.tensor([3.0])])
    assert scale.factor.item() == factor / 2
    assert train.LossScale(train.Device("cpu", "test", torch.bfloat16, torch.float32, None)).unscale(gradients) is None
