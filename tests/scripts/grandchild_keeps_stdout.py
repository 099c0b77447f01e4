"""Ends well, but leaves somebody behind who holds its stdout."""

import subprocess
import sys

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
print("---\nval_bpb:          1.5")
