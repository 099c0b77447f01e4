"""What comes into a study from elsewhere and what is taken away: starts, copies, migrations, backups, bundles.

`intake/` reads the files of other programs.
"""
