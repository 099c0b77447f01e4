"""The training script as text: its constants, how it is started, what it prints, and the folder that it is a workload with.

Nothing here runs it; `jobs/` does.
"""
