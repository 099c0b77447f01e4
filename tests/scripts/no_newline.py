"""Prints some MB on one line."""

import sys

for _ in range(80):
    sys.stdout.write("loss " * 20_000)
print("\n---\nval_bpb:          1.5")
