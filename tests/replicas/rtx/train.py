"""Of the Windows RTX fork's form: it chooses its device batch, sets globals, prints text for numbers, survives lack of memory."""

import argparse
import math

from prepare import DATASET_CHOICES, EVAL_TOKENS, MAX_SEQ_LEN, TIME_BUDGET

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


class Card:
    """A supported one of 24 GB. On one that is not supported, DEVICE_BATCH_SIZE would come first."""

    train_batch_candidates = (64, 32, 16, 8, 4)
    memory = 240


class OutOfMemoryError(RuntimeError):
    pass


def configure():
    global ADAMW_STEP_IMPL, USE_COMPILE
    ADAMW_STEP_IMPL, USE_COMPILE = "eager", False


def fit(batch):
    if DEPTH * (batch + 16) >= Card.memory:
        raise OutOfMemoryError


def train():
    if MATRIX_LR > 0.5:
        raise RuntimeError("FAIL: training loss exploded")
    distance = abs(math.log(MATRIX_LR / 0.02)) / 10 + abs(DEPTH - 6) / 20
    for step in range(20):
        print(
            f"\rstep {step:05d} ({5 * step:.1f}%) | loss: {5 - step / 10 + distance:.6f} | "
            f"lrm: 1.00 | dt: 300ms | tok/sec: 54,321 | mfu: n/a | epoch: 1 | remaining: {20 - step}s    ",
            end="",
            flush=True,
        )
    print()
    return distance


def main():
    argparse.ArgumentParser().parse_args()
    configure()
    print("Running consumer GPU autotune in eager mode...")
    print("  rejected (OOM, runtime error, or >90% VRAM use)")
    print(f"Time budget: {TIME_BUDGET}s, {EVAL_TOKENS} tokens to evaluate")
    distance = chosen = None
    for batch in Card.train_batch_candidates:
        if TOTAL_BATCH_SIZE % (batch * MAX_SEQ_LEN):
            continue
        print(f"Trying train candidate: batch_size={batch}, activation_checkpointing=disabled")
        try:
            fit(batch)
            distance, chosen = train(), batch
            break
        except OutOfMemoryError:
            print(f"Train OOM at batch_size={batch}, checkpointing=off; trying next candidate.")
        except RuntimeError as error:
            print(error)
            return 1
    if chosen is None:
        print("FAIL: training failed for all batch size candidates.")
        return 1
    print("Eval completed with batch_size=8")
    print("---")
    print(f"val_bpb:          {0.9 + distance:.6f}")
    print("training_seconds: 300.4")
    print("peak_vram_mb:     8123.4")
    print("mfu_percent:      n/a")
    print(f"total_tokens_M:   {20 * TOTAL_BATCH_SIZE / 1e6:.1f}")
    print("num_steps:        20")
    print(f"depth:            {DEPTH}")
    print(f"dataset:          {DATASET_CHOICES[0]}")
    print(f"train_batch_size: {chosen}")
    print(f"eval_batch_size:  {min(chosen, 16)}")
    print("activation_checkpointing: disabled")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
