"""One job: run it so that it cannot hurt anybody, and tell from its output how it ended.

Standard library only, so that it runs on any node; knows no study, no executor and no database.
"""
