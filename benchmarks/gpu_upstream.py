"""A piece of `gpu.py`: autoresearch's own train.py at the same shapes, on the same rows: tokens/s and memory beside ours.

`--upstream` names a folder with it; nothing is fetched, and its text is not changed but for the constants. What it imports is
stood in for (`gpu_upstream_stand_ins/`). Where the package `kernels` has its attention at hand without a network, that is
used, and both sides have their best; else both have FlashAttention 2 as torch ships it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gpu_figures import KINDS
from gpu_pieces import NO_TIME, Work
from gpu_sizes import DEFAULT
from gpu_trial import GPT, Ran, TrialFailed, environment, run

from optimize.script.constants import read_constants, render
from optimize.trial import Value

STAND_INS = Path(__file__).resolve().parent / "gpu_upstream_stand_ins"
UNCOUNTED_STEPS = 11  # in which it compiles
SAME, BEST = "the same kernel on both sides", "each its best kernel"
ON_A_CPU = "no kernel on a CPU, and there upstream's type is bfloat16 whatever the processor can"
PROBE = """
import torch
from kernels import get_kernel
hopper = torch.cuda.get_device_capability() == (9, 0)
get_kernel("varunneal/flash-attention-3" if hopper else "kernels-community/flash-attn3").flash_attn_interface
"""


def measure(work: Work) -> None:
    """Run its script at each shape, and compare with what the piece `speed` has found."""
    script = work.upstream / "train.py" if work.upstream else None
    if script is None or not script.is_file():
        why = f"there is no {script}" if script else "skipped: --upstream names no folder with its train.py"
        for kind in (kind for kind, bound in KINDS.items() if bound.piece == "upstream"):
            work.sheet.miss(kind, why)
        return
    own = work.sizes.kind == "cuda" and has_its_kernel()
    work.sheet.fact("upstream's attention", ON_A_CPU if work.sizes.kind == "cpu" else BEST if own else SAME)
    for shape in work.sizes.direct:
        if work.left_s < 3 * work.sizes.direct_s:
            work.sheet.miss("upstream_tokens_per_s", NO_TIME, shape)
            continue
        try:
            ran = one(work, script, shape, own)
            tokens_per_s = ran.tokens_per_s(UNCOUNTED_STEPS)
        except TrialFailed as error:
            print(error, flush=True)
            work.sheet.miss("upstream_tokens_per_s", str(error)[:300], shape)
            continue
        work.sheet.add("upstream_tokens_per_s", tokens_per_s, shape, f"{ran.summary['num_steps']} steps")
        work.sheet.add("upstream_peak_mb", ran.number("peak_vram_mb"), shape)
        for attention in ("auto", "varlen"):
            compare(work, shape, attention)


def compare(work: Work, shape: str, attention: str) -> None:
    """Write our share of its tokens/s and memory, where both are known.

    What is judged is the default shape: with the same kernel, or, if it has its own, with our best.
    """
    ours = work.sheet.value("tokens_per_s", f"{shape}, {attention}")
    theirs = work.sheet.value("upstream_tokens_per_s", shape)
    if not ours or not theirs:
        return
    kernels = work.sheet.facts().get("upstream's attention", "")
    own = kernels == BEST
    peaks = work.sheet.value("peak_mb", f"{shape}, {attention}"), work.sheet.value("upstream_peak_mb", shape)
    if peaks[0] and peaks[1]:
        work.sheet.add("upstream_memory", peaks[0] / peaks[1], f"{shape}, {attention}")
    rates = {each: work.sheet.value("tokens_per_s", f"{shape}, {each}") or 0.0 for each in ("auto", "varlen")}
    ours_here = max(rates, key=lambda each: rates[each]) if own or not rates["varlen"] else "varlen"
    judged = shape == DEFAULT and attention == ours_here
    kind, note = ("share_of_upstream", kernels) if judged else ("share_elsewhere", "")
    if judged and not own and attention == "auto" and work.sizes.kind == "cuda":
        note = "our default path against FlashAttention 2: ours with varlen was not measured"
    work.sheet.add(kind, ours / theirs, f"{shape}, {attention}", note)


def has_its_kernel() -> bool:
    """Tell whether `kernels` is installed and has its attention on this disk."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    try:
        return subprocess.run([sys.executable, "-c", PROBE], env=env, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def one(work: Work, script: Path, shape: str, own: bool) -> Ran:
    """Run its script in a folder of its own."""
    constants = work.sizes.of(shape, TIME_BUDGET=work.sizes.direct_s)
    folder = write_upstream(work.folder / shape, script, constants)
    if own:
        (folder / "kernels.py").unlink()
    env = {**environment(work.sizes.kind), "HF_HUB_OFFLINE": "1"}
    return run(folder, env, work.left_s, "train.py" if work.sizes.kind == "cuda" else "on_a_cpu.py")


def write_upstream(folder: Path, script: Path, constants: Mapping[str, Value]) -> Path:
    """Write its train.py with these constants, our scripts under other names, and what stands in for the rest."""
    shutil.copytree(STAND_INS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    sources = {"train.py": script, "our_train.py": GPT / "train.py", "our_prepare.py": GPT / "prepare.py"}
    for name, source in sources.items():
        text = source.read_text()
        known = {key: value for key, value in constants.items() if key in read_constants(text, name)}
        (folder / name).write_text(render(text, known, name))
    return folder
