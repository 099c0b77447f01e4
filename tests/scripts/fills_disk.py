"""Writes checkpoints without end; here, a little more than its limit, and then hangs."""

import time

with open("checkpoint.bin", "wb") as file:
    for _ in range(30):
        file.write(b"x" * 1_000_000)
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
time.sleep(3600)
