"""Ends well by its exit code, without a result."""

print("step 00001 (100.0%) | loss: 4.000000")
