"""Shows progress for as many seconds as it is told, and ends well."""

import sys
import time

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
for step in range(10):
    print(f"\rstep {step:05d} ({10 * step}.0%) | loss: {4 - step / 10:.6f} | remaining: 1s", end="", flush=True)
    time.sleep(seconds / 10)
print("\n---\nval_bpb:          1.5")
