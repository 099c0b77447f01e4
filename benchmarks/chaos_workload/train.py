"""A script that trains nothing, for `benchmarks/chaos.py`: quick, ill-behaved, and its own witness.

It writes an id of its own and its value to the ledger, fsynced, right before and right after it prints its summary.
"""

import os
import random
import signal
import subprocess
import time

X = 1
Y = 0.5
Z = "a"

chance = random.SystemRandom()
ident = f"r{chance.getrandbits(64):x}"
value = X + Y + ord(Z) + chance.random()


def note(word: str) -> None:
    ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{word} {ident} {value:.9f} {time.time()}\n".encode())
    os.fsync(ledger)
    os.close(ledger)


note("begun")
if chance.random() < 0.2:  # deaf to SIGTERM
    signal.signal(signal.SIGTERM, lambda number, frame: None)
if chance.random() < 0.3:  # a child that would outlive everything, in a session of its own, and keeps the output open
    subprocess.Popen(["sleep", "600"], start_new_session=True)
for step in range(1, 5):
    time.sleep(chance.uniform(0.0, 0.1))
    print(f"step {step:05d} ({25 * step}.0%) | loss: {9 - step}.500000 | remaining: {4 - step}s", flush=True)
note("printing")
print("---")
print(f"val_bpb:          {value:.9f}")
print("num_steps:        4")
print(f"ident:            {ident}", flush=True)
note("printed")
if chance.random() < 0.3:  # a teardown
    time.sleep(0.2)
