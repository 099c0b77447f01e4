"""Has nothing more to say, but goes on for a while and ends well."""

import os
import time

print("---\nval_bpb:          1.5", flush=True)
os.close(1)
os.close(2)
time.sleep(0.1)
os._exit(0)
