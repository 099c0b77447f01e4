"""What `real_search.py` searches: the workload `gpt` and nanoGPT's character model, each under budgets of work.

Not a benchmark itself. nanoGPT is not in this repository: to train it, give the folder of a clone with prepared data,

    git clone https://github.com/karpathy/nanoGPT && cd nanoGPT && git checkout 3adf61e && python data/shakespeare_char/prepare.py

by `--nanogpt`. Without it its recorded trainings can still be played back.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from search_cpu import fingerprint_of, make_cpu_plan, run_forked, train_forked  # isort: skip  (sets threads before numpy)

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import load_settings
from optimize.executors.slots import cpu_name
from optimize.runner.diagnosis import parse_summary
from optimize.session.session import prepare_data
from optimize.trial import Value

Params = Mapping[str, Value]
Points = list[tuple[float, float]]
"""Pairs of a share of the budget and a train loss."""

GPT, NANOGPT = "gpt", "nanogpt"
BUDGETS = {GPT: (400_000_000_000, 1_000_000_000_000, 3_000_000_000_000), NANOGPT: (150, 500)}
UNITS = {GPT: "FLOPs", NANOGPT: "steps"}
FOLDER = Path(__file__).parent / "nanogpt"
CONFIG = "config/train_shakespeare_char.py"
SOURCES = ("train.py", "model.py", "configurator.py", CONFIG)
# The README's command for a CPU with a smaller model, since one training has to be a matter of seconds.
MODEL = {"n_layer": 2, "n_embd": 64, "block_size": 32, "batch_size": 16, "eval_iters": 50}
GPT_STEP = re.compile(r"\(([\d.]+)%\).*?loss: ([\d.]+)")
NANOGPT_STEP = re.compile(r"^iter (\d+): loss ([\d.]+)", re.MULTILINE)
NANOGPT_VALUE = re.compile(r"val loss ([\d.]+)")


@dataclass(frozen=True)
class Task:
    """What is trained under one budget. Two trainings with equal fingerprints have equal values."""

    name: str
    budget: int
    plan: Plan
    fingerprint: str  # of scripts, constants, data, torch and processor; "": nothing can be trained here
    train: Callable[[Params], tuple[float | None, Points]]  # the value, None if the script failed, and the curve


def open_task(name: str, budget: int, nanogpt: Path | None) -> Task:
    """Return the task of a script under a budget. Without the folder `nanogpt` that script cannot be trained."""
    return _gpt(budget) if name == GPT else _nanogpt(budget, nanogpt)


def _gpt(flops: int) -> Task:
    plan = make_cpu_plan()
    plan = replace(plan, settings=replace(plan.settings, constants={**plan.settings.constants, "FLOP_BUDGET": flops}))

    def train(params: Params) -> tuple[float | None, Points]:
        ended_well, log = train_forked(plan, dict(params))
        value = parse_summary(log).get(plan.workload.metric.name)
        points = [(float(percent) / 100, float(loss)) for percent, loss in GPT_STEP.findall(log)]
        return value if ended_well and isinstance(value, float) else None, points

    return Task(GPT, flops, plan, fingerprint_of(plan, _data_of_gpt()), train)


@cache
def _data_of_gpt() -> str:
    return prepare_data(make_cpu_plan(), lambda line: None)


def _nanogpt(steps: int, source: Path | None) -> Task:
    settings = load_settings("cpu", "benchmark", {"workload": str(FOLDER), "search_space": str(FOLDER / "space.toml")})
    plan = make_plan(replace(settings, constants={}, own_prior=False))
    fixed = {**MODEL, "max_iters": steps, "lr_decay_iters": steps, "eval_interval": steps, "log_interval": 5}
    options = [CONFIG, "--device=cpu", "--compile=False", "--always_save_checkpoint=False"]
    options += [f"--{name}={value}" for name, value in fixed.items()]

    def train(params: Params) -> tuple[float | None, Points]:
        assert source
        arguments = [*options, *(f"--{name}={value}" for name, value in params.items())]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for each in (*SOURCES, "data"):
                (folder / each).parent.mkdir(exist_ok=True)
                (folder / each).symlink_to((source / each).resolve())
            ended_well, log = run_forked(folder, "train.py", arguments)
        values = [float(value) for value in NANOGPT_VALUE.findall(log)]
        points = [(int(step) / steps, float(loss)) for step, loss in NANOGPT_STEP.findall(log)]
        return values[-1] if ended_well and len(values) > 1 else None, points

    return Task(NANOGPT, steps, plan, _fingerprint_of_nanogpt(source, options) if source else "", train)


def _fingerprint_of_nanogpt(source: Path, options: list[str]) -> str:
    data = source / "data" / "shakespeare_char"
    read = [source / each for each in SOURCES] + [data / each for each in ("train.bin", "val.bin")]
    parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in read]
    machine = importlib.metadata.version("torch"), cpu_name()
    return hashlib.sha256(repr((parts, options, machine)).encode()).hexdigest()[:8]
