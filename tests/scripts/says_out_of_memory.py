"""Talks of the causes of death, and lives."""

print("tip: on CUDA out of memory lower DEVICE_BATCH_SIZE; ModuleNotFoundError: install it; FAIL")
print("---\nval_bpb:          1.5")
