"""An ordinary bug."""

print("step 00001 (50.0%) | loss: 4.000000")
raise ValueError("shapes do not fit: (3, 4) and (5, 6)")
