"""Parameters that do not go together."""

TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE = 100, 7
assert TOTAL_BATCH_SIZE % DEVICE_BATCH_SIZE == 0
