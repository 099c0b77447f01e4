"""Executed by train.py: a word is a file to execute, --name=value sets a constant."""

import ast
import sys

for word in sys.argv[1:]:
    if word.startswith("--"):
        name, text = word[2:].split("=")
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = text
        assert type(value) is type(globals()[name])
        print(f"Overriding: {name} = {value}")
        globals()[name] = value
    else:
        print(f"Overriding config with {word}:")
        exec(open(word).read())
