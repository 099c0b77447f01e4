"""Pieces of `gpu.py`: tokens/s, memory and compile times of our training script, and which attention is the faster one.

Each run is the script itself in a process of its own, with a budget of some seconds. All of them, and the studies after them,
share one cache of compiled code, which is empty at first: so the first run tells what compiling costs, the second what
remains of that. The second piece, `more`, comes last of all, for what time is left.
"""

from __future__ import annotations

from gpu_pieces import NO_TIME, Work
from gpu_sizes import DEFAULT
from gpu_trial import Ran, TrialFailed, environment, run, write
from gpu_upstream import compare

from optimize.trial import Value

NO_VARLEN = "FlashAttention has no kernel here: CUDA and bfloat16 only"
LEAST_GAIN, LEAST_ELSEWHERE = 1.02, 0.98  # of varlen: so that noise does not change a default


def measure(work: Work) -> None:
    """Run the default shape cold and warm, then with the other attention, then the other shapes."""
    cold = one(work, DEFAULT, "auto", cold=True)
    warm = one(work, DEFAULT, "auto", again=True) if cold else None
    if warm:
        for kind, value in (("start_s", warm.start_s), ("evaluation_s", warm.evaluation_s)):
            work.sheet.add(kind, value)
        work.sheet.fact("type", warm.summary["dtype"])
    varlen(work, DEFAULT)
    for shape in work.sizes.direct[1:]:
        one(work, shape, "auto")


def more(work: Work) -> None:
    """Run the other attention at the other shapes too."""
    for shape in work.sizes.direct[1:]:
        varlen(work, shape)
        compare(work, shape, "varlen")


def varlen(work: Work, shape: str) -> None:
    """Run a shape with FlashAttention where it has a kernel, and compare."""
    if work.sizes.kind != "cuda" or work.sheet.facts().get("type") == "float16":
        work.sheet.miss("varlen_gain", NO_VARLEN, shape)
    elif one(work, shape, "varlen"):
        ours, other = (work.sheet.value("tokens_per_s", f"{shape}, {each}") for each in ("varlen", "auto"))
        if ours and other:
            work.sheet.add("varlen_gain", ours / other, shape)


def one(work: Work, shape: str, attention: str, cold: bool = False, again: bool = False) -> Ran | None:
    """Run one shape once and write its figures; a run that fails is written as not measured."""
    name = f"{shape}, {attention}"
    if work.left_s < 2 * work.sizes.direct_s:
        work.sheet.miss("tokens_per_s", NO_TIME, name)
        return None
    constants: dict[str, Value] = {"TIME_BUDGET": work.sizes.direct_s, "ATTENTION": attention}
    folder = write(work.folder / f"{shape}-{attention}{'-again' * again}", work.sizes.of(shape, **constants))
    try:
        ran = run(folder, environment(work.sizes.kind), work.left_s)
    except TrialFailed as error:
        print(error, flush=True)
        work.sheet.miss("tokens_per_s", str(error)[:300], name)
        return None
    if not again:
        work.sheet.add("tokens_per_s", ran.number("tokens_per_second"), name, f"{ran.summary['num_steps']} steps")
        work.sheet.add("peak_mb", ran.number("peak_vram_mb"), name)
        work.sheet.add("charged_flops_per_s", ran.number("charged_flops") / ran.number("training_seconds"), name)
        work.sheet.add("charged_flops_per_step", ran.number("charged_flops") / ran.number("num_steps"), name)
    if cold or again:
        work.sheet.add("compile_cold_s" if cold else "compile_warm_s", ran.warm_up_s, name)
    work.sheet.add("compiled_again", ran.compiled_again, name + ", again" * again)
    return ran
