"""The service: asks a study for parameters, trains a patched script with them, tells the study how it ended.

Nothing is imported here: cluster nodes import this package, so it stays weightless.
"""
