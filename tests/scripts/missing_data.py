"""Our own prepare.py when there is no data."""

import sys

print("prepare.py: no tokenizer in /data/gpt. Run prepare.py first")
sys.exit(3)
