"""Run the command line as `python -m optimize` or as the console command `optimize`.

While a study runs, a Ctrl-C is a request to stop (`study/stopping.py`). Before and after that it is one line and exit code 130.
"""

import os
import sys

# `python -m` puts the current folder first, where a user's own storage.py or search_spaces/ would hide ours.
if __name__ == "__main__" and not sys.flags.safe_path:
    _ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if (
        os.path.isdir(sys.path[0]) and os.path.realpath(sys.path[0]) != _ours
    ):  # a checkout that is not installed needs it
        del sys.path[0]

import signal
from typing import NoReturn

STOPPED = 130  # 128 + SIGINT, what shells expect


def main() -> NoReturn:
    """Run the command line. Nothing is imported before: a second of importing is when people change their minds."""
    code = STOPPED
    try:
        try:
            from optimize.cli import run

            code = run(sys.argv[1:])
        finally:
            # All is written. Python would hand the signal back to the system before it has closed everything: a late
            # Ctrl-C would turn a study that is done into a process that was killed.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == STOPPED:
        from optimize.config.environment import interrupted_by

        sys.stderr.write(f"stopped by {interrupted_by()}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
