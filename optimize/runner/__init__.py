"""Runs one job in a way that leaves nothing behind, and diagnoses from its output how it ended.

Standard library only, so that it runs on any node. It knows no study, no executor and no database.
"""
