"""A bug in native code."""

import os
import signal

print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
