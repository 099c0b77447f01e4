"""Of the macOS fork's form: autoresearch's constants, a device found at the start, no compilation."""

import math

from prepare import MAX_SEQ_LEN, TIME_BUDGET, VOCAB_SIZE

# Model architecture
ASPECT_RATIO = 64  # model_dim = depth * ASPECT_RATIO
HEAD_DIM = 128  # target head dimension for attention
WINDOW_PATTERN = "L"  # sliding window pattern: L=full, S=half context

# Optimization
TOTAL_BATCH_SIZE = 2**16  # ~65K tokens per optimizer step
EMBEDDING_LR = 0.6  # learning rate for token embeddings (Adam)
UNEMBEDDING_LR = 0.004  # learning rate for lm_head (Adam)
MATRIX_LR = 0.04  # learning rate for matrix parameters (Muon)
SCALAR_LR = 0.5  # learning rate for per-layer scalars (Adam)
WEIGHT_DECAY = 0.2  # cautious weight decay for Muon
ADAM_BETAS = (0.8, 0.95)  # Adam beta1, beta2
WARMUP_RATIO = 0.0  # fraction of time budget for LR warmup
WARMDOWN_RATIO = 0.5  # fraction of time budget for LR warmdown
FINAL_LR_FRAC = 0.0  # final LR as fraction of initial

# Model size
DEPTH = 4  # number of transformer layers
DEVICE_BATCH_SIZE = 16  # per-device batch size (reduce if OOM)

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
