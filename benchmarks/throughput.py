"""How fast train.py trains on one core, how well it learns, and how evenly its budget spends time.

    python benchmarks/throughput.py              tokens/s >= 0.18 of the GEMM limit; trial wall minus training < 3 s
    python benchmarks/throughput.py --learning   val_bpb after 348,160 tokens, mean of 3 seeds, <= 2.085
    python benchmarks/throughput.py --spread     seconds at equal FLOP_BUDGET over the corners of the cpu space, <= 1.6 x
    python benchmarks/throughput.py --smoke      each of them at small scale, under 20 s: that it works, not how fast

Trials are real: rendered copies of the two scripts in a folder of their own, a process each, pinned to one core together with
this process. The GEMM limit is measured before and after the trial on that core, by the same clock: all matrix products of a
forward and backward pass at the model's own shapes and in the trial's own type, nothing else; tokens/s if only they took time.
The last line holds the figures as name=value pairs. Exit 1 when a bound is missed. It needs the `docs` data and prepares it.

Neighbours on the core disturb little: both terms of the ratio suffer alike, wall minus training (overhead_s) is judged by the
share of it in which the trial had the core (overhead_on_core_s, the same on an idle machine), the spread by CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

WORKLOAD = Path(__file__).parents[1] / "optimize" / "workloads" / "gpt"
CONSTANTS: dict[str, object] = {
    "DATA_SOURCE": "docs",
    "VOCAB_SIZE": 2048,
    "MAX_SEQ_LEN": 256,
    "EVAL_TOKENS": 65536,
    "DEPTH": 2,
    "ASPECT_RATIO": 64,
    "HEAD_DIM": 64,
    "WINDOW_PATTERN": "SL",
    "DEVICE_BATCH_SIZE": 8,
    "TOTAL_BATCH_SIZE": 4096,
}
CORNERS = (  # (DEPTH, ASPECT_RATIO, HEAD_DIM, DEVICE_BATCH_SIZE, TOTAL_BATCH_SIZE)
    (1, 64, 64, 8, 2048),
    (1, 96, 32, 4, 1024),
    (1, 192, 64, 16, 8192),
    (2, 32, 32, 8, 2048),
    (2, 64, 64, 8, 4096),
    (3, 32, 32, 4, 2048),
    (4, 32, 64, 8, 8192),
    (4, 64, 64, 4, 1024),
    (4, 64, 64, 16, 8192),
)
TRIAL_FLOPS = 3_000_000_000_000  # about ten seconds of one core with AMX
LEARNING_FLOPS, LEARNING_STEPS = 3_400_000_000_000, 85
MIN_RATIO, MAX_OVERHEAD_S, MAX_VAL_BPB, MAX_SPREAD = 0.18, 3.0, 2.085, 1.6


class Trial(NamedTuple):
    wall_s: float
    cpu_s: float
    summary: dict[str, str]

    def number(self, key: str) -> float:
        return float(self.summary[key])


def render(folder: Path, constants: dict[str, object]) -> None:
    """Both scripts with these constants; each must be assigned once in one of them."""
    missing = set(constants)
    for script in ("train.py", "prepare.py"):
        text = (WORKLOAD / script).read_text()
        for name, value in constants.items():
            text, replaced = re.subn(rf"(?m)^{name} = [^#\n]*", f"{name} = {value!r}  ", text)
            missing -= {name} if replaced == 1 else set()
        (folder / script).write_text(text)
    if missing:
        raise SystemExit(f"throughput.py: no such constants: {', '.join(sorted(missing))}")


def run(**changed: object) -> Trial:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render(folder, CONSTANTS | changed)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, env=environment, capture_output=True, text=True)
        wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(
            f"throughput.py: the trial ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    summary = dict(re.findall(r"(?m)^(\w+): +(.*)$", done.stdout.rpartition("---")[2]))
    return Trial(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, summary)


def prepare() -> None:
    with tempfile.TemporaryDirectory() as name:
        render(Path(name), CONSTANTS)
        subprocess.run([sys.executable, "prepare.py"], cwd=name, check=True, stdout=sys.stderr)


def gemm_limit(dtype: str, repeats: int) -> float:
    """Tokens/s of the products alone: for each weight one forwards and two backwards, and the six of attention."""
    import torch

    torch.set_num_threads(1)
    rows, context, head_dim, vocab = (int(str(CONSTANTS[name])) for name in
                                      ("DEVICE_BATCH_SIZE", "MAX_SEQ_LEN", "HEAD_DIM", "VOCAB_SIZE"))  # fmt: skip
    depth, width = int(str(CONSTANTS["DEPTH"])), int(str(CONSTANTS["DEPTH"])) * int(str(CONSTANTS["ASPECT_RATIO"]))
    tokens, heads = rows * context, rows * width // head_dim

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape).to(getattr(torch, dtype))

    def linear(inputs: int, outputs: int) -> list[Callable[[], torch.Tensor]]:
        x, g, w = random(tokens, inputs), random(tokens, outputs), random(outputs, inputs)
        return [lambda: x @ w.mT, lambda: g @ w, lambda: g.mT @ x]

    def attention() -> list[Callable[[], torch.Tensor]]:
        q, s = random(heads, context, head_dim), random(heads, context, context)
        thin, wide = (lambda: s @ q), (lambda: q @ q.mT)
        return [wide, thin, wide, lambda: s.mT @ q, thin, lambda: s.mT @ q]

    sizes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    products = [product for _ in range(depth) for size in sizes for product in linear(*size)]
    products += [product for _ in range(depth) for product in attention()] + linear(width, vocab)
    for product in products:
        product()
    started = time.perf_counter()
    for _ in range(repeats):
        for product in products:
            product()
    return tokens * repeats / (time.perf_counter() - started)


def throughput(smoke: bool) -> tuple[dict[str, object], list[str]]:
    prepared = run(FLOP_BUDGET=TRIAL_FLOPS // 30) if smoke else None
    dtype = (prepared or run(FLOP_BUDGET=TRIAL_FLOPS // 30)).summary["dtype"]
    limits = [gemm_limit(dtype, 10 if smoke else 150)]
    trial = prepared or run(FLOP_BUDGET=TRIAL_FLOPS)
    limits.append(gemm_limit(dtype, 10 if smoke else 150))
    limit, speed = statistics.mean(limits), trial.number("tokens_per_second")
    overhead_s = trial.wall_s - trial.number("training_seconds")
    on_core_s = overhead_s * min(trial.cpu_s / trial.wall_s, 1)
    figures = {"tokens_per_second": round(speed), "gemm_limit": round(limit), "ratio": round(speed / limit, 3)}
    figures |= {"wall_s": round(trial.wall_s, 2), "training_s": trial.number("training_seconds")}
    missed = [f"ratio {speed / limit:.3f} < {MIN_RATIO}"] if speed / limit < MIN_RATIO else []
    missed += [f"wall minus training {on_core_s:.2f} s >= {MAX_OVERHEAD_S} s"] if on_core_s >= MAX_OVERHEAD_S else []
    figures |= {"overhead_s": round(overhead_s, 2), "overhead_on_core_s": round(on_core_s, 2)}
    return {**figures, "dtype": dtype}, missed


def learning(smoke: bool) -> tuple[dict[str, object], list[str]]:
    seeds, flops = ((42,), LEARNING_FLOPS // 30) if smoke else ((42, 43, 44), LEARNING_FLOPS)
    values = []
    for seed in seeds:
        trial = run(FLOP_BUDGET=flops, SEED=seed)
        values.append(trial.number("val_bpb"))
        print(f"seed {seed}: val_bpb {values[-1]:.6f} after {trial.summary['num_steps']} steps", flush=True)
        if not smoke and trial.number("num_steps") != LEARNING_STEPS:
            raise SystemExit(
                f"throughput.py: expected {LEARNING_STEPS} steps. Adjust LEARNING_FLOPS to the price of a step."
            )
    mean = statistics.mean(values)
    missed = [f"val_bpb {mean:.4f} > {MAX_VAL_BPB}"] if mean > MAX_VAL_BPB else []
    return {"val_bpb": round(mean, 6), "val_bpb_min": min(values), "val_bpb_max": max(values)}, missed


def spread(smoke: bool) -> tuple[dict[str, object], list[str]]:
    """Seconds for each charged FLOP; start and evaluation, measured by a trial of hardly any training, are taken off."""
    per_flop = []
    for depth, aspect, head_dim, rows, batch in CORNERS[:1] if smoke else CORNERS:
        shape = {"DEPTH": depth, "ASPECT_RATIO": aspect, "HEAD_DIM": head_dim}
        shape |= {"DEVICE_BATCH_SIZE": rows, "TOTAL_BATCH_SIZE": batch}
        short = run(FLOP_BUDGET=TRIAL_FLOPS // 8, EVAL_TOKENS=2048, **shape)
        long = run(FLOP_BUDGET=TRIAL_FLOPS // (6 if smoke else 2), EVAL_TOKENS=2048, **shape)
        flops = long.number("charged_flops") - short.number("charged_flops")
        per_flop.append((long.cpu_s - short.cpu_s) / flops)
        print(f"{shape}: {per_flop[-1] * TRIAL_FLOPS:.2f} s for {TRIAL_FLOPS:.1e} FLOPs", flush=True)
    ratio = max(per_flop) / min(per_flop)
    missed = [f"spread {ratio:.2f} > {MAX_SPREAD}"] if ratio > MAX_SPREAD else []
    figures = {"spread": round(ratio, 2), "fastest_s": round(min(per_flop) * TRIAL_FLOPS, 2)}
    return {**figures, "slowest_s": round(max(per_flop) * TRIAL_FLOPS, 2)}, missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("learning", "spread", "smoke"):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.smoke:
        CONSTANTS["EVAL_TOKENS"] = 4096
    prepare()
    chosen = [learning] * arguments.learning + [spread] * arguments.spread or [throughput]
    figures: dict[str, object] = {}
    missed: list[str] = []
    for measure in [throughput, learning, spread] if arguments.smoke else chosen:
        found, too_bad = measure(arguments.smoke)
        figures |= found
        missed += too_bad
    if missed and not arguments.smoke:
        print("missed: " + "; ".join(missed))
    print(" ".join(f"{name}={value}" for name, value in figures.items()))
    return 1 if missed and not arguments.smoke else 0


if __name__ == "__main__":
    sys.exit(main())
