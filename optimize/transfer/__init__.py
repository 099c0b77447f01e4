"""Studies moved, kept and taken away: copies, migrations, backups, bundles, and a folder to begin with.

`importing/` reads the files of other programs.
"""
