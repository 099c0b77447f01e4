"""The commands of `optimize`, a file for each reason to call one; `cli.py` puts them together.

Each turns its flags into values for a module and shows what comes back. Nothing is decided here, and nothing but these
files and `cli.py` writes to the terminal.
"""
