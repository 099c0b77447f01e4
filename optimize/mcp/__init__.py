"""Studies for agents, over the Model Context Protocol: each tool calls what the command of the same purpose calls.

`tools.py` has the tools, `answers.py` keeps their answers small, `server.py` alone knows the SDK.
"""
