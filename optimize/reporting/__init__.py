"""What people see of a study: the live view and tables in a terminal, files, the dashboard's notes and plots.

`figures/` draws, `html/` makes the report, `trackers/` writes trials for TensorBoard and MLflow. It decides nothing.
"""
