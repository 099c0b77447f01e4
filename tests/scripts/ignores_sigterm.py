"""Goes on when it is asked to end."""

import signal
import time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", flush=True)
while True:
    time.sleep(60)
