"""Has its result and then hangs in its teardown."""

import time

print("---\nval_bpb:          1.5", flush=True)
time.sleep(3600)
