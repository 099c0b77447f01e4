"""Ends in order when it is asked to, with its last words."""

import signal
import sys
import time


def end(number, frame):
    print("last words")
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
time.sleep(3600)
