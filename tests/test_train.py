"""The training side of the workload `gpt`: its arithmetic against plain formulas, and real trials on a small text."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from optimize.runner.diagnosis import Exit, diagnose, parse_progress, parse_summary
from optimize.script.constants import read_constants
from optimize.trial import Metric, TrialStatus
from tests.gpt import BUDGET, FOLDER, built, tokens

DEFAULTS = {
    "ASPECT_RATIO": 64,
    "HEAD_DIM": 128,
    "WINDOW_PATTERN": "SSSL",
    "TOTAL_BATCH_SIZE": 2**19,
    "EMBEDDING_LR": 0.6,
    "UNEMBEDDING_LR": 0.004,
    "MATRIX_LR": 0.04,
    "SCALAR_LR": 0.5,
    "WEIGHT_DECAY": 0.2,
    "ADAM_BETAS": (0.8, 0.95),
    "WARMUP_RATIO": 0.0,
    "WARMDOWN_RATIO": 0.5,
    "FINAL_LR_FRAC": 0.0,
    "DEPTH": 8,
    "DEVICE_BATCH_SIZE": 128,
    "ROPE_BASE": 10000,
    "SHORT_WINDOW_RATIO": 0.5,
    "X0_INIT": 0.1,
    "INIT_SCALE": 1.0,
    "EMBEDDING_DECAY": 0.0,
    "VALUE_DECAY": 0.0,
    "UNEMBEDDING_DECAY": 0.0,
    "MUON_WARMUP_STEPS": 300,
    "SEED": 42,
}
KEYS = [
    *("val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent"),
    *("total_tokens_M", "num_steps", "num_params_M", "depth"),
]


def test_every_constant_can_be_rendered_and_has_the_default_of_autoresearch() -> None:
    constants = read_constants((FOLDER / "train.py").read_text(), "train.py")
    assert {name: constants[name].expression for name in DEFAULTS} == {
        name: repr(value).replace("'", '"') for name, value in DEFAULTS.items()
    }


def test_the_docstring_says_what_every_constant_means() -> None:
    documentation = (FOLDER / "train.py").read_text().split('"""')[1]
    assert [name for name in DEFAULTS if name not in documentation] == []


# --- the model ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_the_defaults_the_model_has_the_shape_and_size_of_autoresearch(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load(**DEFAULTS, VOCAB_SIZE=8192, MAX_SEQ_LEN=2048)
    with torch.device("meta"):
        model = train.Gpt(
            train.shape_of_constants(8192), train.Device("meta", "", torch.bfloat16, torch.bfloat16, None)
        )
    shape = model.shape
    assert (shape.depth, shape.width, shape.width // shape.head_dim) == (8, 512, 4)
    assert shape.windows == (1024, 1024, 1024, 2048, 1024, 1024, 1024, 2048)
    assert sorted(model.values) == ["1", "3", "5", "7"]
    matrices, gates, scalars = 8 * 12 * 512**2, 4 * 4 * 32, 2 * 8
    assert sum(p.numel() for p in model.parameters()) == 6 * 8192 * 512 + matrices + gates + scalars  # prints 50.3
    # its estimate: 6 x (parameters - tables - scalars) + 12 x heads x head_dim x window for each layer
    assert train.flops_per_token(model) == 6 * (8192 * 512 + matrices + gates) + 12 * 512 * (6 * 1024 + 2 * 2048)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "aspect", "head", "width"), [(2, 32, 32, 64), (3, 32, 64, 128), (1, 16, 32, 32), (5, 20, 32, 128)]
)
def test_width_is_rounded_up_to_whole_heads(
    load: Callable[..., ModuleType], depth: int, aspect: int, head: int, width: int
) -> None:
    train = load(DEPTH=depth, ASPECT_RATIO=aspect, HEAD_DIM=head, WINDOW_PATTERN="S")
    shape = train.shape_of_constants(320)
    assert shape.width == width
    assert shape.windows == (16,) * (depth - 1) + (32,)  # S is half of the context, the last layer is always long
    assert shape.has_values(depth - 1)
    train.SHORT_WINDOW_RATIO = 0.125  # type: ignore[attr-defined]
    assert train.shape_of_constants(320).windows == (4,) * (depth - 1) + (32,)


@pytest.mark.slow
def test_a_query_sees_itself_and_its_window_and_nothing_else(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load()
    device = train.Device("cpu", "test", torch.float32, torch.float32, None)
    on_a_cpu, on_a_gpu = train.attention(16, 32, device), train.flex_attention(16, 32, device)
    q, k, v = torch.randn(3, 1, 2, 32, 32, generator=torch.Generator().manual_seed(0)).unbind(0)
    changed = v.clone()
    changed[:, :, 10] += 1
    for attend, grad in ((on_a_cpu, True), (on_a_cpu, False), (on_a_gpu, False)):  # two forms on a CPU
        with torch.set_grad_enabled(grad), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the third is slow where it is not compiled
            seen = (attend(q, k, v) - attend(q, k, changed)).abs().amax((0, 1, 3)) > 1e-6
        assert seen.nonzero().flatten().tolist() == list(range(10, 27))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["L", "SL"])
def test_what_a_cpu_computes_by_hand_is_what_the_plain_form_computes(
    load: Callable[..., ModuleType], pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    train = load(WINDOW_PATTERN=pattern, CHUNK_ROWS=96)  # chunks that do not divide the rows
    x, y = tokens(train, 8)

    def measured(model: Any) -> list[Any]:
        loss = model.loss(x, y)
        loss.backward()
        return [loss.detach(), model.losses(x, y), *(p.grad for p in model.parameters())]

    by_hand, model = measured(built(train)), built(train)
    model.turn = torch.view_as_real(model.turn)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    for ours, plain in zip(by_hand, measured(model), strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-4, atol=2e-6)


@pytest.mark.slow
def test_the_loss_is_the_cross_entropy_of_capped_logits(load: Callable[..., ModuleType]) -> None:
    import torch
    import torch.nn.functional as F  # noqa: N812

    train = load()
    x, head = torch.randn(50, 64) * 10, torch.randn(320, 64)
    y = torch.randint(320, (50,))
    expected = -F.log_softmax(15 * torch.tanh(x @ head.T / 15), 1)[range(50), y]
    for grad in (True, False):  # two forms
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(train.token_losses(x, head, y), expected)
    torch.testing.assert_close(train.CpuSummedLoss.apply(x, head, y), expected.sum())


@pytest.mark.slow
def test_an_evaluation_is_the_same_in_any_batch_size(load: Callable[..., ModuleType]) -> None:
    import torch

    train = load()
    data = train.open_data()
    for dtype in ("float32", "bfloat16"):
        model = built(train, dtype)
        device = train.Device("cpu", "test", getattr(torch, dtype), torch.float32, None)
        losses = train.in_blocks(model.losses, 8, device)
        values = [train.evaluate_bpb(losses, data, size) for size in (1, 8, 12, 24)]
        assert max(values) - min(values) <= 1e-6, (dtype, values)


# --- cost ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("constants", [{}, {"DEPTH": 3, "ASPECT_RATIO": 40}, {"WINDOW_PATTERN": "L"}, {"HEAD_DIM": 64}])
def test_flops_are_those_that_torch_counts(load: Callable[..., ModuleType], constants: dict[str, object]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    train = load(**constants)
    model = built(train)
    x, y = tokens(train, 8)
    with FlopCounterMode(display=False) as counter:
        model.loss(x, y).backward()
    # a CPU multiplies what the window hides too, and throws it away
    hidden = 12 * model.shape.width * sum(32 - window for window in model.shape.windows)
    assert counter.get_total_flops() == 8 * 32 * (train.flops_per_token(model) + hidden)
    optimizer = train.Optimizer(model, train.Device("cpu", "test", model.dtype, model.dtype, None))
    with FlopCounterMode(display=False) as counter:
        optimizer.step(0, 0.0)
    assert counter.get_total_flops() == train.flops_per_update(model)


@pytest.mark.slow
def test_a_budget_of_flops_is_never_exceeded(load: Callable[..., ModuleType]) -> None:
    train = load()
    budget = train.Budget(1000, 300)
    progress = []
    while budget.allows_a_step():
        progress.append(budget.progress)
        budget.charge(5.0)
    assert progress == [0.0, 0.3, 0.6]
    assert (budget.spent, budget.steps, budget.elapsed_s) == (900, 3, 15.0)


@pytest.mark.slow
def test_a_budget_of_seconds_begins_no_step_that_would_not_fit(load: Callable[..., ModuleType]) -> None:
    train = load()
    budget = train.Budget(10, 0)
    while budget.allows_a_step():
        budget.charge(3.0)
    assert (budget.spent, budget.steps) == (9.0, 3)


# --- devices ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "capability", "dtype", "tables", "peak"),
    [
        ("Tesla T4", (7, 5), "float16", "float32", 65e12),
        ("NVIDIA A100-SXM4-80GB", (8, 0), "bfloat16", "bfloat16", 312e12),
        ("NVIDIA H100 80GB HBM3", (9, 0), "bfloat16", "bfloat16", 989.5e12),
        ("NVIDIA H100 NVL", (9, 0), "bfloat16", "bfloat16", 835e12),
        ("NVIDIA L4", (8, 9), "bfloat16", "bfloat16", 121e12),
        ("NVIDIA L40", (8, 9), "bfloat16", "bfloat16", None),
        ("NVIDIA RTX A1000", (8, 6), "bfloat16", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090", (8, 9), "bfloat16", "bfloat16", None),
    ],
)
def test_each_gpu_gets_the_types_it_computes_in(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, name: str, capability: Any, dtype: str,
    tables: str, peak: float | None,
) -> None:  # fmt: skip
    import torch

    train = load()
    facts = {"is_available": True, "init": None, "get_device_name": name, "get_device_capability": capability}
    for function, answer in facts.items():
        assert callable(getattr(torch.cuda, function))
        monkeypatch.setattr(torch.cuda, function, lambda answer=answer: answer)
    types = getattr(torch, dtype), getattr(torch, tables)
    assert train.open_device() == train.Device("cuda", name, *types, peak)


@pytest.mark.slow
def test_a_gpu_that_is_named_and_cannot_be_used_is_not_replaced_by_a_cpu(trial: Callable[..., Any]) -> None:
    pinned = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = 'GPU-of-another-machine'\n"
    done = trial(code=pinned + "import train; train.main()")
    assert diagnose(done.stdout + done.stderr, Exit(done.returncode, 1.0), Metric()).status is TrialStatus.ENVIRONMENT


# --- trials -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_prints_progress_and_a_summary_and_learns(trial: Callable[..., Any]) -> None:
    done = trial()
    assert done.returncode == 0, done.stderr
    summary = parse_summary(done.stdout)
    assert list(summary)[: len(KEYS)] == KEYS
    assert summary["mfu_percent"] == "n/a"
    assert summary["peak_vram_mb"] == 0.0
    steps, charged = summary["num_steps"], summary["charged_flops"]
    assert BUDGET - charged / steps < charged <= BUDGET
    assert summary["total_flops"] == steps * (512 * summary["flops_per_token"] + summary["optimizer_flops_per_step"])
    assert summary["total_flops"] < charged
    lines = [line for line in re.split(r"[\r\n]", done.stdout) if line.startswith("step ")]
    pattern = (
        r"step \d{5} \(\d+\.\d%\) \| loss: \d+\.\d{6} \| lrm: \d\.\d\d \| dt: \d+ms \| tok/sec: [\d,]+"
        r" \| mfu: n/a \| epoch: 1 \| remaining: \d+s +"
    )
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []
    progress = [parse_progress(line) for line in lines]
    losses = [point.loss for point in progress if point is not None and point.loss is not None]
    assert losses[0] == pytest.approx(math.log(320), abs=0.1)  # knows nothing at first
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.slow
def test_under_a_flop_budget_a_trial_repeats_to_the_last_digit(trial: Callable[..., Any]) -> None:
    first, again, other = (parse_summary(trial(SEED=seed).stdout) for seed in (42, 42, 43))
    assert first["val_bpb"] == again["val_bpb"] != other["val_bpb"]
    assert first["num_steps"] == again["num_steps"] == other["num_steps"]


@pytest.mark.slow
def test_accumulation_changes_speed_and_not_the_data(trial: Callable[..., Any]) -> None:
    whole, parts = (parse_summary(trial(DEVICE_BATCH_SIZE=size).stdout) for size in (16, 4))
    assert whole["num_steps"] == parts["num_steps"]
    assert whole["val_bpb"] == pytest.approx(parts["val_bpb"], rel=0.01)


@pytest.mark.slow
def test_a_time_budget_trains_and_ends(trial: Callable[..., Any]) -> None:
    summary = parse_summary(trial(FLOP_BUDGET=0, TIME_BUDGET=1).stdout)
    assert summary["num_steps"] >= 1
    assert summary["val_bpb"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["EMBEDDING_LR", "MATRIX_LR", "UNEMBEDDING_LR"])
def test_a_loss_that_is_lost_says_fail(trial: Callable[..., Any], constant: str) -> None:
    done = trial(**{constant: 1e39})  # beyond float32
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "FAIL"
    assert "---" not in done.stdout


@pytest.mark.slow
def test_a_batch_that_cannot_be_divided_is_refused_before_training(trial: Callable[..., Any]) -> None:
    done = trial(DEVICE_BATCH_SIZE=12)
    assert done.returncode == 1
    expected = "AssertionError: TOTAL_BATCH_SIZE=512 is not a multiple of DEVICE_BATCH_SIZE=12 x MAX_SEQ_LEN=32"
    assert done.stderr.splitlines()[-1] == expected


@pytest.mark.slow
def test_a_budget_too_small_for_one_step_is_refused(trial: Callable[..., Any]) -> None:
    done = trial(FLOP_BUDGET=1000)
    assert done.returncode == 1
    assert "FLOP_BUDGET is less than one step: 1,000 < " in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_trial_that_sees_the_data_again_says_so(trial: Callable[..., Any]) -> None:
    done = trial(FLOP_BUDGET=6 * BUDGET, DEPTH=1)
    summary = parse_summary(done.stdout)
    assert summary["epochs"] > 1
    assert f"note: this trial has seen the training data {summary['epochs']:.2f} times" in done.stdout
    assert "epoch: 2" in done.stdout


@pytest.mark.slow
def test_a_trial_does_not_import_the_compiler(trial: Callable[..., Any]) -> None:
    done = trial(code="import sys, train; train.main(); print('torch._dynamo' in sys.modules)")  # a second and a half
    assert done.stdout.splitlines()[-1] == "False", done.stderr
