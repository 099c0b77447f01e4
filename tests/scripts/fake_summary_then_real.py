"""Prints what looks like a result, trains, and prints the real one."""

print("---\nval_bpb:          0.1")
print("step 00001 (50.0%) | loss: 4.000000")
print("---\nval_bpb:          1.5")
