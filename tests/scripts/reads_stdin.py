"""Asks a question that nobody answers."""

import sys

print(repr(sys.stdin.read()))
print("---\nval_bpb:          1.5")
