"""The disk is full."""

import errno
import os

raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/root/.cache/torchinductor/kernel.so")
