"""Leaves a daemon behind that nothing of the trial shows: another session, no parent, no environment, closed files."""

import os
import sys

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        os.chdir("/")
        os.execve(sys.executable, ["hidden_daemon_of_a_trial", "-S", "-c", "import time; time.sleep(3600)"], {})
    os._exit(0)
os.wait()
print("---\nval_bpb:          1.5")
