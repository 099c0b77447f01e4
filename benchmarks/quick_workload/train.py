"""A script that trains nothing, for `benchmarks/driver_cost.py`: the parameters of the space `h100`, a nap, a summary."""

import time

MAX_SEQ_LEN = 2048
DEPTH = 8
ASPECT_RATIO = 64
HEAD_DIM = 128
DEVICE_BATCH_SIZE = 128
TOTAL_BATCH_SIZE = 2**19
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 0.04
SCALAR_LR = 0.5
WEIGHT_DECAY = 0.2
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.0
WINDOW_PATTERN = "SSSL"
SLEEP_S = 0.0

for quarter in range(4):
    print(
        f"\rstep {quarter:05d} ({25 * quarter + 25}.0%) | loss: {4 - quarter / 4:.6f} | remaining: {3 - quarter}s",
        end="",
    )
    time.sleep(SLEEP_S / 4)
print("\n---")
print(f"val_bpb:          {1 + abs(DEPTH - 7) / 100 + abs(MATRIX_LR - 0.03) + WEIGHT_DECAY / 50:.6f}")
print("peak_vram_mb:     45060.2")
print("num_steps:        4")
