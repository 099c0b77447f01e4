"""`python -m optimize` and the console command `optimize`: answers a Ctrl-C from the first moment to the last.

While a study runs, a Ctrl-C is a wish (`interruption.py`); before and after that it is one line and exit code 130. It knows
no command.
"""

import signal
import sys
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
        sys.stderr.write("stopped by Ctrl-C\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
