"""Prints what looks like a result, trains, and ends without the real one."""

print("---\nval_bpb:          0.1")
print("step 00001 (50.0%) | loss: 4.000000")
