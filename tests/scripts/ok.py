"""Trains a little and ends well, in autoresearch's words."""

for step in range(1, 11):
    line = f"step {step:05d} ({10 * step}.0%) | loss: {4 - step / 10:.6f} | dt: 300ms | tok/sec: 1,234 | mfu: 39.8%"
    print(f"\r{line} | epoch: 1 | remaining: {10 - step}s    ", end="", flush=True)
print()
print("---")
print("val_bpb:          1.234500")
print("peak_vram_mb:     45060.2")
print("dataset:          tinystories")
