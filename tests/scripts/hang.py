"""Takes a first step and then hangs."""

import time

print("\rstep 00001 (1.0%) | loss: 4.000000 | remaining: 300s", end="", flush=True)
time.sleep(3600)
