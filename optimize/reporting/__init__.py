"""What people see of a study: the live view, tables, tables as files, notes and plots of the dashboard. It decides nothing.

`figures/` draws, `report/` is the page.
"""
