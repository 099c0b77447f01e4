"""Leaves a daemon behind that nothing of the trial shows: another session, no parent, no environment, closed files."""

import os
import sys

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        name = f"hidden_daemon_of_a_trial in {os.getcwd()}"  # for the test that looks for it
        os.chdir("/")
        os.execve(sys.executable, [name, "-S", "-c", "import time; time.sleep(3600)"], {})
    os._exit(0)
os.wait()
print("---\nval_bpb:          1.5")
