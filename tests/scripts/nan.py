"""Ends well by its exit code, with a metric that is none."""

print("---\nval_bpb:          nan")
