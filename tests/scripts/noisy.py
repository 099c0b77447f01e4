"""Prints as many MB as it is told, and ends well."""

import os
import sys

block = (b"x" * 79 + b"\n") * 12_500
for _ in range(int(sys.argv[1])):
    os.write(1, block)
print("---\nval_bpb:          1.5")
