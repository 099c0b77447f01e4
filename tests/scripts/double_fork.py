"""Leaves a daemon behind, in a session of its own and orphaned, and hangs."""

import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(0)
os.wait()
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
time.sleep(3600)
