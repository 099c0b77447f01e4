"""Of the macOS fork's form: autoresearch's constants, a device found at the start, no compilation."""

import math

from prepare import MAX_SEQ_LEN, TIME_BUDGET, VOCAB_SIZE

ASPECT_RATIO = 64
HEAD_DIM = 128
WINDOW_PATTERN = "L"

TOTAL_BATCH_SIZE = 2**16
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 0.04
SCALAR_LR = 0.5
WEIGHT_DECAY = 0.2
ADAM_BETAS = (0.8, 0.95)
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.0

DEPTH = 4
DEVICE_BATCH_SIZE = 16

device_type = "cpu"
print(f"Vocab size: {VOCAB_SIZE:,}")
assert TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0
print(f"Time budget: {TIME_BUDGET}s")

distance = abs(math.log(MATRIX_LR / 0.06)) / 10 + abs(WEIGHT_DECAY - 0.1) / 10 + abs(DEPTH - 2) / 20
for step in range(20):
    loss = 5 - step / 10 + distance
    print(
        f"\rstep {step:05d} ({5 * step:.1f}%) | loss: {loss:.6f} | lrm: 1.00 | dt: 300ms | tok/sec: 54,321 | mfu: 0.0% | epoch: 1 | remaining: {20 - step}s    ",
        end="",
        flush=True,
    )
print()

print("---")
print(f"val_bpb:          {1.2 + distance:.6f}")
print("training_seconds: 300.1")
print("peak_vram_mb:     0.0")
print("mfu_percent:      0.00")
print("num_steps:        20")
print(f"depth:            {DEPTH}")
