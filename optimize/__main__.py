"""`python -m optimize`: the same as the console command `optimize`."""

from optimize.cli import main

main()
