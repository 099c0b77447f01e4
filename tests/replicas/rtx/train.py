"""Of the Windows RTX fork's form: a main function, globals that it sets, text where a number could stand, out of memory survived."""

import argparse
import math

from prepare import DATASET_CHOICES, MAX_SEQ_LEN, TIME_BUDGET

USE_COMPILE = False
ADAMW_STEP_IMPL = None

ASPECT_RATIO = 64
HEAD_DIM = 128
WINDOW_PATTERN = "SSSL"

TOTAL_BATCH_SIZE = 2**19
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 0.04
SCALAR_LR = 0.5
WEIGHT_DECAY = 0.2
ADAM_BETAS = (0.8, 0.95)
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.0

DEPTH = 8
DEVICE_BATCH_SIZE = 16
EVAL_BATCH_SIZE = 8


def configure():
    global ADAMW_STEP_IMPL, USE_COMPILE
    ADAMW_STEP_IMPL, USE_COMPILE = "eager", False


def main():
    argparse.ArgumentParser().parse_args()
    configure()
    print("Running consumer GPU autotune in eager mode...")
    print("  rejected (OOM, runtime error, or >90% VRAM use)")
    if DEPTH * DEVICE_BATCH_SIZE > 128:
        print(f"Train OOM at batch_size={DEVICE_BATCH_SIZE}, checkpointing=on; trying next candidate.")
        print("FAIL: training failed for all batch size candidates.")
        return 1
    if MATRIX_LR > 0.5:
        print("FAIL: training loss exploded")
        return 1
    print(f"Time budget: {TIME_BUDGET}s of {MAX_SEQ_LEN} tokens")
    distance = abs(math.log(MATRIX_LR / 0.02)) / 10 + abs(DEPTH - 6) / 20
    for step in range(20):
        print(
            f"\rstep {step:05d} ({5 * step:.1f}%) | loss: {5 - step / 10 + distance:.6f} | "
            f"lrm: 1.00 | dt: 300ms | tok/sec: 54,321 | mfu: n/a | epoch: 1 | remaining: {20 - step}s    ",
            end="",
            flush=True,
        )
    print()
    print("Eval completed with batch_size=8")
    print("---")
    print(f"val_bpb:          {0.9 + distance:.6f}")
    print("peak_vram_mb:     8123.4")
    print("mfu_percent:      n/a")
    print("num_steps:        20")
    print(f"depth:            {DEPTH}")
    print(f"dataset:          {DATASET_CHOICES[0]}")
    print("activation_checkpointing: disabled")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
