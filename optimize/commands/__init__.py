"""The commands of `optimize`; `cli.py` puts them together.

Each turns its flags into values for other modules and shows what they return. Nothing is decided here. Only these files and
`cli.py` write to the terminal.
"""
