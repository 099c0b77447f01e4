"""Prints what is no text."""

import os
import sys

sys.stdout.buffer.write(os.urandom(3_000_000) + bytes(range(256)) + b"\x1b[2J\x00")
sys.stdout.flush()
print("\n---\nval_bpb:          1.5")
