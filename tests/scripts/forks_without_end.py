"""Its children beget children faster than one can look."""

import os
import time

print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
for _ in range(200):
    if os.fork():
        time.sleep(0.02)
        os._exit(0)
    os.setsid()
time.sleep(3600)
