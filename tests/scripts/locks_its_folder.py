"""Leaves folders that cannot be entered, names that are no text, and links to places that are not its own."""

import os

os.makedirs("locked/inner")
os.chmod("locked/inner", 0)
os.chmod("locked", 0)
with open(b"\xff\xfe name", "wb"):
    pass
os.symlink("/usr", "link")
os.symlink("link", "loop")
os.mkfifo("fifo")
print("---\nval_bpb:          1.5")
