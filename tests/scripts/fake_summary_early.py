"""Prints what looks like a result, and crashes later."""

print("---\nval_bpb:          0.1")
print("step 00001 (50.0%) | loss: 4.000000")
raise RuntimeError("the training did not work")
