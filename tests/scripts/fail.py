"""What autoresearch's train.py does when the loss explodes: the word follows the unfinished progress line."""

import sys

print("\rstep 00012 (3.0%) | loss: 123.456789 | remaining: 290s    ", end="", flush=True)
print("FAIL")
sys.exit(1)
