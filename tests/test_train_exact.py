"""On a CPU the workload `gpt` trains as it did in our first recorded studies, to the last bit, while no constant is changed.

`data/612ce2a/` has the values, and for a processor that rounds otherwise the scripts that gave them, which then train here.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

EARLIER = Path(__file__).parent / "data" / "612ce2a"
CONFIGURATIONS: dict[str, dict[str, object]] = {
    "small": {},
    "one layer": {"DEPTH": 1, "WINDOW_PATTERN": "L", "DEVICE_BATCH_SIZE": 4, "WEIGHT_DECAY": 0.0},
    "three layers": {"DEPTH": 3, "ASPECT_RATIO": 20, "WINDOW_PATTERN": "SSSL", "SEED": 43},
    "one head": {"HEAD_DIM": 64, "WARMUP_RATIO": 0.3, "WARMDOWN_RATIO": 0.2, "FINAL_LR_FRAC": 0.1},
    "four short layers": {"DEPTH": 4, "ASPECT_RATIO": 8, "WINDOW_PATTERN": "S", "ADAM_BETAS": (0.9, 0.99)},
    "other rates": {"EMBEDDING_LR": 0.2, "UNEMBEDDING_LR": 0.01, "MATRIX_LR": 0.02, "SCALAR_LR": 0.1},
}
STEPS = 4


def state_after(train: ModuleType, dtype: str) -> tuple[Any, Any, str]:
    """The device, the model, and a digest of all that some steps as `main` makes them have changed."""
    import torch

    device = train.Device("cpu", "test", getattr(torch, dtype), torch.float32, None)
    torch.manual_seed(train.SEED)
    data = train.open_data()
    model = train.Gpt(train.shape_of_constants(data.vocab_size), device)
    model.initialise()
    trainer = train.Trainer(model, device, data.train_rows)
    trainer.budget.total = STEPS * trainer.charge_per_step
    train.gc = SimpleNamespace(collect=int, freeze=int)  # type: ignore[attr-defined]  # not of what else is in this process
    trainer.run()
    digest = hashlib.sha256()
    for tensor in trainer.optimizer.state():
        digest.update(tensor.detach().numpy().tobytes())
    return device, model, digest.hexdigest()[:16]


def trained(train: ModuleType, dtype: str) -> dict[str, str]:
    device, model, state = state_after(train, dtype)
    val_bpb = train.evaluate_bpb(train.in_blocks(model.losses, 64, device), train.open_data(), 64)
    return {"val_bpb": val_bpb.hex(), "state": state}


def arithmetic() -> dict[str, str]:
    """What the last bits depend on besides the script."""
    import torch

    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    amx = "amx" if "amx_bf16" in flags else "no amx"
    return {"torch": torch.__version__, "instructions": f"{torch.backends.cpu.get_cpu_capability()}, {amx}"}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of 612ce2a."""
    folder = tmp_path_factory.mktemp("612ce2a")
    with tarfile.open(EARLIER / "gpt.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_with_the_defaults_a_training_is_that_of_612ce2a(
    load: Callable[..., ModuleType], earlier: Path, name: str
) -> None:
    recorded = json.loads((EARLIER / "trainings.json").read_text())
    train = load(**CONFIGURATIONS[name])
    before = None if arithmetic() == recorded["arithmetic"] else load(source=earlier, **CONFIGURATIONS[name])
    for dtype in ("float32", "bfloat16"):
        then = trained(before, dtype) if before else recorded["trainings"][f"{name}, {dtype}"]
        assert trained(train, dtype) == then, dtype


EXPERTS = {
    "ROPE_BASE": 200_000, "SHORT_WINDOW_RATIO": 0.125, "X0_INIT": 0.05, "INIT_SCALE": 0.68, "EMBEDDING_DECAY": 0.1,
    "VALUE_DECAY": 0.1, "UNEMBEDDING_DECAY": 0.1, "MUON_WARMUP_STEPS": 2,
}  # fmt: skip


@pytest.mark.slow
def test_each_constant_that_experts_change_changes_a_training(load: Callable[..., ModuleType]) -> None:
    train = load()
    states = [state_after(train, "float32")[-1]]
    for name, value in EXPERTS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train, name, value)
            states.append(state_after(train, "float32")[-1])
    assert len(set(states)) == 1 + len(EXPERTS)
