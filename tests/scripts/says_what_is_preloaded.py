"""Says whether a module was there before it began, that nobody imports by chance."""

import sys

print("PRELOADED", "decimal" in sys.modules)
print("---\nval_bpb:          1.5")
