"""Reads and renders a workload: the training script as text, its constants, its command, and what it prints.

Nothing here runs the script: `runner/` does.
"""
