"""Starts a child, such as a data loader, and both hang."""

import subprocess
import sys
import time

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
time.sleep(3600)
